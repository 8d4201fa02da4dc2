// The two sides of the benchmark in the lab: the daemon under test on the gateway, and the probe at
// the client.

import { ADDRESSES, GATEWAY_INTERFACE, type Lab, spaCommand } from "../tests/lab/lab.ts";
import { must, type Watched } from "../tests/lab/process.ts";
import type { GeneratedKeys } from "../mod.ts";
import type { Answer, Order } from "./bench_probe.ts";
import type { Plan, ProgramName } from "./bench_result.ts";

/** Ports that the hidden service answers on; each round takes a new one. */
export const SERVICE_PORTS = { first: 5001, last: 5500 } as const;

/** What a daemon says once it takes packets. */
const READY = /Starting fwknopd main event loop|Kicking off UDP server/;
/** Milliseconds; to take over 100,000 grants takes some seconds. */
const START_LIMIT = 120_000;
const STANZA = "bench";

/** The command that starts a server with fwknopd's options, or a client with fwknop's. */
function commandOf(program: ProgramName, part: "serve" | "knock"): string[] {
  if (program === "spa") return spaCommand(part);
  return [part === "serve" ? "fwknopd" : "fwknop"];
}

/** The version of a program, as the head of its column. */
export async function versionOf(program: ProgramName): Promise<string> {
  if (program === "fwknopd") {
    const [, version = "unknown"] = /server (\S+?),/.exec(await must(["fwknopd", "-V"])) ?? [];
    return `fwknopd ${version}`;
  }
  const version = (await must(spaCommand("--version"))).trim();
  const executable = Deno.env.get("SPA_EXECUTABLE") !== undefined;
  return `${version} (${executable ? "executable" : "from sources"})`;
}

const FIREWALL_LINES = {
  iptables: "FIREWALL_EXE /usr/sbin/iptables\n",
  nftables: "FIREWALL_TYPE nftables\n",
} as const;

/** What the lab's rules of iptables come to. */
const NFTABLES_RULES = `flush ruleset
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
  }
}
`;

/** Has the gateway drop what nobody asked for, by the firewall that is measured. */
async function closeGateway(lab: Lab, { firewall }: Pick<Plan, "firewall">): Promise<void> {
  if (firewall === "nftables") await lab.gateway.must(["nft", "-f", "-"], NFTABLES_RULES);
}

/** Runs `use` while the gateway takes packets for the UDP server. */
export async function withUdpPort(
  lab: Lab,
  { firewall }: Pick<Plan, "firewall">,
  use: () => Promise<void>,
): Promise<void> {
  if (firewall === "nftables") {
    const rule = ["inet", "filter", "input", "udp", "dport", "62201", "accept"];
    await lab.gateway.must(["nft", "add", "rule", ...rule]);
    await use();
    return await closeGateway(lab, { firewall });
  }
  const rule = ["INPUT", "-p", "udp", "--dport", "62201", "-j", "ACCEPT"];
  await lab.gateway.must(["iptables", "-A", ...rule]);
  await use();
  await lab.gateway.must(["iptables", "-D", ...rule]);
}

/** Has the gateway drop what nobody asked for, and writes the files of both sides. */
export async function prepareLab(
  lab: Lab,
  keys: GeneratedKeys,
  { firewall = "iptables", together = false }: Pick<Plan, "firewall" | "together">,
): Promise<void> {
  await closeGateway(lab, { firewall });
  const write = (name: string, text: string): Promise<void> =>
    Deno.writeTextFile(`${lab.directory}/${name}`, text, { mode: 0o600 });
  const keyLines = `KEY_BASE64 ${keys.keyBase64}\nHMAC_KEY_BASE64 ${keys.hmacKeyBase64}\n`;
  await write("fwknopd.conf", FIREWALL_LINES[firewall] + (together ? "PRIVSEP N\n" : ""));
  await write("access.conf", `SOURCE ANY\n${keyLines}FW_ACCESS_TIMEOUT 30\n`);
  await write(
    "fwknoprc",
    `[${STANZA}]\nALLOW_IP ${ADDRESSES.client}\n${keyLines}USE_HMAC Y\n`,
  );
}

/**
 * Puts grants for other addresses into the set that a stopped spa has left.
 *
 * @param count a round number of them, which all last for an hour
 */
export async function openGrants(lab: Lab, count: number): Promise<void> {
  const expires = Math.floor(Date.now() / 1000) + 3600;
  const elements = Array.from({ length: count }, (_, index) => {
    const address = `10.${64 + (index >> 16)}.${index >> 8 & 255}.${index & 255}`;
    return `${address} . udp . 22 timeout 1h comment "stanza 1 _exp_${expires}"`;
  });
  await lab.gateway.must(
    ["nft", "-f", "-"],
    `flush set inet filter spa_access4\nadd element inet filter spa_access4 { ${elements.join()} }\n`,
  );
}

/** A client program's command line for one UDP port. */
export function knockCommand(
  program: ProgramName,
  lab: Lab,
  knock: { readonly server: string; readonly port: number },
): string[] {
  return [
    ...commandOf(program, "knock"),
    ...["--rc-file", `${lab.directory}/fwknoprc`, "--no-save-args", "-n", STANZA],
    ...["-D", knock.server, "-A", `udp/${knock.port}`],
  ];
}

/** Runs `use` while the daemon runs, with a run directory of its own. */
export async function withDaemon<T>(
  program: ProgramName,
  lab: Lab,
  options: readonly string[],
  use: (daemon: Watched) => Promise<T>,
): Promise<T> {
  const runDirectory = await Deno.makeTempDir({ dir: lab.directory, prefix: "run-" });
  const daemon = lab.gateway.start([
    ...commandOf(program, "serve"),
    ...["-f", "-c", `${lab.directory}/fwknopd.conf`, "-a", `${lab.directory}/access.conf`],
    ...["-r", runDirectory, "-i", GATEWAY_INTERFACE, ...options],
  ]);
  try {
    await daemon.waitFor(READY, START_LIMIT);
    return await use(daemon);
  } finally {
    await daemon.stop();
  }
}

/** Starts the hidden service on the gateway. */
export async function startService(lab: Lab): Promise<void> {
  const { first, last } = SERVICE_PORTS;
  const service = lab.gateway.start(benchTool("bench_echo", String(first), String(last)));
  await service.waitFor(/^echoing$/m);
}

/** Gives orders to the probe; resolves with the value of its answer. */
export type Probe = (order: Order) => Promise<number | null>;

/** Starts the probe at the client; when the signal comes, it ends and orders are rejected. */
export function startProbe(lab: Lab, signal: AbortSignal): Probe {
  signal.throwIfAborted();
  const probe = lab.client.start(benchTool("bench_probe", ADDRESSES.gateway), {
    env: { HOME: lab.directory },
  });
  signal.addEventListener("abort", () => void probe.stop());
  let id = 0;
  return async (order) => {
    id++;
    await probe.write(`${JSON.stringify({ id, order })}\n`);
    const [line] = await probe.waitFor(new RegExp(`^\\{"id":${id},.*\\}$`, "m"));
    const answer = JSON.parse(line) as Answer;
    if ("problem" in answer) throw new Error(answer.problem);
    return answer.value;
  };
}

/** A tool of the benchmark, run by the Deno that runs the benchmark. */
export function benchTool(name: string, ...args: string[]): string[] {
  const path = new URL(`./${name}.ts`, import.meta.url).pathname;
  return [Deno.execPath(), "run", "--quiet", "--allow-all", path, ...args];
}
