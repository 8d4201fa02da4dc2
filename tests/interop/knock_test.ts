// The real fwknop and fwknopd against `spa serve` and `spa knock`, sharing one .fwknoprc and one
// access.conf: every combination opens its port, whoever sends and whoever receives.

import { match, strictEqual } from "node:assert/strict";
import { savedRules, writeGatewayFiles } from "../lab/gateway.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  labMissing,
  openLab,
  spaCommand,
} from "../lab/lab.ts";
import { accessConfOf, combinations, fwknoprcOf } from "./matrix.ts";

/** Who sends, and who receives. */
const PAIRS: readonly {
  readonly client: string[];
  readonly server: string[];
  readonly name: string;
}[] = [
  { name: "fwknop knocks at spa serve", client: ["fwknop"], server: spaCommand("serve") },
  { name: "spa knock knocks at fwknopd", client: spaCommand("knock"), server: ["fwknopd"] },
  {
    name: "spa knock knocks at spa serve",
    client: spaCommand("knock"),
    server: spaCommand("serve"),
  },
];

const missing = labMissing() ??
  (hasProgram("fwknop") && hasProgram("fwknopd") ? null : "needs fwknop-client and fwknop-server");

for (const { name, client, server } of PAIRS) {
  Deno.test({
    name: `${name} with every digest, HMAC, mode and form of key${missing ? ` (${missing})` : ""}`,
    ignore: missing !== null,
    fn: async (context) => {
      const lab = await openLab();
      try {
        const list = combinations();
        const rcFile = `${lab.directory}/fwknoprc`;
        await Deno.writeTextFile(rcFile, fwknoprcOf(list), { mode: 0o600 });
        const config = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;
        const files = await writeGatewayFiles(lab.directory, config, accessConfOf(list));
        const gateway = lab.gateway.start([...server, "-f", ...files.options]);
        await gateway.waitFor(/Starting fwknopd main event loop/);
        for (const [index, combination] of list.entries()) {
          await context.step(combination.name, async () => {
            const port = 1000 + index;
            const knock = [
              ...client,
              "-n",
              combination.name,
              "--rc-file",
              rcFile,
              "--no-save-args",
            ];
            const sent = await lab.client.run([
              ...[...knock, "-A", `tcp/${port}`, "-a", ADDRESSES.client, "-D", ADDRESSES.gateway],
            ]);
            strictEqual(sent.status, 0, sent.stderr);
            await gateway.waitFor(new RegExp(`Added access rule .* tcp/${port}, expires`));
          });
        }
        match(await savedRules(lab.gateway), /-A FWKNOP_INPUT .* --dport 1000 /);
        strictEqual(await gateway.stop(), 0);
      } finally {
        await lab.close();
      }
    },
  });
}
