// The official Node SDK against a gateway: `node node_client.mjs BASE_URL TOKEN NAME`.  Prints what it saw as JSON.
// NAME marks the run that is aborted.  The module is found in the folder the test installed it in, by NODE_PATH's rules
// for `require`: a static import would look beside this file.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.E2E_NODE_MODULES, "anything.js"));
const { default: OpenAI } = require("openai");

const [baseURL, apiKey, name] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 20_000 });
const say = (content) => [{ role: "user", content }];
const seen = {};

const made = await client.chat.completions.create({ model: "openclaw/relay-words", messages: say("one two") });
seen.create = [made.object, made.model, made.choices[0].message.content, made.usage.total_tokens];

const stream = await client.chat.completions.create({
  model: "openclaw/relay-words",
  messages: say("a b c"),
  stream: true,
  stream_options: { include_usage: true },
});
const chunks = [];
for await (const chunk of stream) chunks.push(chunk);
seen.stream = {
  text: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""),
  role: chunks[0].choices[0].delta.role,
  finish: chunks.map((chunk) => chunk.choices[0]?.finish_reason).filter(Boolean),
  usage: chunks.at(-1).usage.total_tokens,
};

const helper = client.chat.completions.stream({ model: "openclaw/relay-words", messages: say("d e") });
seen.helper = (await helper.finalChatCompletion()).choices[0].message.content;

seen.models = [];
for await (const model of client.models.list()) seen.models.push(model.id);
seen.retrieved = (await client.models.retrieve("openclaw/main")).id;

const failure = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return [error.constructor.name, error.status ?? null, error.code ?? null];
  }
};
const ask = (model, key = apiKey) =>
  client.withOptions({ apiKey: key }).chat.completions.create({ model, messages: say("502") });
seen.errors = [await failure(ask("openclaw", "wrong")), await failure(ask("nobody")), await failure(ask("openclaw/fail"))];
seen.late = await failure(
  (async () => {
    const events = await client.chat.completions.create({
      model: "openclaw/relay-fail-late",
      messages: say("x"),
      stream: true,
    });
    for await (const _ of events);
  })(),
);

const endless = await client.chat.completions.create({
  model: "openclaw/relay-forever",
  messages: say(name),
  stream: true,
});
let count = 0;
for await (const _ of endless) if (++count === 5) endless.controller.abort();
seen.aborted = count;

console.log(JSON.stringify(seen));
