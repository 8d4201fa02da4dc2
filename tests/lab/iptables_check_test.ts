// What --exit-parse-config finds wrong with a configuration for the real iptables, both variants:
// the same as the start would, in one line, and it changes nothing.

import { match, strictEqual } from "node:assert/strict";
import { savedRules, serve, writeGatewayFiles } from "./gateway.ts";
import { STANZA } from "./knock.ts";
import { GATEWAY_INTERFACE, hasProgram, labMissing, labTest } from "./lab.ts";

for (const variant of ["nft", "legacy"] as const) {
  const exe = `/usr/sbin/iptables-${variant}`;
  const lacking = hasProgram(`iptables-${variant}`) ? null : `needs iptables-${variant}`;
  labTest(
    `--exit-parse-config tells why iptables could not be set up (${variant})`,
    async (lab) => {
      const stub = `${lab.directory}/stub`;
      await Deno.writeTextFile(stub, "#!/bin/sh\nexit 3\n", { mode: 0o755 });
      const access = (value: string): string =>
        `FIREWALL_EXE ${exe}\nIPT_INPUT_ACCESS ACCEPT, ${value}, FWKNOP_INPUT, 1\n`;
      const cases: [config: string, reason: RegExp][] = [
        ["FIREWALL_EXE /etc/passwd\n", /cannot run \/etc\/passwd: Permission denied$/],
        ["FIREWALL_EXE /usr/sbin\n", /cannot run \/usr\/sbin: Permission denied$/],
        [`FIREWALL_EXE ${stub}\n`, /stub is no iptables; .*stub: exit status 3$/],
        ["FIREWALL_EXE /bin/cat\n", /\/bin\/cat/],
        [
          `FIREWALL_EXE ${exe.replace("iptables", "ip6tables")}\n`,
          / is no iptables: it says "ip6t/,
        ],
        [
          `FIREWALL_EXE ${exe}\nIP6TABLES_EXE /nonexistent\n`,
          /ip6tables: \/nonexistent is not there; install the package iptables$/,
        ],
        [
          access("filter, INPUT, 99"),
          /FWKNOP_INPUT cannot be number 99 of INPUT, which has \d rules$/,
        ],
        [access("filter, NOWHERE, 1"), /there is no chain NOWHERE in the table filter \(.*\)$/],
        [access("nosuch, INPUT, 1"), /nosuch.*does not exist|table `nosuch': Table does not exist/],
      ];
      // To read a table of iptables-legacy makes it, whoever reads.
      await lab.gateway.must([exe, "-S"]);
      const before = await savedRules(lab.gateway, `${exe}-save`);
      for (const [config, reason] of cases) {
        const files = await writeGatewayFiles(
          lab.directory,
          `PCAP_INTF ${GATEWAY_INTERFACE}\n${config}`,
          STANZA,
        );
        for (const [mode, lead] of [["--exit-parse-config", "use"], ["-f", "set up"]] as const) {
          const { status, stderr } = await serve(lab.gateway, files, mode);
          strictEqual(status, 1, stderr);
          const last = stderr.trimEnd().split("\n").at(-1) ?? "";
          match(last, new RegExp(`^spa: cannot ${lead} iptables: `));
          match(last, reason);
        }
      }
      strictEqual(await savedRules(lab.gateway, `${exe}-save`), before);
    },
    labMissing() ?? lacking,
  );
}
