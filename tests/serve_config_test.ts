import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { formatProblem } from "../lib/conf_problem.ts";
import type { Host } from "../lib/host.ts";
import { denoHost } from "../lib/host_deno.ts";
import { createConfigReader } from "../lib/serve_config.ts";

const ACCESS = "SOURCE ANY\nGPG_ALLOW_NO_PW Y\nGPG_REMOTE_ID ABCD1234\nREQUIRE_SOURCE Y\n";

/** Calls `use` with a directory that is the working directory of a host: `keys`, `gpg`, and `text`. */
async function withDirectory(use: (host: Host, directory: string) => void): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${directory}/keys`);
    await Deno.writeTextFile(`${directory}/gpg`, "", { mode: 0o755 });
    await Deno.writeTextFile(`${directory}/text`, "", { mode: 0o644 });
    const absolutePath = (path: string): string => `${directory}/${path}`;
    use({ ...denoHost(), absolutePath }, directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Reads a configuration with such stanzas and such variables on the command line. */
function read(
  host: Host,
  directory: string,
  access: string,
  variables: Readonly<Record<string, string>> = {},
): ReturnType<ReturnType<typeof createConfigReader>["readAccess"]> {
  const options = { mode: 0o600 };
  Deno.writeTextFileSync(`${directory}/f.conf`, "ACCESS_FILE a.conf\n", options);
  Deno.writeTextFileSync(`${directory}/a.conf`, access, options);
  const reader = createConfigReader(host, { file: "f.conf", variables, verbosity: 0 });
  return reader.readAccess(reader.readServer());
}

Deno.test("gpg and its directory are found wherever the process goes later", () =>
  withDirectory((host, directory) => {
    const own = read(host, directory, `${ACCESS}GPG_HOME_DIR keys\nGPG_EXE gpg\n`);
    deepStrictEqual(own.problems, []);
    strictEqual(own.stanzas[0]?.GPG_HOME_DIR, `${directory}/keys`);
    strictEqual(own.stanzas[0]?.GPG_EXE, `${directory}/gpg`);
    const named = read(host, directory, ACCESS, { GPG_HOME_DIR: "keys", GPG_EXE: "gpg" });
    deepStrictEqual(named.problems, []);
    strictEqual(named.stanzas[0]?.GPG_HOME_DIR, `${directory}/keys`);
    strictEqual(named.stanzas[0]?.GPG_EXE, `${directory}/gpg`);
  }));

Deno.test("what the command line names must be there and of its kind, used or not", () =>
  withDirectory((host, directory) => {
    const cases: readonly (readonly [name: string, value: string, expected: RegExp | null])[] = [
      ["GPG_EXE", "gpg", null],
      ["GPG_EXE", "none", /^spa: command line: gpg path 'none' could not lstat\(\)\/not exec/],
      ["GPG_EXE", "text", /gpg path 'text' could not/],
      ["GPG_EXE", "keys", /gpg path 'keys' could not/],
      ["GPG_HOME_DIR", "keys", null],
      [
        "GPG_HOME_DIR",
        "none",
        /^spa: command line: gpg home directory 'none' could not lstat\(\),/,
      ],
      ["GPG_HOME_DIR", "gpg", /gpg home directory 'gpg' could not/],
      ["SUDO_EXE", "gpg", null],
      ["SUDO_EXE", "none", /sudo path 'none' could not stat.*: unable to lstat\(\) path: none$/],
      ["SUDO_EXE", "keys", /sudo path 'keys' could not stat\(\)\/not executable\?$/],
      ["PCAP_FILE", "text", null],
      ["PCAP_FILE", "none", /Invalid pcap file path 'none': unable to lstat\(\) path: none$/],
      ["PCAP_FILE", "keys", /Invalid pcap file path 'keys'$/],
    ];
    for (const [name, value, expected] of cases) {
      const access = "SOURCE ANY\nKEY secret\nREQUIRE_SOURCE Y\n";
      const { problems, hasErrors } = read(host, directory, access, { [name]: value });
      strictEqual(hasErrors, expected !== null, `${name} ${value}`);
      if (expected !== null) match(problems.map(formatProblem).join("\n"), expected);
    }
  }));

Deno.test("a path that the system cannot even look at is an error that names it", () =>
  withDirectory((host, directory) => {
    const path = "x".repeat(300);
    const { problems } = read(host, directory, ACCESS, { ACCESS_FILE: path });
    match(
      problems.map(formatProblem).join("\n"),
      /Could not open access file: \S+x: File name too/,
    );
  }));

/** The files that hold keys, by the way that leads to them. */
const KEY_FILES = {
  "a.conf": "SOURCE ANY\nKEY one\nREQUIRE_SOURCE Y\n%include @/b.conf\n%include_folder @/keys\n",
  "b.conf": "SOURCE 192.0.2.1\n%include_keys @/k\nREQUIRE_SOURCE Y\n",
  "k": "KEY two\n",
  "keys/c.conf": "SOURCE 192.0.2.2\nKEY three\nREQUIRE_SOURCE Y\n",
};

function readKeyFiles(host: Host, directory: string, config: string, wide: string): string[] {
  Deno.writeTextFileSync(`${directory}/f.conf`, `ACCESS_FILE a.conf\n${config}`);
  for (const [name, text] of Object.entries(KEY_FILES)) {
    const path = `${directory}/${name}`;
    Deno.writeTextFileSync(path, text.replaceAll("@", directory));
    Deno.chmodSync(path, name === wide ? 0o644 : 0o600);
  }
  Deno.chmodSync(`${directory}/f.conf`, wide === "f.conf" ? 0o644 : 0o600);
  const reader = createConfigReader(host, { file: "f.conf", variables: {}, verbosity: 0 });
  const { problems } = reader.readAccess(reader.readServer());
  return problems.map(formatProblem);
}

Deno.test("every file that holds keys is refused when others can read it, fwknopd.conf is not", () =>
  withDirectory((host, directory) => {
    deepStrictEqual(readKeyFiles(host, directory, "", "none"), []);
    for (const name of Object.keys(KEY_FILES)) {
      const path = `${directory}/${name}`;
      const told = readKeyFiles(host, directory, "", name);
      strictEqual(told.length, 1, told.join("\n"));
      match(told[0] ?? "", new RegExp(`^spa: ${path}: \\[-\\] file: ${path} permissions.*0644`));
      match(told[0] ?? "", /\nhint: chmod 600 .*ENABLE_STRICT_PERMISSIONS N in fwknopd\.conf$/);
      const loose = readKeyFiles(host, directory, "ENABLE_STRICT_PERMISSIONS N\n", name);
      strictEqual(loose.length, 1);
      match(loose[0] ?? "", new RegExp(`^spa: ${path}: warning: \\[-\\] file: ${path} perm`));
    }
    const told = readKeyFiles(host, directory, "", "f.conf");
    strictEqual(told.length, 1);
    match(told[0] ?? "", /^spa: f\.conf: warning: \[-\] file: f\.conf permissions should only/);
  }));
