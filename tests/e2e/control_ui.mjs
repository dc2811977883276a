// OpenClaw's Control UI in a browser: `node control_ui.mjs PAGE TOKEN NAME FOLDER BROWSER`.  PAGE is its address, with the
// gateway's; NAME is the message whose reply is aborted; FOLDER is for the browser's profile, the screenshots and the frames.
// Every line it prints is JSON: [what was seen, ...].
import { appendFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.E2E_NODE_MODULES, "anything.js"));
const { chromium } = require("playwright-core");

const [address, token, name, folder, executablePath] = process.argv.slice(2);
const tell = (...seen) => console.log(JSON.stringify(seen));
const context = await chromium.launchPersistentContext(join(folder, "profile"), {
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
  viewport: { width: 1280, height: 900 },
});
context.setDefaultTimeout(30_000);

const page = context.pages()[0] ?? (await context.newPage());
const sent = [];
const refused = new Map(); // the first answer to each method that was not granted
const methods = new Map();
page.on("websocket", (socket) => {
  const keep = (way, payload) => appendFileSync(join(folder, "frames.txt"), `${way} ${payload}\n`);
  socket.on("framesent", ({ payload }) => {
    keep(">", payload);
    const frame = JSON.parse(payload);
    methods.set(frame.id, frame.method);
    sent.push(frame);
  });
  socket.on("framereceived", ({ payload }) => {
    keep("<", payload);
    const frame = JSON.parse(payload);
    const method = methods.get(frame.id);
    if (frame.type === "res" && !frame.ok && !refused.has(method)) refused.set(method, frame.error.message);
  });
});

const composer = page.getByLabel("Chat composer");
const thread = page.locator(".chat-thread");
const bubbles = page.locator(".chat-bubble").filter({ visible: true }); // the page has the text of the last one once more, for screen readers
const count = async (text) => (await bubbles.allInnerTexts()).filter((said) => said.includes(text)).length;
const say = async (text) => {
  await composer.fill(text);
  await composer.press("Enter");
};
const shot = (name) => page.screenshot({ path: join(folder, `${name}.png`) });

try {
  await page.goto(`${address}#token=${token}`);
  await page.getByRole("button", { name: /^Switch to/ }).click();
  await composer.waitFor();
  const connect = sent.find((frame) => frame.method === "connect").params;
  tell("connected", connect.client.id, Boolean(connect.device?.signature), connect.scopes);

  await say("hello from the page");
  await bubbles.getByText("Echo: hello from the page").waitFor();
  await page.waitForTimeout(3_000); // a second copy would come with the history that is loaded at the end
  tell("replied", await count("Echo: hello from the page"), await count("hello from the page"));
  await shot("replied");

  const watched = page.evaluate(async () => {
    const sizes = new Set(); // of the page, while somebody counts there
    for (let text = ""; !/\b98 99 100 /.test(text); text = document.querySelector(".chat-thread").innerText) {
      if (/\b1 2 3 /.test(text)) sizes.add(text.length);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return [...sizes];
  });
  await say(name);
  const sizes = await watched;
  tell("streamed", sizes);
  await shot("streaming");
  await page.getByRole("button", { name: /^(Stop|Abort)/ }).first().click();
  tell("abort", sent.filter((frame) => frame.method === "chat.abort").length);
  await page.waitForTimeout(3_000);
  const stopped = await thread.innerText();
  await page.waitForTimeout(1_000);
  tell("aborted", (await thread.innerText()) === stopped, await count(" 98 99 100"));
  await shot("aborted");

  await page.reload();
  await composer.waitFor();
  await bubbles.getByText("Echo: hello from the page").waitFor();
  tell("reloaded", await count("Echo: hello from the page"), await count(name));

  await page.getByRole("link", { name: "from the command line" }).first().click();
  await bubbles.getByText("Echo: from the command line").waitFor();
  tell("other", await count("Echo: from the command line"));
  await shot("other");

  await page.goto(new URL("/sessions", address).href);
  await page.getByRole("link", { name: "main (explicit)" }).waitFor();
  tell("list", await page.evaluate(() => document.body.innerText));
  await shot("sessions");
} catch (error) {
  await shot("failed");
  tell("failed", error.message, await page.evaluate(() => document.body.innerText));
} finally {
  tell("refused", [...refused]);
  await context.close();
}
