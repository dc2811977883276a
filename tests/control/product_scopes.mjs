// node product_scopes.mjs <openclaw's dist>: of [[method, params], ...] in stdin, the scopes each call needs, as JSON.
import fs from "node:fs";
import path from "node:path";

const dist = process.argv[2];
const exports = /\bresolveLeastPrivilegeOperatorScopesForMethod as ([\w$]+)/;
for (const name of fs.readdirSync(dist).filter((file) => file.startsWith("method-scopes-"))) {
  const found = exports.exec(fs.readFileSync(path.join(dist, name), "utf8"));
  if (!found) continue;
  const scopes = (await import(path.join(dist, name)))[found[1]];
  const asked = JSON.parse(fs.readFileSync(0, "utf8"));
  process.stdout.write(JSON.stringify(asked.map(([method, params]) => scopes(method, params))));
}
