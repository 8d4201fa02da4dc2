// Files that `spa` writes, read by the real fwknop and fwknopd, and the other way round.

import assert from "node:assert/strict";
import { ADDRESSES, hasProgram, labMissing, openLab, spaCommand } from "../lab/lab.ts";
import { must, run } from "../lab/process.ts";

const noFwknop = hasProgram("fwknop") ? null : "needs the program fwknop";
const noLab = labMissing() ?? (hasProgram("fwknopd") ? noFwknop : "needs the program fwknopd");

Deno.test({
  name: `the stanzas of spa keygen serve fwknopd, fwknop and spa as they are${because(noLab)}`,
  ignore: noLab !== null,
  async fn() {
    const lab = await openLab();
    try {
      const rcFile = `${lab.directory}/fwknoprc`;
      const access = `${lab.directory}/access.conf`;
      const config = `${lab.directory}/fwknopd.conf`;
      for (
        const [name, digest, ports] of [["one", "sha512", "tcp/22"], ["two", "sha256", "udp/53"]]
      ) {
        const files = ["--rc-file", rcFile, "--access-file", access];
        await must(spaCommand(
          ...["keygen", "--stanza", `${name}`, "--server", ADDRESSES.gateway, ...files],
          ...["--access", `${ports}`, "--hmac-digest-type", `${digest}`],
        ));
      }
      await Deno.writeTextFile(config, "PCAP_INTF outside;\n", { mode: 0o600 });
      const server = lab.gateway.start([
        ...["fwknopd", "-f", "-c", config, "-a", access, "-r", `${lab.directory}/run`],
      ]);
      await server.waitFor(/Starting fwknopd main event loop/);
      const options = ["--rc-file", rcFile, "--no-save-args", "-a", ADDRESSES.client];
      const opened = (port: string) =>
        new RegExp(`Added access rule .*${ADDRESSES.client}.* ${port},`);
      await lab.client.must([...spaCommand("knock"), ...options, "-n", "one"]);
      await server.waitFor(opened("tcp/22"));
      await lab.client.must(["fwknop", ...options, "-n", "two"]);
      await server.waitFor(opened("udp/53"));
    } finally {
      await lab.close();
    }
  },
});

Deno.test({
  name: `a stanza that one program saved serves the other${because(noFwknop)}`,
  ignore: noFwknop !== null,
  async fn(t) {
    const directory = await Deno.makeTempDir({ prefix: "spa-client-" });
    const programs = { fwknop: ["fwknop"], spa: spaCommand("knock") };
    const saved = [
      ...["-A", "tcp/22,udp/53", "-a", "1.2.3.4", "-D", "192.0.2.1", "-f", "70", "-m", "SHA384"],
      ...["-p", "1234", "-U", "bob", "-M", "ctr", "-N", "10.0.0.2:80", "--time-offset-minus", "2h"],
      ...["--key-base64-rijndael", "AAEC", "--key-hmac", "hmac-key", "--hmac-digest-type", "md5"],
    ];
    try {
      for (const [writer, reader] of [["spa", "fwknop"], ["fwknop", "spa"]] as const) {
        await t.step(`${writer} to ${reader}`, async () => {
          const files = ["--rc-file", `${directory}/${writer}`, "--no-save-args", "-T", "-v"];
          const written = await run([...programs[writer], ...saved, "--save-rc-stanza", ...files]);
          assert.equal(written.status, 0, written.stderr);
          const read = await run([...programs[reader], "-n", "192.0.2.1", ...files]);
          assert.equal(read.status, 0, read.stderr);
          const told = /Username|Message|Nat Access|Timeout|Type|Mode|destination port|IP\/host/;
          const facts = (text: string) => text.split("\n").filter((line) => told.test(line));
          assert.ok(facts(read.stdout).length > 10);
          assert.deepEqual(facts(read.stdout), facts(written.stdout));
        });
      }
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
});

function because(missing: string | null): string {
  return missing === null ? "" : ` (${missing})`;
}
