// node product_shapes.mjs <openclaw's dist>: of each line {"method", "params"} of stdin, what the product says, as JSON.
// Its bundles export under short names; the tables of exports at their ends tell which name is whose.
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";

const dist = process.argv[2];
const bundles = fs.readdirSync(dist).filter((name) => name.endsWith(".mjs"));
const text = Object.fromEntries(bundles.map((name) => [name, fs.readFileSync(path.join(dist, name), "utf8")]));
const load = (name) => import(path.join(dist, name));

async function exported(name) {
  for (const bundle of bundles) {
    const table = text[bundle].slice(text[bundle].lastIndexOf("export {"));
    const found = new RegExp(`\\b${name} as ([\\w$]+)`).exec(table);
    if (found && new RegExp(`(function|const) ${name}\\b`).test(text[bundle])) return (await load(bundle))[found[1]];
  }
  throw new Error(`the product does not export ${name}`);
}

// "chat.send" is checked by validateChatSendParams, and so on but for these.
const OTHERS = {
  "(request)": "validateRequestFrame",
  "agent.identity.get": "validateAgentIdentityParams",
  "sessions.subscribe": "validateSessionsListParams",
};
const title = (word) => word[0].toUpperCase() + word.slice(1);
const validatorOf = (method) => OTHERS[method] ?? `validate${method.split(/[.-]/).map(title).join("")}Params`;

const format = await exported("formatValidationErrors");
const compile = await exported("lazyCompile");
const { Type } = await import(path.join(dist, "../node_modules/typebox/build/index.mjs"));
const validators = {};

async function validator(method) {
  if (method !== "system-event") return exported(validatorOf(method));
  // Its validator stays in its bundle; so its schema is taken from there as text.
  const bundle = bundles.find((name) => text[name].includes("const SystemEventParamsSchema = closedObject("));
  const schema = /const SystemEventParamsSchema = closedObject\((\{[^;]*\})\);/.exec(text[bundle])[1];
  const fields = new Function("Type", `return ${schema}`)(Type);
  return compile(Type.Object(fields, { additionalProperties: false }));
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { method, params } = JSON.parse(line);
  const validate = (validators[method] ??= await validator(method));
  process.stdout.write(JSON.stringify(validate(params) ? null : format(validate.errors)) + "\n");
}
