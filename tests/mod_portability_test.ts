// The bundled library on other runtimes: one small script that checks itself, run by each.

import assert from "node:assert/strict";
import { loadVectors } from "./vectors.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** A runtime of that name below .tools or in PATH whose major version is new enough, or null. */
function findRuntime(name: string, leastMajor: number): string | null {
  const directories = [
    `${ROOT}.tools/node_modules/.bin`,
    ...(Deno.env.get("PATH") ?? "").split(":"),
  ];
  for (const directory of directories) {
    const path = `${directory}/${name}`;
    const version = versionOf(path);
    if (version !== null && version >= leastMajor) return path;
  }
  return null;
}

function versionOf(path: string): number | null {
  try {
    const { stdout } = new Deno.Command(path, { args: ["--version"], stderr: "null" }).outputSync();
    const [, major] = /^v?(\d+)\./.exec(new TextDecoder().decode(stdout)) ?? [];
    return major === undefined ? null : Number(major);
  } catch {
    return null;
  }
}

/** Decodes and encodes again; throws, and so fails the runtime, where anything is amiss. */
function selfCheck(): string {
  const vector = loadVectors().find(({ id }) => id === "v-0003");
  assert.ok(vector?.hmac_key && vector.key);
  return `
import {
  decodeKeyBase64, decodePacket, encodePacket, formatFieldDump, generateKeys,
} from "./spa.js";
const keys = {
  key: decodeKeyBase64("${vector.key.base64}"),
  mode: "${vector.encryption.mode_name}",
  hmacKey: decodeKeyBase64("${vector.hmac_key.base64}"),
  hmacType: "${vector.hmac_type.name}",
};
const packet = decodePacket("${vector.packet}", keys);
if (!packet.ok) throw new Error(packet.error.text);
if (packet.value.message !== "${vector.fields.message}") throw new Error(packet.value.message);
const salt = Uint8Array.from(atob("U2FsdGVkX1" + "${vector.packet.slice(0, 12)}"), (c) =>
  c.charCodeAt(0)).subarray(8, 16);
const again = encodePacket(packet.value, { ...keys, salt, digestType: packet.value.digestType });
if (!again.ok || again.value.wire !== "${vector.packet}") throw new Error("encodes differently");
if (!generateKeys((count) => crypto.getRandomValues(new Uint8Array(count))).ok) throw new Error();
console.log(formatFieldDump(packet.value).split("\\n")[2]);
`;
}

for (const [name, leastMajor] of [["node", 22], ["bun", 1]] as const) {
  const runtime = findRuntime(name, leastMajor);
  const skipped = runtime === null
    ? ` (skipped: no ${name} of version ${leastMajor} or newer)`
    : "";
  Deno.test({
    name: `the library works unchanged on ${name}${skipped}`,
    ignore: runtime === null,
    fn: () => {
      const directory = Deno.makeTempDirSync({ prefix: "spa-portability-" });
      try {
        const bundle = new Deno.Command(Deno.execPath(), {
          args: ["bundle", "--quiet", "--output", `${directory}/spa.js`, `${ROOT}mod.ts`],
        }).outputSync();
        assert.ok(bundle.success, new TextDecoder().decode(bundle.stderr));
        Deno.writeTextFileSync(`${directory}/package.json`, `{ "type": "module" }`);
        Deno.writeTextFileSync(`${directory}/check.js`, selfCheck());
        const check = new Deno.Command(runtime ?? "", { args: [`${directory}/check.js`] })
          .outputSync();
        const text = new TextDecoder().decode(check.stdout);
        assert.ok(check.success, new TextDecoder().decode(check.stderr));
        assert.equal(text, "   Random Value: 6480461661823497\n");
      } finally {
        Deno.removeSync(directory, { recursive: true });
      }
    },
  });
}
