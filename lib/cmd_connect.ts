// `spa connect HOST PORT`, made for ssh's ProxyCommand: knocks with the stanza for the host, waits
// until the port is open, and joins the connection to the standard streams.

import { carry } from "./cmd_connect_carry.ts";
import { aimAt, findStanza, isSameHost, type Target, usesNat } from "./cmd_connect_stanza.ts";
import { parseOptions } from "./cmd_getopt.ts";
import { KNOCK_OPTIONS, readKnockOptions } from "./cmd_knock_options.ts";
import { sendPacket } from "./cmd_knock_packet.ts";
import { loadRcFile, rcFilePath } from "./cmd_knock_rc.ts";
import { DEFAULT_TIMEOUT } from "./cmd_knock_send.ts";
import {
  checkNoRcFile,
  checkSettings,
  describeOverrides,
  mergeSettings,
} from "./cmd_knock_settings.ts";
import type { KnockSettings } from "./cmd_knock_values.ts";
import {
  addressAfterKnock,
  connectWhenOpen,
  gatewayAddress,
  type Knocked,
} from "./cmd_knock_wait.ts";
import {
  createUi,
  done,
  EXIT,
  failure,
  misuse,
  type Outcome,
  type Ui,
  withoutStdout,
} from "./cmd_ui.ts";
import { parseDecimal } from "./conf_fwknoprc_values.ts";
import type { ByteStream, Endpoint, Host } from "./host.ts";
import { reasonOf } from "./host.ts";

/** Options of `spa knock` that send no packet, or no packet for a port, or use the streams. */
const WITHOUT: readonly string[] = [
  ...["server-cmd", "test", "json", "wait", "stdin", "version", "fault-injection-tag"],
  ...["key-gen", "key-gen-file", "key-len", "hmac-key-len"],
  ...["save-rc-stanza", "force-stanza", "stanza-list"],
  ...["last-cmd", "show-last", "save-args-file", "no-save-args"],
];

const OPTIONS = KNOCK_OPTIONS.filter(({ long }) => !WITHOUT.includes(long));

/** Runs `spa connect`; gives the exit status. */
export async function run(args: string[], host: Host): Promise<number> {
  const parsed = parseOptions(OPTIONS, args);
  if (parsed.found.some(({ name }) => name === "help")) return await printHelp(host);
  const quiet = parsed.found.some(({ name }) => name === "quiet");
  const ui = createUi(withoutStdout(host), { command: "connect", quiet });
  if (parsed.errors.length > 0) return ui.usage(parsed.errors);
  const line = readKnockOptions(parsed.found);
  if (!line.ok) return ui.complain(line.complaint);
  const target = readTarget(parsed.operands);
  if (!target.ok) return ui.complain(target.complaint);

  const settings = settle(line.value, target.value, host, ui);
  if (!settings.ok) return ui.complain(settings.complaint);
  const connection = await knockAndConnect(settings.value, target.value, host, ui);
  if (!connection.ok) return ui.complain(connection.complaint);
  const { to, stream } = connection.value;
  const broken = await carry(host.standardStream(), stream);
  if (broken === null) return EXIT.done;
  const { complaint } = failure(`the connection to ${to.address} port ${to.port} broke: ${broken}`);
  return ui.complain(complaint);
}

function readTarget([host, portText, ...more]: readonly string[]): Outcome<Target> {
  const example = "in ~/.ssh/config: ProxyCommand spa connect %h %p";
  if (host === undefined || portText === undefined || more.length > 0) {
    return misuse("give a host and a port", example);
  }
  const port = parseDecimal(portText, 1, 65535);
  if (port === null) return misuse(`"${portText}" is not a port`, example);
  return done({ host: host.replace(/^\[(.*)\]$/, "$1"), port });
}

/** All settings of the knock: the stanza's, the command line's on top, aimed at the target. */
function settle(
  line: KnockSettings,
  target: Target,
  host: Host,
  ui: Ui,
): Outcome<KnockSettings> {
  const contradiction = checkNoRcFile(line);
  if (contradiction !== null) return { ok: false, complaint: contradiction };
  if (line.keyDescriptor === 0) {
    return misuse("cannot read keys from the standard input: it belongs to the connection");
  }
  const chosen = chooseStanza(line, target, host);
  if (!chosen.ok) return chosen;
  const rc = line.noRcFile ? done(null) : loadRcFile(chosen.value, host, ui);
  if (!rc.ok) return rc;
  const fromFile = rc.value?.settings ?? {};
  for (const override of describeOverrides(fromFile, line)) ui.warn(override);
  const named = chosen.value.stanza;
  const settings = aimAt(target, {
    ...mergeSettings(fromFile, line),
    ...(named === undefined ? {} : { stanza: named }),
  }, line);
  const complaint = checkSettings(settings);
  return complaint === null ? done(settings) : { ok: false, complaint };
}

/** The command line with the stanza for the target, unless it names one or the gateway itself. */
function chooseStanza(
  line: KnockSettings,
  target: Target,
  host: Host,
): Outcome<KnockSettings> {
  if (line.stanza !== undefined || line.server !== undefined || line.noRcFile) return done(line);
  const path = rcFilePath(line, host);
  if (!path.ok) return path;
  const text = readIfThere(path.value, host);
  if (!text.ok) return text;
  const found = findStanza(text.value, path.value, target);
  if (!found.ok) return found;
  return done(found.value === null ? line : { ...line, stanza: found.value });
}

function readIfThere(path: string, host: Host): Outcome<string> {
  try {
    return done(host.stat(path) === null ? "" : host.readTextFile(path));
  } catch (error) {
    return failure(`Unable to open rc file: ${path}: ${reasonOf(error)}`);
  }
}

async function knockAndConnect(
  settings: KnockSettings,
  target: Target,
  host: Host,
  ui: Ui,
): Promise<Outcome<{ readonly to: Endpoint; readonly stream: ByteStream }>> {
  const sent = await sendPacket(settings, host, ui);
  if (!sent.ok) return sent;
  if (sent.value === null) throw new Error("a connection was asked for, but a test was made");
  const to = await whereTo(sent.value, settings, target, host);
  if (!to.ok) return to;
  const timeout = settings.networkTimeout ?? DEFAULT_TIMEOUT;
  const stream = await connectWhenOpen(to.value, timeout, host);
  return stream.ok ? done({ to: to.value, stream: stream.value }) : stream;
}

/** The gateway, if the host is the gateway or hidden by it; else the host itself. */
async function whereTo(
  knocked: Knocked,
  settings: KnockSettings,
  { host: name, port }: Target,
  host: Host,
): Promise<Outcome<Endpoint>> {
  const behindNat = usesNat(settings);
  const isGateway = isSameHost(name, knocked.server) ||
    settings.stanza?.toLowerCase() === name.toLowerCase();
  const address = behindNat || isGateway
    ? await gatewayAddress(knocked, settings, host)
    : await addressAfterKnock(name, settings, host);
  if (!address.ok) return address;
  const opened = knocked.ports.find(({ protocol }) => protocol === "tcp")?.port;
  return done({ address: address.value, port: behindNat ? opened ?? port : port });
}

async function printHelp(host: Host): Promise<number> {
  const { formatHelp } = await import("./cmd_help.ts");
  host.stdout(
    await formatHelp(OPTIONS, {
      name: "spa connect",
      usage: "[options] HOST PORT",
      description: "Knocks, waits until the port is open, and joins the connection to standard " +
        "input and output. The settings are those of the stanza that is named like the host, or " +
        "has it as SPA_SERVER.",
      footer: `In ~/.ssh/config:
  Host gateway.example.org
    ProxyCommand spa connect %h %p
`,
    }),
  );
  return EXIT.done;
}
