// firewalld on the lab's gateway, with a message bus and a configuration of its own, so that it
// knows nothing of this machine and this machine nothing of it.

import { hasProgram, type Lab, labMissing } from "./lab.ts";
import type { Finished } from "./process.ts";

/** A firewalld that runs. */
export interface Firewalld {
  /** Makes a command talk to it, where the gateway runs that. */
  words(command: readonly string[]): string[];
  /** Runs firewall-cmd, which must succeed. */
  command(...args: readonly string[]): Promise<string>;
}

/** Why there can be none here, or null when there can. */
export function firewalldMissing(): string | null {
  for (const program of ["firewalld", "firewall-cmd", "dbus-daemon", "unshare", "nft"]) {
    if (!hasProgram(program)) return `needs the program ${program}`;
  }
  return labMissing();
}

/** Whoever connects may own and call anything: only the lab's programs know the socket. */
const BUS = (socket: string): string =>
  `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
`;

/** Starts bus and daemon and waits for them; the lab ends both. */
export async function startFirewalld(
  lab: Lab,
  backend: "iptables" | "nftables",
): Promise<Firewalld> {
  const directory = await Deno.makeTempDir({ dir: lab.directory });
  const socket = `${directory}/bus`;
  await Deno.writeTextFile(`${directory}/bus.conf`, BUS(socket));
  await Deno.mkdir(`${directory}/etc`);
  await Deno.writeTextFile(
    `${directory}/etc/firewalld.conf`,
    `DefaultZone=public\nFirewallBackend=${backend}\nIPv6_rpfilter=no\n`,
  );
  for (const name of ["helpers", "icmptypes", "ipsets", "policies", "services", "zones"]) {
    await Deno.mkdir(`${directory}/etc/${name}`);
  }
  const mounts = `mount --bind ${directory}/etc /etc/firewalld; mount -t tmpfs none /run`;
  const words = (command: readonly string[]): string[] => [
    ...["env", `DBUS_SYSTEM_BUS_ADDRESS=unix:path=${socket}`],
    ...["unshare", "--mount", "sh", "-ec", `${mounts}\nexec "$@"`, "sh", ...command],
  ];
  const run = (...args: readonly string[]): Promise<Finished> =>
    lab.gateway.run(words(["firewall-cmd", ...args]));

  const bus = lab.gateway.start([
    "dbus-daemon",
    `--config-file=${directory}/bus.conf`,
    "--nofork",
    "--nopidfile",
    "--print-address=1",
  ]);
  await bus.waitFor(/unix:path=/);
  // The lab's own rules would stand beside firewalld's.
  await lab.gateway.must(["nft", "flush", "ruleset"]);
  const daemon = lab.gateway.start(
    words(["firewalld", "--nofork", "--nopid", "--log-target=console"]),
  );
  let over = false;
  daemon.ended.then(() => over = true);
  for (;;) {
    const { status, stderr } = await run("--state");
    if (status === 0) break;
    // 252: it is not on the bus yet.
    if (status !== 252 || over) throw new Error(`firewalld: ${stderr}\n${daemon.output()}`);
  }
  return {
    words,
    command: async (...args) => {
      const { status, stdout, stderr } = await run(...args);
      if (status !== 0) throw new Error(`firewall-cmd ${args.join(" ")}: ${stderr}`);
      return stdout;
    },
  };
}
