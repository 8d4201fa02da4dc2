// Commands on a real gateway: what they may do, that they delay nobody, and the recipes of
// docs/commands.md: sets of the kernel, and a router that is reached over ssh.

import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import {
  type GatewayFiles,
  savedRules,
  serve,
  startGateway,
  writeGatewayFiles,
} from "./gateway.ts";
import { HMAC_KEY, KEY, knockPacket, probe, send, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTool,
  openLab,
} from "./lab.ts";
import { must, PATIENCE, type Watched } from "./process.ts";

const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;
const EXEC = `${STANZA}ENABLE_CMD_EXEC Y\n`;

/** A lab with a directory that everybody can write to. */
interface CommandLab extends Lab {
  readonly shared: string;
}

function commandTest(
  name: string,
  body: (lab: CommandLab) => Promise<void>,
  ...programs: readonly string[]
): void {
  const lacking = programs.find((program) => !hasProgram(program));
  const missing = labMissing() ??
    (lacking === undefined ? null : `needs the program ${lacking}`);
  Deno.test({
    name: missing === null ? name : `${name} (${missing})`,
    ignore: missing !== null,
    fn: async () => {
      const lab = await openLab();
      try {
        const shared = `${lab.directory}/shared`;
        await Deno.chmod(lab.directory, 0o711);
        await Deno.mkdir(shared);
        await Deno.chmod(shared, 0o777);
        await body({ ...lab, shared });
      } finally {
        await lab.close();
      }
    },
  });
}

function command(text: string): string {
  return knockPacket(text, ADDRESSES.client, { messageType: 0 });
}

/** Starts a gateway with an access.conf. */
async function gatewayFor(
  lab: Lab,
  access: string,
  config = "",
  ...options: readonly string[]
): Promise<{ readonly gateway: Watched; readonly files: GatewayFiles }> {
  const files = await writeGatewayFiles(lab.directory, `${SNIFF}${config}`, access);
  return { gateway: await startGateway(lab, files, ...options), files };
}

/** A program of the test itself; gives its path. */
async function writeScript(directory: string, name: string, text: string): Promise<string> {
  const path = `${directory}/${name}`;
  await Deno.writeTextFile(path, `#!/bin/sh\n${text}`);
  await Deno.chmod(path, 0o755);
  return path;
}

commandTest("a command runs as the daemon, and its end and output are logged", async (lab) => {
  const { gateway } = await gatewayFor(lab, EXEC);
  await send(lab, command(`/usr/bin/touch ${lab.shared}/a`));
  await gateway.waitFor(/CMD_EXEC: command returned 0, pid_status: 0/);
  const info = await Deno.stat(`${lab.shared}/a`);
  deepStrictEqual([info.uid, (info.mode ?? 0) & 0o777], [0, 0o600]);
  await send(lab, command(`/bin/echo hi > ${lab.shared}/b`));
  await gateway.waitFor(/Command output: hi > .*\n.*pid_status: 0/);
  await send(lab, command("/bin/false"));
  await gateway.waitFor(/pid_status: 1\n/);
  await send(lab, command("/nonexistent"));
  await gateway.waitFor(/execvpe\(\) failed: No such file or directory\n.*pid_status: 255\n/);
  match(
    gateway.output(),
    /\[192\.0\.2\.10\] \(stanza #1\) Processing SPA Command message: command='\/bin\/false'\.\n\[192\.0\.2\.10\] \(stanza #1\) Running command '\/bin\/false'\n/,
  );
});

commandTest("CMD_EXEC_USER and CMD_EXEC_GROUP are who a command runs as", async (lab) => {
  const { gateway } = await gatewayFor(
    lab,
    `${EXEC}CMD_EXEC_USER nobody\nCMD_EXEC_GROUP daemon\n`,
  );
  await send(lab, command(`/usr/bin/touch ${lab.shared}/a`));
  await gateway.waitFor(
    /Running command '.*' setuid\/setgid user\/group to nobody\/daemon \(UID=65534,GID=1\)\n/,
  );
  await gateway.waitFor(/pid_status: 0/);
  const { uid, gid } = await Deno.stat(`${lab.shared}/a`);
  deepStrictEqual([uid, gid], [65534, 1]);
  await send(lab, command("/usr/bin/id -G"));
  const [, groups = ""] = await gateway.waitFor(/Command output: ([0-9 ]+)\n/);
  ok(!groups.split(" ").includes("0"), groups);
});

for (
  const [title, config] of [
    ["the gateway", ""],
    ["a gateway with nftables", "FIREWALL_TYPE nftables\nENABLE_DEFAULT_DROP tcp/22\n"],
    ["a gateway in one process", "PRIVSEP N\n"],
  ] as const
) {
  commandTest(`a command gets no socket and no file of ${title}`, async (lab) => {
    // nftables of the lab is iptables' own, and would be in the way of a table that hides.
    if (config.includes("nftables")) await lab.gateway.must(["nft", "flush", "ruleset"]);
    const { gateway } = await gatewayFor(lab, `${EXEC}CMD_EXEC_USER nobody\n`, config);
    await send(lab, command("/bin/ls -l /proc/self/fd"));
    await gateway.waitFor(/CMD_EXEC: command returned 0, pid_status: 0/);
    match(gateway.output(), / 0 -> \/dev\/null\n[^]* 1 -> pipe:/);
    doesNotMatch(gateway.output(), /-> (?:socket|anon_inode|\/\S*run\/)/);
  });
}

commandTest("sudo is put before a command with the user and the group to ask for", async (lab) => {
  const sudo = await writeScript(lab.shared, "sudo", 'echo "asked for $*"\n');
  const { gateway } = await gatewayFor(
    lab,
    `${EXEC}ENABLE_CMD_SUDO_EXEC Y\nCMD_SUDO_EXEC_USER nobody\nCMD_SUDO_EXEC_GROUP daemon\n`,
    `SUDO_EXE ${sudo}\n`,
  );
  await send(lab, command("/bin/ls -l"));
  await gateway.waitFor(/Command output: asked for -u nobody -g daemon \/bin\/ls -l\n/);
});

commandTest("a command that hangs delays no grant and no stop, and is ended", async (lab) => {
  const { gateway } = await gatewayFor(lab, EXEC, "CMD_EXEC_TIMEOUT 1\n");
  const script = await writeScript(
    lab.shared,
    "hang",
    `sleep 300 & echo $! > ${lab.shared}/pid\nwait\n`,
  );
  await send(lab, command(script));
  await gateway.waitFor(/Running command/);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule/);
  doesNotMatch(gateway.output(), /command returned/);
  await gateway.waitFor(/Command runs longer than 1 seconds and is ended.*\n.*returned 16, pid_s/);
  const child = (await Deno.readTextFile(`${lab.shared}/pid`)).trim();
  const status = await Deno.readTextFile(`/proc/${child}/status`).catch(() => "State:\tZ");
  match(status, /^State:\tZ/m);

  await send(lab, command(script));
  await gateway.waitFor(/is ended[^]*Running command/);
  strictEqual(await gateway.stop(), 0);
  match(gateway.output(), /Shutting Down fwknopd\.\n$/);
});

commandTest("a cycle opens and closes with all that templates know", async (lab) => {
  const cycle =
    `CMD_CYCLE_OPEN /usr/bin/touch ${lab.shared}/o_$IP_$SRC_$PKT_SRC_$DST_$PORT_$PROTO` +
    `_$CLIENT_TIMEOUT\nCMD_CYCLE_CLOSE /usr/bin/touch ${lab.shared}/c_$SRC_$PORT\n` +
    "CMD_CYCLE_TIMER 300\n";
  const before = await savedRules(lab.gateway);
  const { gateway, files } = await gatewayFor(lab, `${STANZA}${cycle}`);
  const packet = knockPacket("tcp/22,udp/53", "192.0.2.99", { messageType: 3, clientTimeout: 1 });
  await send(lab, packet);
  await gateway.waitFor(/Running CMD_CYCLE_CLOSE command in 1 seconds: .*c_192\.0\.2\.99_53\n/);
  const names = (): string[] => [...Deno.readDirSync(lab.shared)].map(({ name }) => name).sort();
  const addresses = "192.0.2.99_192.0.2.99_192.0.2.10_192.0.2.1";
  deepStrictEqual(names(), [`o_${addresses}_22_6_1`, `o_${addresses}_53_17_1`]);
  for (const port of [22, 53]) {
    const closing = "Timer expired, running CMD_CYCLE_CLOSE command: /usr/bin/touch .*/c";
    await gateway.waitFor(
      new RegExp(`\\[192.0.2.99\\] \\(stanza #1\\) ${closing}_192.0.2.99_${port}\n`),
    );
  }
  strictEqual(await savedRules(lab.gateway), before);
  strictEqual(await gateway.stop(), 0);
  deepStrictEqual(names().slice(0, 2), ["c_192.0.2.99_22", "c_192.0.2.99_53"]);
  ok(![...Deno.readDirSync(files.runDirectory)].some(({ name }) => name.startsWith("cmd_cycle")));
});

commandTest("a stanza with a cycle leaves the firewall to the other stanzas", async (lab) => {
  const cycle = "CMD_CYCLE_OPEN /bin/echo open $SRC\nCMD_CYCLE_CLOSE NONE\n";
  const other = STANZA.replace(KEY, "OtherKey").replace(HMAC_KEY, "OtherHmacKey");
  const { gateway } = await gatewayFor(lab, `${STANZA}${cycle}${other}`);
  match(await savedRules(lab.gateway), /FWKNOP_INPUT/);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Command output: open 192\.0\.2\.10\n/);
  doesNotMatch(await savedRules(lab.gateway), /--dport 22/);
});

commandTest("what a killed gateway has opened is closed by the next", async (lab) => {
  const access = `${STANZA}CMD_CYCLE_OPEN /usr/bin/touch ${lab.shared}/open\n` +
    `CMD_CYCLE_CLOSE /bin/rm ${lab.shared}/open\nCMD_CYCLE_TIMER 1\n`;
  const { gateway, files } = await gatewayFor(lab, access);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Running CMD_CYCLE_CLOSE command in 1 seconds/);
  gateway.signal("SIGKILL");
  await gateway.ended;
  ok((await Deno.stat(`${lab.shared}/open`)).isFile);
  const next = await startGateway(lab, files);
  await next.waitFor(/\[192\.0\.2\.10\] \(stanza #1\) Timer expired, running CMD_CYCLE_CLOSE/);
  strictEqual(await next.stop(), 0);
  deepStrictEqual([...Deno.readDirSync(lab.shared)], []);
});

commandTest("a gateway that is stopped closes what is open; a reload does not", async (lab) => {
  const access = `${STANZA}CMD_CYCLE_OPEN /usr/bin/touch ${lab.shared}/open\n` +
    `CMD_CYCLE_CLOSE /bin/rm ${lab.shared}/open\nCMD_CYCLE_TIMER 600\n`;
  const { gateway } = await gatewayFor(lab, access);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Running CMD_CYCLE_CLOSE command in 600 seconds/);
  gateway.signal("SIGHUP");
  await gateway.waitFor(/Re-starting fwknopd/);
  ok((await Deno.stat(`${lab.shared}/open`)).isFile);
  strictEqual(await gateway.stop(), 0);
  match(gateway.output(), /\(stanza #1\) Shutting down, running CMD_CYCLE_CLOSE command: /);
  deepStrictEqual([...Deno.readDirSync(lab.shared)], []);
});

commandTest("--test runs nothing", async (lab) => {
  const touch = `/usr/bin/touch ${lab.shared}/a`;
  const cases = [
    [EXEC, command(touch)],
    [`${STANZA}CMD_CYCLE_OPEN ${touch}\nCMD_CYCLE_CLOSE NONE\n`, knockPacket("tcp/22")],
  ] as const;
  for (const [access, packet] of cases) {
    const { gateway } = await gatewayFor(lab, access, "", "--test");
    await send(lab, packet);
    await gateway.waitFor(/--test mode enabled, skipping command execution\./);
    strictEqual(await gateway.stop(), 0);
    deepStrictEqual([...Deno.readDirSync(lab.shared)], []);
  }
});

commandTest(
  "the fwknop client's command runs",
  async (lab) => {
    const { gateway } = await gatewayFor(lab, EXEC);
    await lab.client.must([
      ...["fwknop", "-C", "/bin/echo from afar", "-a", ADDRESSES.client, "-D", ADDRESSES.gateway],
      ...["--key-rijndael", KEY, "--key-hmac", HMAC_KEY, "--use-hmac"],
      ...["--no-home-dir", "--no-rc-file", "-E", `${lab.directory}/args`],
    ]);
    await gateway.waitFor(/Command output: from afar\n.*command returned 0, pid_status: 0/);
  },
  "fwknop",
);

commandTest(
  "with FIREWALL_TYPE command a port is refused, commands run, and no firewall is touched",
  async (lab) => {
    const config = "FIREWALL_TYPE command\nFIREWALL_EXE /nowhere/iptables\n";
    const before = await savedRules(lab.gateway);
    const { gateway, files } = await gatewayFor(lab, EXEC, config);
    const check = await serve(lab.gateway, files, "--exit-parse-config");
    strictEqual(check.status, 0, check.stderr);
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/Could not open access: there is no firewall, only commands/);
    await send(lab, command("/bin/echo hi"));
    await gateway.waitFor(/Command output: hi\n/);
    strictEqual(await savedRules(lab.gateway), before);
    strictEqual(await gateway.stop(), 0);
  },
);

commandTest(
  "an ipset opens the ports that were asked for, and the kernel closes them",
  async (lab) => {
    const service = lab.gateway.start(labTool("tcp_service", "22", "443", "80"));
    await service.waitFor(/listening on 80/);
    await lab.gateway.must(["ipset", "create", "fwknop_allow", "hash:ip,port", "timeout", "30"]);
    await lab.gateway.must([
      ...["iptables", "-A", "INPUT", "-m", "set", "--match-set", "fwknop_allow", "src,dst"],
      ...["-j", "ACCEPT"],
    ]);
    const { gateway } = await gatewayFor(
      lab,
      `${STANZA}CMD_CYCLE_OPEN ipset add -exist fwknop_allow $SRC,$PROTO:$PORT timeout $CLIENT_TIMEOUT\n` +
        "CMD_CYCLE_CLOSE NONE\nCMD_CYCLE_TIMER 2\n",
      "FIREWALL_TYPE command\nFIREWALL_EXE /nowhere/iptables\n",
    );
    strictEqual(await probe(lab, 22), "filtered");
    await send(lab, knockPacket("tcp/22,tcp/443"));
    await gateway.waitFor(/Running CMD_CYCLE_OPEN command: ipset add .*,6:443 timeout 2\n/);
    await setHas(lab, 2);
    deepStrictEqual([await probe(lab, 22), await probe(lab, 443)], ["open", "open"]);
    strictEqual(await probe(lab, 80), "filtered");
    await setHas(lab, 0);
    strictEqual(await probe(lab, 22), "filtered");
    strictEqual(await gateway.stop(), 0);
  },
  "ipset",
);

/** Looks until the set has so many entries: the kernel tells nobody when one ends. */
async function setHas(lab: Lab, count: number): Promise<void> {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const listing = await lab.gateway.must(["ipset", "list", "fwknop_allow"]);
    const entries = listing.split("\n").filter((line) => line.startsWith("192.0.2.10,"));
    if (entries.length === count) return;
    if (Date.now() > deadline) throw new Error(`the set does not come to ${count}:\n${listing}`);
  }
}

/** What a router lets the gateway do, whatever it is asked for: two words with an address and a port. */
const ROUTER_ACCESS = `
set -- $SSH_ORIGINAL_COMMAND
case "$1" in open) edit=-I ;; close) edit=-D ;; *) exit 2 ;; esac
case "$2$3" in *[!0-9.]*) exit 2 ;; esac
exec iptables -w "$edit" INPUT -s "$2" -p tcp --dport "$3" -j ACCEPT
`;

commandTest(
  "a router opens and closes when it is told so over ssh",
  async (lab) => {
    const { gateway: own, inner: router, directory } = lab;
    await own.must(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
    await own.must(["iptables", "-P", "FORWARD", "ACCEPT"]);
    const service = router.start(labTool("tcp_service", "8080"));
    await service.waitFor(/listening on 8080/);
    await router.must(["iptables-restore"], ROUTER_RULES);
    const sshd = await startSshd(lab, await writeScript(lab.shared, "access", ROUTER_ACCESS));
    await sshd.waitFor(/Server listening/);

    const ssh = `ssh -F ${directory}/ssh_config router`;
    const { gateway } = await gatewayFor(
      lab,
      `${STANZA}CMD_CYCLE_OPEN ${ssh} open $SRC $PORT\nCMD_CYCLE_CLOSE ${ssh} close $SRC $PORT\n` +
        "CMD_CYCLE_TIMER 2\n",
    );
    strictEqual(await probe(lab, 8080, ADDRESSES.inner), "filtered");
    await send(lab, knockPacket("tcp/8080"));
    await gateway.waitFor(
      /Running CMD_CYCLE_CLOSE command in 2 seconds: .* close 192\.0\.2\.10 8080/,
    );
    match(await savedRules(router), /-A INPUT -s 192\.0\.2\.10\/32 -p tcp -m tcp --dport 8080 /);
    strictEqual(await probe(lab, 8080, ADDRESSES.inner), "open");
    await gateway.waitFor(/Timer expired, running CMD_CYCLE_CLOSE command: ssh /);
    strictEqual(await gateway.stop(), 0);
    doesNotMatch(await savedRules(router), /--dport 8080/);
    strictEqual(await probe(lab, 8080, ADDRESSES.inner), "filtered");
    doesNotMatch(gateway.output(), /pid_status: [^0]/);
  },
  "sshd",
  "ssh",
);

const ROUTER_RULES = `*filter
:INPUT DROP [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -s ${ADDRESSES.gatewayInside} -p tcp --dport 22 -j ACCEPT
COMMIT
`;

/** An ssh server on the inner host, which lets one key run one program, and that key's client. */
async function startSshd(lab: Lab, access: string): Promise<Watched> {
  const { directory } = lab;
  for (const name of ["host_key", "gateway_key"]) {
    await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", `${directory}/${name}`]);
  }
  const key = await Deno.readTextFile(`${directory}/gateway_key.pub`);
  const hostKey = await Deno.readTextFile(`${directory}/host_key.pub`);
  const texts = {
    authorized_keys: `restrict,command="${access}" ${key}`,
    known_hosts: `router ${hostKey}`,
    sshd_config: `HostKey ${directory}/host_key
ListenAddress ${ADDRESSES.inner}
PermitRootLogin forced-commands-only
AuthorizedKeysFile ${directory}/authorized_keys
StrictModes no
UsePAM no
PidFile none
`,
    ssh_config: `Host router
  HostName ${ADDRESSES.inner}
  HostKeyAlias router
  User root
  BatchMode yes
  IdentityFile ${directory}/gateway_key
  UserKnownHostsFile ${directory}/known_hosts
`,
  };
  for (const [name, text] of Object.entries(texts)) {
    await Deno.writeTextFile(`${directory}/${name}`, text, { mode: 0o600 });
  }
  // sshd wants a directory below /run; the namespace of `ip netns exec` has its own mounts.
  const setUp = "mount -t tmpfs none /run && mkdir -m 755 /run/sshd";
  const sshd = (await must(["sh", "-c", "command -v sshd"])).trim();
  return lab.inner.start([
    "sh",
    "-c",
    `${setUp} && exec ${sshd} -D -e -f ${directory}/sshd_config`,
  ]);
}
