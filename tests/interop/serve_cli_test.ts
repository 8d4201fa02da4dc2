// `spa serve` beside the real fwknopd, given the same command lines: what scripts rely on is equal.

import { deepStrictEqual, match, rejects, strictEqual } from "node:assert/strict";
import { type GatewayFiles, writeGatewayFiles } from "../lab/gateway.ts";
import { STANZA } from "../lab/knock.ts";
import { hasProgram, type Lab, labMissing, labTest, spaCommand } from "../lab/lab.ts";
import type { Finished } from "../lab/process.ts";

const missing = labMissing() ?? (hasProgram("fwknopd") ? null : "needs fwknop-server");

function besideFwknopd(name: string, body: (lab: Lab) => Promise<void>): void {
  labTest(name, body, missing);
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

besideFwknopd("questions are answered as fwknopd answers them", async (lab) => {
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
  // Parts of other builds.
  ["--afl-pkt-file", "/dev/null"],
  ["--fault-injection-tag", "tag"],
];

besideFwknopd("what fwknopd refuses is refused with the same exit status", async (lab) => {
  for (const options of REFUSED) {
    const { real, ours } = await both(lab, options);
    strictEqual(real.status, 1, `fwknopd ${options.join(" ")}`);
    strictEqual(ours.status, 1, `spa serve ${options.join(" ")}`);
  }
});

besideFwknopd("keys are made in the form that fwknopd prints", async (lab) => {
  for (const options of [["--key-gen"], ["--key-gen", "--key-len", "16", "--hmac-key-len", "20"]]) {
    const { real, ours } = await both(lab, options);
    // Keys differ each time; their lengths and everything around them do not.
    const form = (text: string): string => text.replace(/: (\S+)/g, (_, key) => `: ${key.length}`);
    deepStrictEqual([ours.status, form(ours.stdout)], [real.status, form(real.stdout)]);
  }
});

besideFwknopd("abbreviated and clustered options mean what they mean to fwknopd", async (lab) => {
  for (const options of [["--exit-parse-c"], ["--exit-parse-config", "-vvf"], ["--stat"]]) {
    const { real, ours } = await both(lab, options);
    strictEqual(ours.status, real.status, options.join(" "));
  }
});

besideFwknopd("an access.conf that fwknopd refuses is refused with its words", async (lab) => {
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

/** Options that set variables, seen in `--dump-config`; `@` stands for a directory with files. */
const SETTING: readonly (readonly string[])[] = [
  ["-i", "eth9"],
  ["-P", "udp port 1234"],
  ["-l", "NONE"],
  ["-p", "@/other.pid"],
  ["-d", "@/other.cache"],
  ["-r", "@"],
  ["--pcap-file", "@/knocks.pcap"],
  ["--gpg-home-dir", "@"],
  ["--gpg-exe", "/usr/bin/env"],
  ["--sudo-exe", "/usr/bin/env"],
  ["--access-folder", "@/access.d"],
  ["-v", "-v"],
  ["-O", "@/one.conf,@/two.conf"],
  ["-O", "@/two.conf", "-O", "@/one.conf"],
  ["--override-config=@/two.conf,@/one.conf", "-d", "@/other.cache"],
];

besideFwknopd("options set what they set in fwknopd, and beat every file", async (lab) => {
  const directory = `${lab.directory}/options`;
  await Deno.mkdir(`${directory}/access.d`, { recursive: true });
  const files: Readonly<Record<string, string>> = {
    "access.d/b.conf": "SOURCE 198.51.100.0/24\nKEY bee\n",
    "access.d/ignored.bak": "SOURCE nowhere\n",
    "knocks.pcap": "",
    "one.conf": "PCAP_INTF one\nDIGEST_FILE /one\n",
    "two.conf": "PCAP_INTF two\n",
  };
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${directory}/${name}`, text, { mode: 0o600 });
  }
  for (const words of SETTING) {
    const options = words.map((word) => word.replaceAll("@", directory));
    const { real, ours } = await both(lab, ["-D", "-f", ...options]);
    // With -c alone fwknopd names the same file as override; its run directory is its own.
    const comparable = (text: string): string[] =>
      text.replace(/^ *(?:5[5-9]|[6-9]\d|\d{3})\. .*\n/gm, "").replace(/^ +1\. .*$/m, "")
        .replaceAll(/\/[0-9a-f]+\//g, "/*/").split("\n");
    deepStrictEqual(comparable(ours.stdout), comparable(real.stdout), words.join(" "));
    strictEqual(ours.status, real.status, words.join(" "));
  }
});

besideFwknopd(
  "--rotate-digest-cache keeps the old cache beside a new one, as fwknopd does",
  async (lab) => {
    const outcome = async (program: readonly string[]): Promise<[number, string[], string]> => {
      const files = await writeGatewayFiles(lab.directory, "PCAP_INTF lo\n", STANZA);
      await Deno.mkdir(files.runDirectory, { mode: 0o700 });
      const cache = `${files.runDirectory}/digest.cache`;
      const line = `${"a".repeat(43)} 17 192.0.2.10 45092 192.0.2.1 62201 1795319701`;
      await Deno.writeTextFile(cache, `# old\n${line}\n`, { mode: 0o600 });
      const { status } = await lab.gateway.run([
        ...[...program, ...files.options, "--rotate-digest-cache", "--exit-parse-digest-cache"],
      ]);
      const names = [...Deno.readDirSync(files.runDirectory)].map(({ name }) => name).sort();
      return [
        status,
        names,
        await Deno.readTextFile(`${cache}-old`) + await Deno.readTextFile(cache),
      ];
    };
    deepStrictEqual(await outcome(spaCommand("serve")), await outcome(["fwknopd"]));
  },
);

besideFwknopd("a digest cache of fwknopd is taken over, and the other way round", async (lab) => {
  const cached = async (program: readonly string[], cache: string): Promise<string> => {
    const files = await writeGatewayFiles(lab.directory, "PCAP_INTF lo\n", STANZA);
    const { stderr } = await lab.gateway.run([
      ...[...program, ...files.options, "-d", cache, "-v", "--exit-parse-digest-cache"],
    ]);
    return /Using Digest Cache: .*/.exec(stderr)?.[0] ?? stderr;
  };
  const now = Math.floor(Date.now() / 1000);
  const lines = ["b", "c"].map((letter) =>
    `${letter.repeat(43)} 17 192.0.2.10 45092 192.0.2.1 62201 ${now}\n`
  );
  const cache = `${lab.directory}/digest.cache`;
  await Deno.writeTextFile(cache, `# header\n${lines.join("")}`, { mode: 0o600 });
  const expected = `Using Digest Cache: '${cache}' (entry count = 2)`;
  strictEqual(await cached(spaCommand("serve"), cache), expected);
  strictEqual(await cached(["fwknopd"], cache), expected);
});

besideFwknopd("the daemon is found by its pid file, wherever that is", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, "PCAP_INTF lo\n", STANZA);
  const pidFile = `${lab.directory}/daemon.pid`;
  const ask = (...words: string[]): Promise<Finished> =>
    lab.gateway.run([...spaCommand("serve"), ...files.options, "-p", pidFile, ...words]);
  try {
    strictEqual((await ask()).status, 0);
    const pid = Number(await Deno.readTextFile(pidFile));
    strictEqual((await ask("-S")).stdout, `Detected fwknopd is running (pid=${pid}).\n`);
    // fwknopd itself finds it: the lock and the number are where it looks for them.
    const real = await lab.gateway.run(["fwknopd", ...files.options, "-p", pidFile, "-S"]);
    strictEqual(real.stdout, `Detected fwknopd is running (pid=${pid}).\n`);
    const kill = await lab.gateway.run(["fwknopd", ...files.options, "-p", pidFile, "-K"]);
    match(kill.stdout, /^Killed fwknopd \(pid=\d+\)/);
    strictEqual((await ask("-S")).status, 1);
    await rejects(Deno.stat(pidFile), Deno.errors.NotFound);
  } finally {
    await ask("-K");
  }
});

besideFwknopd(
  "a stale pid file ends no stranger and is left alone, unlike with fwknopd",
  async (lab) => {
    const outcome = async (program: readonly string[]): Promise<[boolean, boolean]> => {
      const files = await writeGatewayFiles(lab.directory, "PCAP_INTF lo\n", STANZA);
      await Deno.mkdir(files.runDirectory, { mode: 0o700 });
      const pidFile = `${files.runDirectory}/fwknopd.pid`;
      // The process itself must have the number, which it would not behind ip-netns(8).
      const stranger = new Deno.Command("sleep", { args: ["60"] }).spawn();
      const text = `${stranger.pid}\n`;
      await Deno.writeTextFile(pidFile, text, { mode: 0o600 });
      const ask = (option: string): Promise<Finished> =>
        lab.gateway.run([...program, ...files.options, option]);
      strictEqual((await ask("-S")).status, 1);
      const unchanged = await Deno.readTextFile(pidFile) === text;
      await Deno.writeTextFile(pidFile, text, { mode: 0o600 });
      await ask("-K");
      try {
        // A signal that was sent before is there before this one.
        stranger.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      const { signal } = await stranger.status;
      return [unchanged, signal === "SIGKILL"];
    };
    deepStrictEqual(await outcome(spaCommand("serve")), [true, true]);
    deepStrictEqual(await outcome(["fwknopd"]), [false, false]);
  },
);
