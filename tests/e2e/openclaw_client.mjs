// OpenClaw's own client library against a gateway: `node openclaw_client.mjs URL TOKEN NAME`.  Every line it prints is
// JSON: [what was seen, ...].  NAME marks the run that is aborted.  After "restart me" it waits for another gateway at
// the same address.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// The package has no entry for `require`, whose rules are the ones that find it in another folder.
const entry = join(process.env.E2E_NODE_MODULES, "@openclaw", "gateway-client", "dist", "index.mjs");
const { GatewayClient } = await import(pathToFileURL(entry));

const [url, token, name] = process.argv.slice(2);
const tell = (...seen) => console.log(JSON.stringify(seen));
const session = "agent:main:library";
const watchdog = setTimeout(() => {
  console.error("nothing happened for too long");
  process.exit(1);
}, 100_000);

/** A client whose greetings, events, closes and gaps can be waited for, each in its order. */
function open(options) {
  const got = { hello: [], event: [], close: [], gap: [], refused: [] };
  let wake = () => {};
  const put = (kind) => (...what) => {
    got[kind].push(what.length > 1 ? what : what[0]);
    wake();
  };
  const client = new GatewayClient({
    url,
    onHelloOk: put("hello"),
    onEvent: put("event"),
    onClose: put("close"),
    onGap: put("gap"),
    onConnectError: put("refused"),
    ...options,
  });
  const until = async (found) => {
    for (;;) {
      const value = found(got);
      if (value) return value;
      await new Promise((resolve) => (wake = resolve));
    }
  };
  client.start();
  return { client, got, until };
}

const failure = async (promise) => {
  try {
    return ["no failure", await promise];
  } catch (error) {
    return [error.gatewayCode ?? error.code, error.message, error.details ?? null];
  }
};

// A connection, requests and their failures.
const { client, got, until } = open({ token, scopes: ["operator.read", "operator.write"] });
const hello = await until(({ hello }) => hello[0]);
tell("hello", hello);
tell("health", (await client.request("health")).ok);
tell("unknown", ...(await failure(client.request("no.such.method"))));
tell("wrong", ...(await failure(client.request("sessions.list", { bogus: true }))));
tell("scope", ...(await failure(client.request("config.get", {}))), ...(await failure(client.request("sessions.delete", { key: session }))));

// A run with its two answers.
const accepted = [];
const final = await client.request(
  "agent",
  { message: "a request", sessionKey: session, idempotencyKey: randomUUID() },
  { expectFinal: true, timeoutMs: 60_000, onAccepted: (payload) => accepted.push(payload.status) },
);
tell("agent", accepted, final.status, final.result.payloads.map((payload) => payload.text));

// A run and its events.
await client.request("sessions.subscribe", {});
const chats = (runId) => got.event.filter((one) => one.event === "chat" && one.payload.runId === runId).map((one) => one.payload);
const spoken = randomUUID();
tell("started", await client.request("chat.send", { sessionKey: session, message: "first words", idempotencyKey: spoken }), spoken);
const ended = await until(() => chats(spoken).find((one) => one.state === "final"));
const deltas = chats(spoken).filter((one) => one.state === "delta");
tell("stream", deltas.map((one) => one.deltaText).join(""), deltas.length, ended.message.content[0].text);
const order = chats(spoken).filter((one) => one.state !== "status").map((one) => one.seq);
tell("order", order.every((seq, index) => index === 0 || seq >= order[index - 1]));
const phases = () =>
  got.event
    .filter((one) => one.event === "agent" && one.payload.runId === spoken && one.payload.stream === "lifecycle")
    .map((one) => one.payload.data.phase);
await until(() => phases().includes("end"));
tell("phases", phases()[0], phases().at(-1));
const rows = await until(() => {
  const rows = got.event.filter((one) => one.event === "session.message" && one.payload.sessionKey === session);
  return rows.some((one) => one.payload.message.role === "assistant" && one.payload.message.content[0].text === "Echo: first words") && rows;
});
tell("rows", rows.map((one) => one.payload.message.role));
await until(() => got.event.some((one) => one.event === "sessions.changed" && one.payload.sessionKey === session));

// A run that is aborted.
const counted = name;
await client.request("chat.send", { sessionKey: session, message: name, idempotencyKey: counted });
await until(() => chats(counted).filter((one) => one.state === "delta").length >= 3);
tell("abort", await client.request("chat.abort", { sessionKey: session, runId: counted }));
const aborted = await until(() => chats(counted).find((one) => one.state === "aborted"));
tell("aborted", aborted.stopReason, aborted.message.content[0].text);
const waited = await client.request("agent.wait", { runId: counted, timeoutMs: 20_000 });
tell("waited", waited.status, waited.error ?? null, waited.stopReason ?? null);

// A device: it proves itself by its key, is given a token, and needs no shared one the next time.
const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
const kept = [];
const device = {
  deviceIdentity: {
    deviceId: createHash("sha256").update(raw).digest("hex"),
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }),
    publicKeyPem: publicKey.export({ type: "spki", format: "pem" }),
  },
  hostDeps: {
    signDevicePayload: (pem, payload) => sign(null, Buffer.from(payload), createPrivateKey(pem)).toString("base64url"),
    publicKeyRawBase64UrlFromPem: (pem) =>
      createPublicKey(pem).export({ type: "spki", format: "der" }).subarray(-32).toString("base64url"),
    loadDeviceAuthToken: () => kept.at(-1) ?? null,
    storeDeviceAuthToken: ({ token, scopes }) => kept.push({ token, scopes }),
    clearDeviceAuthToken: () => kept.splice(0),
  },
  clientName: "openclaw-tui",
  mode: "ui",
  platform: "linux",
  deviceFamily: "Linux",
  scopes: ["operator.read"],
};
const first = open({ ...device, token });
tell("device", (await first.until(({ hello }) => hello[0])).auth.scopes, kept.length, kept[0]?.token === token);
await first.client.stopAndWait();
const second = open(device);
const back = await second.until(({ hello, refused }) => hello[0] ?? (refused[0] && { auth: { error: refused[0].message } }));
tell("device again", back.auth.error ?? back.auth.scopes);
tell("device reads", Array.isArray((await second.client.request("sessions.list", {})).sessions));
await second.client.stopAndWait();

const intruder = open({ token: "wrong" });
const refused = await intruder.until(({ refused }) => refused[0]);
tell("refused", refused.gatewayCode ?? null, refused.message, refused.details ?? null);
await intruder.client.stopAndWait();

// A gateway that ends, and its successor.
tell("restart me");
const close = await until(({ close }) => close[0]);
tell("closed", close[0], close[1], got.event.filter((one) => one.event === "shutdown").map((one) => one.payload.reason));
const again = await until(({ hello }) => hello[1]);
tell("hello again", again.server.connId !== hello.server.connId);
const history = await client.request("chat.history", { sessionKey: session, limit: 50 });
const text = ({ content }) => (typeof content === "string" ? content : content.map((part) => part.text).join(""));
tell("history", history.messages.map((message) => [message.role, text(message)]));
tell("gaps", got.gap);
await client.stopAndWait();
clearTimeout(watchdog);
