// What test_ai_sdk.py asks of a gateway: prints what it saw as JSON.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

const [, , baseURL, apiKey, modelName] = process.argv;
const require = createRequire(path.join(process.env.E2E_NODE_MODULES, "package.json"));
const load = async (name) => import(pathToFileURL(require.resolve(name)).href);
const { createOpenAI } = await load("@ai-sdk/openai");
const { generateText, streamText, stepCountIs, tool } = await load("ai");
const { z } = await load("zod");

const asked = [];
const fetchAndRemember = async (url, init) => {
  asked.push(JSON.parse(init.body));
  return fetch(url, init);
};
const model = createOpenAI({ baseURL, apiKey, fetch: fetchAndRemember })(modelName);
const weather = tool({
  description: "The weather of a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `fine in ${city}`,
});
const loop = {
  model,
  messages: [{ role: "user", content: "How is it in Paris and Rome?" }],
  tools: { weather },
  stopWhen: stepCountIs(3),
  maxRetries: 0,
};
const seen = {};

seen.generated = (await generateText(loop)).text;

const streamed = streamText({ ...loop, onError: ({ error }) => { throw error; } });
seen.streamed = "";
for await (const piece of streamed.textStream) seen.streamed += piece;
seen.tokens = (await streamed.totalUsage).totalTokens;

const messages = [{ role: "user", content: "hello" }];
const first = await generateText({ model, messages, maxRetries: 0 });
messages.push(...first.response.messages, { role: "user", content: "more" });
seen.second = (await generateText({ model, messages, maxRetries: 0 })).text;
seen.kinds = asked.at(-1).input.map((item) => item.type ?? item.role);

console.log(JSON.stringify(seen));
