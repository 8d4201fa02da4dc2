// Three hosts in network namespaces: a client, a gateway that drops what it is not told to take,
// and an internal host behind it. Nothing outside the namespaces is touched.

import { type Finished, must, run, start, type StartOptions, type Watched } from "./process.ts";

/** A host of the lab. */
export interface LabHost {
  /** Name of its network namespace. */
  readonly namespace: string;
  /** Makes a command run on this host. */
  command(words: readonly string[]): string[];
  run(words: readonly string[], input?: string): Promise<Finished>;
  must(words: readonly string[], input?: string): Promise<string>;
  start(words: readonly string[], options?: StartOptions): Watched;
}

/** The hosts, and a directory for what they write. */
export interface Lab {
  readonly client: LabHost;
  readonly gateway: LabHost;
  readonly inner: LabHost;
  readonly directory: string;
  /** Ends every program that was started in the lab and removes it. */
  close(): Promise<void>;
}

/** Addresses in the lab, all from the ranges for documentation (RFC 5737). */
export const ADDRESSES = {
  client: "192.0.2.10",
  secondClient: "192.0.2.11",
  gateway: "192.0.2.1",
  gatewayInside: "198.51.100.1",
  inner: "198.51.100.20",
} as const;

/** The gateway's interface towards the client. */
export const GATEWAY_INTERFACE = "outside";

const SIGTERM = 15;

/** Why no lab can be made here, or null when one can. */
export function labMissing(): string | null {
  if (Deno.uid() !== 0) return "needs root for network namespaces";
  for (const program of ["ip", "iptables"]) {
    if (!hasProgram(program)) return `needs the program ${program}`;
  }
  return null;
}

/** Whether a program is in PATH. */
export function hasProgram(name: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((directory) => {
    try {
      return Deno.statSync(`${directory}/${name}`).isFile;
    } catch {
      return false;
    }
  });
}

/** Makes the lab; the gateway drops everything but established connections and its own loopback. */
export async function openLab(iptables = "iptables"): Promise<Lab> {
  const tag = `spa-${crypto.randomUUID().slice(0, 8)}`;
  const directory = await Deno.makeTempDir({ prefix: "spa-lab-" });
  const started = new Set<Watched>();
  const [client, gateway, inner] = (["client", "gateway", "inner"] as const).map((role) =>
    labHost(`${tag}-${role}`, started)
  ) as [LabHost, LabHost, LabHost];

  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => closing ??= remove();

  async function remove(): Promise<void> {
    Deno.removeSignalListener("SIGTERM", leave);
    await Promise.all([...started].map((program) => program.stop()));
    for (const { namespace } of [client, gateway, inner]) {
      await run(["ip", "netns", "delete", namespace]);
    }
    await Deno.remove(directory, { recursive: true });
  }

  /** Namespaces outlive the process, so whoever ends a run that takes too long must not leave them. */
  function leave(): void {
    void close().finally(() => Deno.exit(128 + SIGTERM));
  }
  Deno.addSignalListener("SIGTERM", leave);

  try {
    for (const { namespace } of [client, gateway, inner]) {
      await must(["ip", "netns", "add", namespace]);
      await must(["ip", "-n", namespace, "link", "set", "lo", "up"]);
    }
    await join(client, "eth0", [ADDRESSES.client, ADDRESSES.secondClient], gateway, "outside", [
      ADDRESSES.gateway,
    ]);
    await join(inner, "eth0", [ADDRESSES.inner], gateway, "inside", [ADDRESSES.gatewayInside]);
    await client.must(["ip", "route", "add", "default", "via", ADDRESSES.gateway]);
    await inner.must(["ip", "route", "add", "default", "via", ADDRESSES.gatewayInside]);
    await gateway.must([`${iptables}-restore`], DEFAULT_DROP);
  } catch (error) {
    await close();
    throw error;
  }
  return { client, gateway, inner, directory, close };
}

/**
 * A test with a lab of its own.
 *
 * @param missing why it cannot run here; it then counts as skipped
 */
export function labTest(
  name: string,
  body: (lab: Lab) => Promise<void>,
  missing: string | null = labMissing(),
): void {
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

const DEFAULT_DROP = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
COMMIT
`;

function labHost(namespace: string, started: Set<Watched>): LabHost {
  const command = (words: readonly string[]): string[] => [
    "ip",
    "netns",
    "exec",
    namespace,
    ...words,
  ];
  return {
    namespace,
    command,
    run: (words, input) => run(command(words), input === undefined ? {} : { input }),
    must: (words, input) => must(command(words), input),
    start(words, options) {
      const program = start(command(words), options);
      started.add(program);
      program.ended.finally(() => started.delete(program));
      return program;
    },
  };
}

/** Lays a cable between two hosts. */
async function join(
  one: LabHost,
  oneName: string,
  oneAddresses: readonly string[],
  other: LabHost,
  otherName: string,
  otherAddresses: readonly string[],
): Promise<void> {
  await must([
    ...["ip", "link", "add", oneName, "netns", one.namespace, "type", "veth"],
    ...["peer", "name", otherName, "netns", other.namespace],
  ]);
  for (
    const [host, name, addresses] of [
      [one, oneName, oneAddresses],
      [other, otherName, otherAddresses],
    ] as const
  ) {
    for (const address of addresses) {
      await host.must(["ip", "address", "add", `${address}/24`, "dev", name]);
    }
    await host.must(["ip", "link", "set", name, "up"]);
  }
}

/** The program under test: the built executable when SPA_EXECUTABLE names it, else the sources. */
export function spaCommand(...args: string[]): string[] {
  const executable = Deno.env.get("SPA_EXECUTABLE");
  const main = new URL("../../main.ts", import.meta.url).pathname;
  return executable === undefined
    ? [Deno.execPath(), "run", "--quiet", "--allow-all", main, ...args]
    : [executable, ...args];
}

/** A tool of the lab itself, run by the Deno that runs the tests. */
export function labTool(name: string, ...args: string[]): string[] {
  const path = new URL(`./${name}.ts`, import.meta.url).pathname;
  return [Deno.execPath(), "run", "--quiet", "--allow-all", path, ...args];
}
