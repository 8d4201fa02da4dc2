// The Debian package, installed into directories of its own by the real dpkg; and the service's
// unit, judged by the real systemd-analyze. Nothing of this machine is changed.

import assert from "node:assert/strict";
import { parseServerConfig } from "../lib/conf_fwknopd.ts";
import { parseConfigLines } from "../lib/conf_text.ts";

const ROOT = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const UNIT = `${ROOT}/packaging/systemd/spa.service`;
/** What docs/packaging.md states. */
const EXPOSURE = 2.6;

const missing = Deno.uid() !== 0
  ? "needs root"
  : has("dpkg-deb") && has("systemd-sysusers")
  ? null
  : "needs dpkg-deb and systemd-sysusers";

function has(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["--version"], stdout: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

function run(program: string, args: readonly string[], env: Record<string, string> = {}): string {
  const done = new Deno.Command(program, { args: [...args], env, stdin: "null" }).outputSync();
  const [stdout, stderr] = [done.stdout, done.stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  assert.ok(done.success, `${program} ${args.join(" ")}: status ${done.code}\n${stdout}${stderr}`);
  return `${stdout}${stderr}`;
}

/** A directory that is removed at the end. */
function inDirectory(body: (directory: string) => void): void {
  const directory = Deno.makeTempDirSync({ prefix: "spa-package-" });
  try {
    body(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** Makes our package with a small program in the executable's place; gives its path. */
function makePackage(directory: string, program = "#!/bin/sh\n"): string {
  Deno.mkdirSync(directory, { recursive: true });
  const executable = `${directory}/program`;
  Deno.writeTextFileSync(executable, program, { mode: 0o755 });
  return run(
    `${ROOT}/scripts/package`,
    ["--executable", executable, "--output", directory, "--compress", "none"],
    { SOURCE_DATE_EPOCH: "1795000000" },
  ).trim();
}

/** A package of a later version with another control file and other conffiles. */
function repack(directory: string, deb: string, change: (tree: string) => void): string {
  const tree = `${directory}/tree`;
  run("dpkg-deb", ["--raw-extract", deb, tree]);
  change(tree);
  const target = `${directory}/changed.deb`;
  run("dpkg-deb", ["--root-owner-group", "-Znone", "--build", tree, target]);
  Deno.removeSync(tree, { recursive: true });
  return target;
}

function edit(path: string, change: (text: string) => string): void {
  Deno.writeTextFileSync(path, change(Deno.readTextFileSync(path)));
}

/** A system without anything but dpkg's lists; scripts run with this machine's programs. */
interface System {
  readonly root: string;
  dpkg(...args: string[]): string;
  read(path: string): string;
  mode(path: string): number;
  exists(path: string): boolean;
}

function makeSystem(root: string): System {
  for (const path of ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"]) {
    Deno.mkdirSync(`${root}/${path}`, { recursive: true });
  }
  for (const path of ["var/lib/dpkg/status", "etc/passwd", "etc/group"]) {
    Deno.writeTextFileSync(`${root}/${path}`, "");
  }
  return {
    root,
    dpkg: (...args) =>
      run("dpkg", [
        `--root=${root}`,
        "--force-script-chrootless,depends,confold,not-root,bad-path",
        `--log=${root}/dpkg.log`,
        ...args,
      ]),
    read: (path) => Deno.readTextFileSync(`${root}${path}`),
    mode: (path) => (Deno.statSync(`${root}${path}`).mode ?? 0) & 0o7777,
    exists: (path) => {
      try {
        Deno.lstatSync(`${root}${path}`);
        return true;
      } catch {
        return false;
      }
    },
  };
}

function packageTest(name: string, body: (directory: string, system: System) => void): void {
  Deno.test({
    name: missing === null ? name : `${name} (${missing})`,
    ignore: missing !== null,
    fn: () =>
      inDirectory((directory) => {
        Deno.mkdirSync(`${directory}/root`);
        body(directory, makeSystem(`${directory}/root`));
      }),
  });
}

const CONFIGURATION = ["/etc/fwknop/fwknopd.conf", "/etc/fwknop/access.conf"];

packageTest("the package installs program, unit, user and files that only root reads", (
  directory,
  system,
) => {
  system.dpkg("--install", makePackage(directory));
  assert.equal(system.mode("/usr/bin/spa"), 0o755);
  assert.equal(system.read("/usr/lib/systemd/system/spa.service"), Deno.readTextFileSync(UNIT));
  assert.match(system.read("/etc/passwd"), /^spa:.*:.*nologin$/m);
  assert.equal(system.mode("/var/lib/spa"), 0o700);
  for (const path of CONFIGURATION) assert.equal(system.mode(path), 0o600, path);
  for (const path of ["copyright", "README.md", "docs/packaging.md"]) {
    assert.ok(system.exists(`/usr/share/doc/spa/${path}`), path);
  }
});

packageTest("an upgrade keeps the configuration, also that which was taken away", (
  directory,
  system,
) => {
  const deb = makePackage(directory);
  system.dpkg("--install", deb);
  const [config = "", access = ""] = CONFIGURATION;
  Deno.writeTextFileSync(`${system.root}${config}`, "PCAP_INTF wan0\n");
  Deno.removeSync(`${system.root}${access}`);
  Deno.writeTextFileSync(`${system.root}/etc/default/spa`, 'SPA_OPTIONS="-v"\n');
  const later = repack(directory, deb, (tree) => {
    edit(`${tree}/DEBIAN/control`, (text) => text.replace(/^Version: .*$/m, "Version: 99"));
    edit(`${tree}/etc/default/spa`, (text) => `${text}# new\n`);
    edit(`${tree}/usr/share/spa/fwknopd.conf`, (text) => `${text}# new\n`);
  });
  system.dpkg("--install", later);
  assert.equal(system.read(config), "PCAP_INTF wan0\n");
  assert.equal(system.mode(config), 0o600);
  assert.ok(!system.exists(access));
  assert.equal(system.read("/etc/default/spa"), 'SPA_OPTIONS="-v"\n');
  assert.match(system.read("/usr/share/spa/fwknopd.conf"), /# new\n$/);
});

packageTest("a removal keeps the configuration, a purge leaves nothing", (directory, system) => {
  const before = listing(system.root);
  system.dpkg("--install", makePackage(directory));
  system.dpkg("--remove", "spa");
  assert.ok(!system.exists("/usr/bin/spa"));
  for (const path of CONFIGURATION) assert.ok(system.exists(path), path);
  system.dpkg("--purge", "spa");
  assert.deepEqual(listing(system.root), before);
});

packageTest("files that were there before are neither changed nor purged", (directory, system) => {
  Deno.mkdirSync(`${system.root}/etc/fwknop`);
  for (const path of CONFIGURATION) {
    Deno.writeTextFileSync(`${system.root}${path}`, "# mine\n", { mode: 0o640 });
  }
  system.dpkg("--install", makePackage(directory));
  system.dpkg("--purge", "spa");
  for (const path of CONFIGURATION) {
    assert.equal(system.read(path), "# mine\n");
    assert.equal(system.mode(path), 0o640);
  }
});

packageTest("fwknop-server can be there before or come after, and keeps its files", (
  directory,
  system,
) => {
  const other = fwknopServer(directory);
  const ours = makePackage(directory);
  system.dpkg("--install", other);
  system.dpkg("--install", ours);
  assert.equal(system.read("/etc/fwknop/access.conf"), "# of fwknop-server\n");
  system.dpkg("--purge", "spa");
  assert.equal(system.read("/etc/fwknop/access.conf"), "# of fwknop-server\n");
  system.dpkg("--purge", "fwknop-server");

  system.dpkg("--install", ours);
  const template = system.read("/etc/fwknop/access.conf");
  system.dpkg("--install", other);
  assert.equal(
    system.read("/etc/fwknop/access.conf"),
    template,
    "dpkg asks, and keeps what is there",
  );
  system.dpkg("--purge", "spa");
  assert.equal(system.read("/etc/fwknop/access.conf"), template, "it is fwknop-server's by now");
});

packageTest("the same program makes the same package, byte by byte", (directory) => {
  const [one, other] = ["one", "other"].map((name) =>
    Deno.readFileSync(makePackage(`${directory}/${name}`))
  );
  assert.deepEqual(one, other);
});

/**
 * Runs a script in a mount namespace where this machine's file system is at `$ROOT`, and what is
 * changed there is thrown away. What is mounted on it, such as /run, is not there.
 */
function onCopyOfThisMachine(directory: string, script: string): string {
  const prepare = `set -e
    mount -t tmpfs tmpfs ${directory}/layers
    mkdir ${directory}/layers/upper ${directory}/layers/work ${directory}/layers/root
    ROOT=${directory}/layers/root
    mount -t overlay overlay "$ROOT" \
      -o lowerdir=/,upperdir=${directory}/layers/upper,workdir=${directory}/layers/work
  `;
  Deno.mkdirSync(`${directory}/layers`, { recursive: true });
  return run("unshare", ["--mount", "sh", "-c", prepare + script]);
}

const noOverlay = missing ?? (() => {
  try {
    inDirectory((directory) => void onCopyOfThisMachine(directory, "true"));
    return null;
  } catch {
    return "needs overlay mounts";
  }
})();

Deno.test({
  name: `on this Debian it installs and goes, and its fwknop-server keeps its files${
    noOverlay === null ? "" : ` (${noOverlay})`
  }`,
  ignore: noOverlay !== null,
  fn: () =>
    inDirectory((directory) => {
      const deb = makePackage(directory);
      const output = onCopyOfThisMachine(
        directory,
        `cp ${deb} "$ROOT/spa.deb"
        sums() { cat "$ROOT"/etc/fwknop/*.conf 2>&1 | md5sum; }
        sums
        chroot "$ROOT" dpkg --install /spa.deb >/dev/null
        chroot "$ROOT" id -un spa
        test -x "$ROOT/usr/bin/spa"
        chroot "$ROOT" dpkg --purge spa >/dev/null
        sums
        test ! -e "$ROOT/usr/bin/spa"`,
      );
      const [before, user, after] = output.trim().split("\n");
      assert.equal(user, "spa");
      assert.equal(after, before);
    }),
});

/** A package that owns the files which Debian's fwknop-server owns. */
function fwknopServer(directory: string): string {
  const tree = `${directory}/fwknop-server`;
  Deno.mkdirSync(`${tree}/etc/fwknop`, { recursive: true });
  Deno.mkdirSync(`${tree}/DEBIAN`);
  for (const path of CONFIGURATION) {
    Deno.writeTextFileSync(`${tree}${path}`, "# of fwknop-server\n", { mode: 0o600 });
  }
  Deno.writeTextFileSync(`${tree}/DEBIAN/conffiles`, `${CONFIGURATION.join("\n")}\n`);
  Deno.writeTextFileSync(
    `${tree}/DEBIAN/control`,
    "Package: fwknop-server\nVersion: 2.6.10\nArchitecture: all\nMaintainer: x <x@localhost>\n" +
      "Description: stands for Debian's\n",
  );
  const deb = `${directory}/fwknop-server.deb`;
  run("dpkg-deb", ["--root-owner-group", "-Znone", "--build", tree, deb]);
  return deb;
}

/** All files below a directory but those of dpkg itself and the users, who stay. */
function listing(root: string, path = ""): string[] {
  return [...Deno.readDirSync(`${root}${path}`)].flatMap(({ name, isDirectory }) => {
    const one = `${path}/${name}`;
    if (
      /^\/(?:var\/lib\/dpkg|dpkg\.log|etc\/(?:passwd|group|g?shadow|\.pwd\.lock|.*-$))/.test(one)
    ) {
      return [];
    }
    return isDirectory ? [one, ...listing(root, one)] : [one];
  }).sort();
}

Deno.test("the templates of the package are configurations without a fault", () => {
  const text = Deno.readTextFileSync(`${ROOT}/packaging/debian/fwknopd.conf`);
  const plain = [text, text.replace(/^#([A-Z])/gm, "$1")];
  for (const version of plain) {
    const { problems } = parseServerConfig({
      path: "fwknopd.conf",
      readText: () => ({ ok: true, text: version }),
    });
    assert.deepEqual(problems.filter(({ severity }) => severity === "error"), []);
  }
  const access = Deno.readTextFileSync(`${ROOT}/packaging/debian/access.conf`);
  assert.deepEqual(parseConfigLines(access, "access.conf"), [], "no stanza without a real key");
});

const analyzer = has("systemd-analyze") ? null : "needs systemd-analyze";

Deno.test({
  name: `the unit has no fault that systemd-analyze knows${
    analyzer === null ? "" : ` (${analyzer})`
  }`,
  ignore: analyzer !== null,
  fn: () =>
    inDirectory((directory) => {
      // What it runs has to be there.
      const unit = Deno.readTextFileSync(UNIT).replace("/usr/bin/spa", "/bin/true");
      Deno.writeTextFileSync(`${directory}/spa.service`, unit);
      assert.equal(run("systemd-analyze", ["verify", `${directory}/spa.service`]), "");
    }),
});

Deno.test({
  name: `the unit is as little exposed as the page says${
    analyzer === null ? "" : ` (${analyzer})`
  }`,
  ignore: analyzer !== null,
  fn() {
    const page = Deno.readTextFileSync(`${ROOT}/docs/packaging.md`);
    assert.ok(page.includes(`exposure of ${EXPOSURE} `), `docs/packaging.md says ${EXPOSURE}`);
    // Later versions of systemd count a little otherwise.
    const limit = String(Math.ceil(EXPOSURE * 10) + 3);
    const args = ["security", "--offline=true", "--no-pager", `--threshold=${limit}`, UNIT];
    assert.match(run("systemd-analyze", args), /Overall exposure level/);
  },
});
