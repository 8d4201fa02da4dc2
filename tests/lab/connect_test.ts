// What follows a knock, with a real sshd behind a firewall that drops everything: ssh through
// `spa connect`, and programs that `spa knock` waits for and runs.

import { deepEqual, equal, match } from "node:assert/strict";
import { startGateway, writeGatewayFiles } from "./gateway.ts";
import { HMAC_KEY, KEY, probe, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  openLab,
  spaCommand,
} from "./lab.ts";
import { must, run, start, type Watched } from "./process.ts";

const missing = labMissing() ??
  (hasProgram("ssh") && hasProgram("sshd") ? null : "needs openssh-client and openssh-server");

/** A gateway that runs sshd and hides it. */
interface HiddenSshd {
  readonly lab: Lab;
  readonly gateway: Watched;
  /** .fwknoprc with the stanza `[lab]` for the gateway. */
  readonly rcFile: string;
  /** ssh_config with the host `through`, which is reached by `spa connect`, and `plain`. */
  readonly config: string;
  /** Words that make the client knock with the stanza. */
  knock(...args: readonly string[]): string[];
}

function sshTest(name: string, body: (hidden: HiddenSshd) => Promise<void>): void {
  Deno.test({
    name: missing === null ? name : `${name} (${missing})`,
    ignore: missing !== null,
    fn: async () => {
      const lab = await openLab();
      try {
        await body(await hideSshd(lab));
      } finally {
        await lab.close();
      }
    },
  });
}

async function hideSshd(lab: Lab): Promise<HiddenSshd> {
  const { directory } = lab;
  const rcFile = `${directory}/fwknoprc`;
  const config = `${directory}/ssh_config`;
  for (const key of ["host_key", "user_key"]) {
    await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", `${directory}/${key}`]);
  }
  const hostKey = await Deno.readTextFile(`${directory}/host_key.pub`);
  await Deno.writeTextFile(`${directory}/known_hosts`, `hidden ${hostKey}`);
  await Deno.copyFile(`${directory}/user_key.pub`, `${directory}/authorized_keys`);
  await Deno.writeTextFile(
    `${directory}/sshd_config`,
    [
      `HostKey ${directory}/host_key`,
      `AuthorizedKeysFile ${directory}/authorized_keys`,
      "PidFile none",
      "UsePAM no",
      "StrictModes no",
      "PasswordAuthentication no",
      "",
    ].join("\n"),
  );
  await Deno.writeTextFile(
    rcFile,
    `[lab]\nSPA_SERVER ${ADDRESSES.gateway}\nACCESS tcp/22\nALLOW_IP ${ADDRESSES.client}\n` +
      `KEY ${KEY}\nHMAC_KEY ${HMAC_KEY}\n[stranger]\nSPA_SERVER ${ADDRESSES.gateway}\n` +
      `ACCESS tcp/22\nALLOW_IP ${ADDRESSES.client}\nKEY ${KEY}\nHMAC_KEY other\n`,
  );
  await Deno.chmod(rcFile, 0o600);
  const proxy = spaCommand("connect", "-n", "lab", "--rc-file", rcFile, "%h", "%p").join(" ");
  await Deno.writeTextFile(
    config,
    [
      "Host through",
      `  ProxyCommand ${proxy}`,
      "Host *",
      `  HostName ${ADDRESSES.gateway}`,
      "  User root",
      "  BatchMode yes",
      "  HostKeyAlias hidden",
      `  UserKnownHostsFile ${directory}/known_hosts`,
      `  IdentityFile ${directory}/user_key`,
      "",
    ].join("\n"),
  );

  // sshd wants a directory in /run, which is the machine's; here it gets a /run of its own.
  const prepare = 'mount -t tmpfs tmpfs /run; mkdir /run/sshd; exec "$@"';
  const sshd = lab.gateway.start([
    ...["unshare", "--mount", "sh", "-ec", prepare, "sh"],
    ...["/usr/sbin/sshd", "-D", "-e", "-p", "22", "-f", `${directory}/sshd_config`],
  ]);
  await sshd.waitFor(/Server listening on 0\.0\.0\.0 port 22/);
  const files = await writeGatewayFiles(
    directory,
    `PCAP_INTF ${GATEWAY_INTERFACE}\n`,
    `${STANZA}FW_ACCESS_TIMEOUT 3\n`,
  );
  const gateway = await startGateway(lab, files);
  equal(await probe(lab, 22), "filtered");
  const knock = (...args: readonly string[]): string[] =>
    spaCommand("knock", "--rc-file", rcFile, "--no-save-args", ...args);
  return { lab, gateway, rcFile, config, knock };
}

sshTest("ssh reaches a hidden sshd through spa connect, for more than a moment", async (hidden) => {
  const { lab, gateway, config } = hidden;
  const ssh = lab.client.start([
    ...["ssh", "-F", config, "through", "echo $SSH_CONNECTION; cat; exit 5"],
  ]);
  await ssh.waitFor(/192\.0\.2\.10 \d+ 192\.0\.2\.1 22/);
  await gateway.waitFor(/Removed rule 1 from FWKNOP_INPUT/);
  equal(await probe(lab, 22), "filtered");
  await ssh.write("still there\n");
  await ssh.waitFor(/^still there$/m);
  ssh.signal("SIGTERM");
  await ssh.ended;
});

sshTest(
  "megabytes pass through spa connect unchanged, and ssh's exit status too",
  async (hidden) => {
    const { lab, config } = hidden;
    const [sent, back] = [`${lab.directory}/sent`, `${lab.directory}/back`];
    const chunk = (): Uint8Array => crypto.getRandomValues(new Uint8Array(65_536));
    await Deno.writeFile(sent, ReadableStream.from(Array.from({ length: 128 }, chunk)));
    const script = `ssh -F ${config} through 'cat; exit 5' <${sent} >${back}`;
    const { status, stderr } = await lab.client.run(["sh", "-c", script]);
    deepEqual([status, stderr], [5, ""]);
    await must(["cmp", sent, back]);
  },
);

sshTest(
  "spa knock -- ssh knocks, waits, and hands streams and exit status over",
  async (hidden) => {
    const { lab, config, knock } = hidden;
    const command = knock("-n", "lab", "--", "ssh", "-F", config, "plain", "cat; exit 7");
    const ran = await lab.client.run(command, "through the knock\n");
    deepEqual([ran.status, ran.stdout, ran.stderr], [7, "through the knock\n", ""]);
  },
);

sshTest("spa knock --wait tells by its exit status whether the gateway opened", async (hidden) => {
  const { lab, knock } = hidden;
  const refused = await lab.client.run(knock("-n", "stranger", "--wait", "--timeout", "1"));
  equal(refused.status, 1);
  match(refused.stderr, /^spa: the packet was sent, but 192\.0\.2\.1 port 22 did not open within/);
  const opened = await lab.client.run(knock("-n", "lab", "--wait"));
  deepEqual([opened.status, opened.stdout, opened.stderr], [0, "", ""]);
  equal(await probe(lab, 22), "open");
});

/** Knocks at nobody: what follows is a service that is open anyway. */
const TO_LOOPBACK = [
  ...["--no-rc-file", "--key-rijndael", "fwknoptest", "-a", "192.0.2.10", "-D", "127.0.0.1"],
];

/** Accepts one connection on the loopback interface while `use` runs with its port. */
async function withListener(
  serve: (connection: Deno.TcpConn) => Promise<void>,
  use: (port: number) => Promise<void>,
): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const served = listener.accept().then(serve);
  served.catch(() => {});
  try {
    await use(listener.addr.port);
    await served;
  } finally {
    listener.close();
  }
}

function connectTo(port: number): string[] {
  return spaCommand("connect", ...TO_LOOPBACK, "127.0.0.1", String(port));
}

Deno.test("spa connect hands the end of its input on, and still gives the answer", async () => {
  const serve = async (connection: Deno.TcpConn): Promise<void> => {
    const buffer = new Uint8Array(100);
    let length = 0;
    for (;;) {
      const count = await connection.read(buffer.subarray(length));
      if (count === null) break;
      length += count;
    }
    const text = new TextDecoder().decode(buffer.subarray(0, length));
    await connection.write(new TextEncoder().encode(`${text.length} bytes: ${text}`));
    connection.close();
  };
  await withListener(serve, async (port) => {
    const ran = await run(connectTo(port), { input: "question" });
    deepEqual([ran.status, ran.stdout, ran.stderr], [0, "8 bytes: question", ""]);
  });
});

Deno.test("spa connect ends when the service does, though its input stays open", async () => {
  const serve = async (connection: Deno.TcpConn): Promise<void> => {
    await connection.write(new TextEncoder().encode("bye\n"));
    connection.close();
  };
  await withListener(serve, async (port) => {
    const connect = start(connectTo(port));
    equal(await connect.ended, 0);
    equal(connect.output(), "bye\n");
  });
});

Deno.test("spa connect ends when nobody reads its output any more", async () => {
  const serve = async (connection: Deno.TcpConn): Promise<void> => {
    const chunk = new Uint8Array(65_536);
    // Until the other side has gone.
    for (;;) {
      try {
        await connection.write(chunk);
      } catch {
        break;
      }
    }
    connection.close();
  };
  await withListener(serve, async (port) => {
    const script = '"$@" | head -c 1000 | wc -c';
    const ran = await run(["sh", "-c", script, "sh", ...connectTo(port)]);
    deepEqual([ran.stdout.trim(), ran.stderr], ["1000", ""]);
  });
});

Deno.test("spa knock -- PROGRAM hands a signal on and ends as the program does", async () => {
  const program = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
  const knock = start(
    spaCommand(
      ...["knock", ...TO_LOOPBACK, "--no-save-args", "-A", "udp/9", "--", "sh", "-c", program],
    ),
  );
  await knock.waitFor(/ready/);
  knock.signal("SIGTERM");
  equal(await knock.ended, 9);
  equal(knock.output(), "ready\ncaught\n");
});

Deno.test("spa knock -- PROGRAM gives a program signals as a shell does", async () => {
  const knock = spaCommand("knock", ...TO_LOOPBACK, "--no-save-args", "-A", "udp/9", "--");
  const ignored = await run([...knock, "grep", "^SigIgn:", "/proc/self/status"]);
  const [, mask = ""] = /^SigIgn:\t([0-9a-f]+)\n$/.exec(ignored.stdout) ?? [];
  // The runtime itself ignores SIGPIPE, number 13.
  equal(BigInt(`0x${mask}`) >> 12n & 1n, 0n);
  const killed = await run([...knock, "sh", "-c", "kill -KILL $$"]);
  equal(killed.status, 137);
  const absent = await run([...knock, "no-such-program-here"]);
  equal(absent.status, 127);
  match(absent.stderr, /^spa: cannot run "no-such-program-here": there is no such program\n$/);
});
