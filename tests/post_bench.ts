// The monitor's side of privilege separation around sentries that a test plays.

import type { FirewallGrant, Grant } from "../lib/auth_grant.ts";
import type { Commands } from "../lib/serve_commands.ts";
import { createLog } from "../lib/serve_log.ts";
import { createMonitor } from "../lib/serve_monitor.ts";
import type { Report } from "../lib/serve_pipe_reports.ts";
import type { ApartParts, Post } from "../lib/serve_post.ts";
import { openApartPost } from "../lib/serve_post_apart.ts";
import type { SentryRequest } from "../lib/serve_sentry.ts";
import { rulesOf, type Settings } from "../lib/serve_settings.ts";
import { serverConfigOf, stanzasOf } from "./gateway_fixture.ts";
import { type PlayedSentries, playSentries } from "./played_sentry.ts";

/** By the monitor's clock, in seconds since 1970. */
export const TIME = 1_795_321_401;
/** Three stanzas: for access, for commands and for GPG packets. */
export const ACCESS = `SOURCE 192.0.2.0/24
KEY a
OPEN_PORTS tcp/22,udp/53
FW_ACCESS_TIMEOUT 30
MAX_FW_TIMEOUT 60
SOURCE ANY
KEY b
ENABLE_CMD_EXEC Y
SOURCE ANY
KEY c
GPG_DECRYPT_PW secret
GPG_HOME_DIR /gnupg
GPG_REMOTE_ID AABBCCDD
`;

/** A gateway's monitor around played sentries. */
export interface PostBench {
  readonly post: Post;
  readonly sentries: PlayedSentries;
  readonly lines: string[];
  readonly opened: FirewallGrant[];
  readonly run: Grant[];
  /** Packets for gpg. */
  readonly decrypted: Uint8Array[];
  /** Lets requests be done; until then they are under way. */
  readonly firewall: PromiseWithResolvers<void>;
  readonly settings: Settings;
  close(): void;
}

/** A post whose first sentry is ready; see {@linkcode PostBench}. */
export async function openPostBench(
  options: { readonly packetLimit?: number; readonly held?: boolean; readonly config?: string } =
    {},
): Promise<PostBench> {
  const sentries = playSentries();
  const lines: string[] = [];
  const log = createLog(0, (level, text) => void lines.push(`${level}: ${text}`));
  const settings = settingsOf(options.config ?? "", ACCESS);
  const opened: FirewallGrant[] = [];
  const run: Grant[] = [];
  const decrypted: Uint8Array[] = [];
  const firewall = Promise.withResolvers<void>();
  if (options.held !== true) firewall.resolve();
  const host = {
    startPart: sentries.startPart,
    monotonic: () => performance.now(),
    now: () => TIME * 1000,
    resolve: () => Promise.reject(new Error("no names here")),
    pid: 1,
  } as unknown as ApartParts["host"];
  const commands: Pick<Commands, "carryOut"> = {
    carryOut: (_, grant) => {
      run.push(grant);
      return Promise.resolve();
    },
  };
  const monitor = createMonitor({
    host,
    rules: rulesOf(settings),
    replayFile: null,
    commands,
    log,
    firewall: {
      start: () => Promise.resolve(),
      stop: () => Promise.resolve(),
      grants: 0,
      open: async (grant: FirewallGrant) => {
        opened.push(grant);
        await firewall.promise;
        return { ok: true };
      },
    } as never,
  });
  const opening = openApartPost({
    host,
    log,
    settings,
    options: {
      testMode: false,
      anyDirection: false,
      fromStdin: false,
      packetLimit: options.packetLimit ?? 0,
      rotateDigestCache: false,
      exitAfterDigestCache: false,
    },
    gpg: {
      decrypt: ({ message }) => {
        decrypted.push(message);
        return Promise.resolve("busy");
      },
      close: () => {},
    },
    carryOut: monitor.carryOut,
    account: { uid: 65534, gid: 65534 },
    replayFile: null,
    openQueue: () => Promise.resolve(null),
  });
  (await sentries.sentry(0)).takeUp();
  const post = await opening;
  await post.ready();
  return {
    post,
    sentries,
    lines,
    opened,
    run,
    decrypted,
    firewall,
    settings,
    close: () => post.close(),
  };
}

/** Settings as they are read from both files. */
export function settingsOf(config: string, access: string): Settings {
  return {
    config: serverConfigOf(config),
    reading: { settings: new Map() },
    stanzas: stanzasOf(access),
  } as unknown as Settings;
}

/** A digest for each number. */
export const digest = (number: number): string => String(number).padStart(43, "A");

/** A request of stanza 1 that the monitor carries out, with such changes to its grant. */
export function requestFor(grant: Partial<FirewallGrant>, number = 1): SentryRequest {
  return {
    packetSource: "192.0.2.10",
    stanza: 1,
    record: {
      digest: digest(number),
      protocol: 17,
      source: "192.0.2.10",
      sourcePort: 40000,
      destination: "192.0.2.1",
      destinationPort: 62201,
      time: TIME,
    },
    grant: {
      kind: "access",
      stanza: 1,
      source: "192.0.2.99",
      destination: "192.0.2.1",
      ports: [{ protocol: "tcp", port: 22 }],
      seconds: 30,
      expires: TIME + 30,
      ...grant,
    } as Grant,
    asked: { user: "alice", request: "tcp/22", nat: null },
  };
}

/** The report that asks for it. */
export const asReport = (request: SentryRequest, generation = 1): Report => ({
  kind: "request",
  generation,
  request,
});

/** Resolves once the condition holds: what a test waits for comes within a few turns. */
export async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    if (turns > 10_000) throw new Error(`never: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
