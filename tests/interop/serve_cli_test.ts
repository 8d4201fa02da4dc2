// `spa serve` beside the real fwknopd, given the same command lines: what scripts rely on is equal.

import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { type GatewayFiles, writeGatewayFiles } from "../lab/gateway.ts";
import { STANZA } from "../lab/knock.ts";
import { hasProgram, type Lab, labMissing, openLab, spaCommand } from "../lab/lab.ts";
import type { Finished } from "../lab/process.ts";

const missing = labMissing() ?? (hasProgram("fwknopd") ? null : "needs fwknop-server");

function labTest(name: string, body: (lab: Lab) => Promise<void>): void {
  Deno.test({
    name: missing === null ? name : `${name} (${missing})`,
    ignore: missing !== null,
    fn: async () => {
      const lab = await openLab();
      try {
        await body(lab);
      } finally {
        await lab.close();
      }
    },
  });
}

/** Runs both programs with the same options, each with files of its own. */
async function both(
  lab: Lab,
  options: readonly string[],
  access: string = STANZA,
): Promise<{ real: Finished; ours: Finished }> {
  const run = async (program: readonly string[]): Promise<Finished> => {
    const files: GatewayFiles = await writeGatewayFiles(lab.directory, "PCAP_INTF lo\n", access);
    // fwknopd talks about a missing run directory on the way.
    await Deno.mkdir(files.runDirectory, { mode: 0o700 });
    return await lab.gateway.run([...program, ...files.options, ...options]);
  };
  return { real: await run(["fwknopd"]), ours: await run(spaCommand("serve")) };
}

/** Command lines whose standard output and exit status are part of the interface. */
const EQUAL: readonly (readonly string[])[] = [
  ["-V"],
  ["--version"],
  ["-S"],
  ["--status"],
  ["-K"],
  ["-R"],
  ["--dump-serv-err-codes"],
  ["--exit-parse-config"],
  ["--exit-parse-digest-cache"],
  ["--fw-list"],
  ["--fw-list-all"],
  ["--fw-flush"],
];

labTest("questions are answered as fwknopd answers them", async (lab) => {
  for (const options of EQUAL) {
    const { real, ours } = await both(lab, options);
    deepStrictEqual(
      { status: ours.status, stdout: ours.stdout },
      { status: real.status, stdout: real.stdout },
      options.join(" "),
    );
  }
});

/** Command lines that both refuse. */
const REFUSED: readonly (readonly string[])[] = [
  ["-D", "-K"],
  ["-S", "-R"],
  ["--no-such-option"],
  ["-C", "-1"],
  ["-c", "/nonesuch.conf"],
  ["-a", "/nonesuch.conf"],
  ["--access-folder", "/nonesuch"],
  ["-O", "/nonesuch.conf"],
  ["-r", "relative/path", "-f"],
  ["-f", "-i", "nonesuch0"],
];

labTest("what fwknopd refuses is refused with the same exit status", async (lab) => {
  for (const options of REFUSED) {
    const { real, ours } = await both(lab, options);
    strictEqual(real.status, 1, `fwknopd ${options.join(" ")}`);
    strictEqual(ours.status, 1, `spa serve ${options.join(" ")}`);
  }
});

labTest("keys are made in the form that fwknopd prints", async (lab) => {
  for (const options of [["--key-gen"], ["--key-gen", "--key-len", "16", "--hmac-key-len", "20"]]) {
    const { real, ours } = await both(lab, options);
    // Keys differ each time; their lengths and everything around them do not.
    const form = (text: string): string => text.replace(/: (\S+)/g, (_, key) => `: ${key.length}`);
    deepStrictEqual([ours.status, form(ours.stdout)], [real.status, form(real.stdout)]);
  }
});

labTest("abbreviated and clustered options mean what they mean to fwknopd", async (lab) => {
  for (const options of [["--exit-parse-c"], ["--exit-parse-config", "-vvf"], ["--stat"]]) {
    const { real, ours } = await both(lab, options);
    strictEqual(ours.status, real.status, options.join(" "));
  }
});

labTest("an access.conf that fwknopd refuses is refused with its words", async (lab) => {
  const bad: readonly (readonly [string, RegExp])[] = [
    ["", /Could not find valid SOURCE stanza in access file|could not find any valid access\.conf/],
    ["SOURCE ANY\n", /No keys found for access stanza source/],
    ["SOURCE nowhere\nKEY a\n", /Fatal|Could not/i],
    ["SOURCE ANY\nKEY __CHANGEME__\n", /KEY value is not properly set in stanza source/],
    ["SOURCE ANY\nKEY same\nHMAC_KEY same\n", /should not be identical/],
    ["SOURCE ANY\nKEY a\nFORCE_NAT 1.2.3.4 22\n", /FORCE_NAT/],
  ];
  for (const [access, expected] of bad) {
    const { real, ours } = await both(lab, ["--exit-parse-config"], access);
    strictEqual(real.status, 1, access);
    strictEqual(ours.status, 1, access);
    match(ours.stderr, expected);
    match(ours.stderr, /^spa: \S+access\.conf(:\d+)*: /m);
  }
});
