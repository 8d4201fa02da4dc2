// `-R`: the address that the outside sees, as a web service tells it. Loaded only when asked for.

import { DEFAULT_TIMEOUT, DEFAULT_USER_AGENT } from "./cmd_knock_send.ts";
import type { KnockSettings } from "./cmd_knock_values.ts";
import { done, failure, misuse, type Outcome, type Ui } from "./cmd_ui.ts";
import { parseAllowedAddress } from "./conf_fwknoprc_values.ts";
import { type AddressFamily, type Host, reasonOf } from "./host.ts";
import { parseIpv4, parseIpv6 } from "./net_address.ts";

/** Asked in this order, when no `--resolve-url` names another. */
const SERVICES = ["www.cipherdyne.org/cgi-bin/myip", "checkip.amazonaws.com/"];
/** Reached over IPv6 only, so that its answer is the IPv6 address. */
const IPV6_SERVICES = ["ipv6.icanhazip.com/"];

/** Bytes of an answer that are looked at. */
const ANSWER_LIMIT = 16384;

/**
 * Asks for the address to allow: an IPv4 one where a service tells it, since fwknopd takes no
 * other, and with `-6` an IPv6 one.
 */
export async function resolveAllowIp(
  settings: KnockSettings,
  host: Host,
  ui: Ui,
): Promise<Outcome<string>> {
  const urls = chooseUrls(settings, ui);
  if (!urls.ok) return urls;
  const usesWget = settings.wgetCommand !== undefined || settings.useWgetUserAgent === true;
  const wanted = settings.family ?? "ipv4";
  const failures: string[] = [];
  let second: Answer | null = null;
  for (const url of urls.value) {
    const asked = usesWget
      ? await askWithWget(url, settings, host)
      : await askDirectly(url, settings, host);
    if ("reason" in asked) {
      failures.push(`[-] Could not resolve IP via: '${asked.via}': ${asked.reason}`);
    } else if (familyOf(asked.address) === wanted) {
      return done(tell(asked, settings, ui));
    } else {
      second ??= asked;
    }
  }
  if (second !== null) return done(tell(second, settings, ui));
  const hint = usesWget
    ? "-a ADDRESS names the address without asking"
    : "-a ADDRESS names the address without asking, --wget-cmd asks with wget";
  return failure(failures.join("\n"), hint);
}

/** An address, and the URL or the command that gave it. */
interface Answer {
  readonly via: string;
  readonly address: string;
}

type Asked = Answer | { readonly via: string; readonly reason: string };

function familyOf(address: string): AddressFamily {
  return address.includes(":") ? "ipv6" : "ipv4";
}

function tell({ via, address }: Answer, settings: KnockSettings, ui: Ui): string {
  if ((settings.verbose ?? 0) > 0 && !settings.json) {
    ui.print(`\n[+] Resolved external IP (via '${via}') as: ${address}`);
  }
  return address;
}

/** The URLs to try, after the checks that fwknop makes. */
function chooseUrls(settings: KnockSettings, ui: Ui): Outcome<string[]> {
  const scheme = settings.resolveHttpOnly ? "http://" : "https://";
  const given = settings.resolveUrl;
  if (given === undefined) {
    const services = settings.family === "ipv6" ? [...IPV6_SERVICES, ...SERVICES] : SERVICES;
    return done(services.map((service) => scheme + service));
  }
  const isHttps = /^https:/i.test(given);
  if (settings.resolveHttpOnly && isHttps) {
    return misuse("[*] https is not supported for --resolve-http-only.");
  }
  if (!settings.resolveHttpOnly && !isHttps) {
    ui.warn(`[-] Warning: IP resolution URL '${given}' should begin with 'https://' in -R mode.`);
  }
  const url = /^https?:\/\//i.test(given) ? given : `http://${given}`;
  const port = /^[^:]*:\/\/(?:\[[^\]]*\]|[^:/]*):([^/]*)/.exec(url)?.[1];
  if (port !== undefined && !isPort(port)) {
    return misuse(
      "Error parsing resolve-url: resolve-url port value is invalid, must be in [1-65535]",
    );
  }
  return URL.canParse(url) ? done([url]) : misuse(`Error parsing resolve-url: "${given}"`);
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535;
}

async function askDirectly(url: string, settings: KnockSettings, host: Host): Promise<Asked> {
  try {
    const page = await host.fetchPage(url, {
      userAgent: settings.userAgent ?? DEFAULT_USER_AGENT,
      timeout: settings.networkTimeout ?? DEFAULT_TIMEOUT,
      limit: ANSWER_LIMIT,
    });
    if (/^https:/i.test(url) && !/^https:/i.test(page.url)) {
      return { via: url, reason: "the service redirects to plain HTTP" };
    }
    return readAnswer(url, page.body, settings);
  } catch (error) {
    return { via: url, reason: reasonOf(error) };
  }
}

/** As fwknop does; its command is split at blanks. */
async function askWithWget(url: string, settings: KnockSettings, host: Host): Promise<Asked> {
  const [program = "wget", ...options] = (settings.wgetCommand ?? "wget").trim().split(/\s+/);
  const agent = settings.useWgetUserAgent ? [] : ["-U", settings.userAgent ?? DEFAULT_USER_AGENT];
  const args = [...options, ...agent, "--secure-protocol=auto", "--quiet", "-O", "-", url];
  const { status, stdout, stderr } = await host.run({
    program,
    args,
    timeout: settings.networkTimeout ?? DEFAULT_TIMEOUT,
  });
  const via = [program, ...args].join(" ");
  if (status === 0) return readAnswer(via, stdout, settings);
  return { via, reason: stderr.trim().split("\n")[0] || `it ended with status ${status}` };
}

function readAnswer(via: string, body: string, settings: KnockSettings): Asked {
  const address = findAddress(body, settings.family ?? "ipv4");
  return address === null ? { via, reason: "the answer holds no address" } : { via, address };
}

/**
 * The address in an answer: what it begins with if that is IPv4, or else the first public one.
 *
 * @param family what is preferred in an answer that holds both
 * @returns null when there is none
 */
export function findAddress(body: string, family: AddressFamily): string | null {
  const found = { ipv4: findIpv4(body), ipv6: findIpv6(body) };
  return found[family] ?? found.ipv4 ?? found.ipv6;
}

function findIpv4(body: string): string | null {
  const leading = /^\s*(\d+(?:\.\d+){3})/.exec(body)?.[1] ?? "";
  if (parseIpv4(leading) !== null) return leading;
  const quads = body.match(/(?<![\d.:])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])/g) ?? [];
  return quads.find((quad) => parseIpv4(quad) !== null && isPublic(quad)) ?? null;
}

/** Not private, loopback, link-local, shared or reserved (RFC 6890). */
function isPublic(quad: string): boolean {
  const [a = 0, b = 0] = quad.split(".").map(Number);
  const isPrivate = a === 10 || a === 172 && b >= 16 && b < 32 || a === 192 && b === 168;
  const isShared = a === 100 && b >= 64 && b < 128;
  return !(a === 0 || a === 127 || a >= 224 || a === 169 && b === 254 || isPrivate || isShared);
}

/** Public are the global unicast addresses, `2000::/3` (RFC 4291 section 2.4). */
function findIpv6(body: string): string | null {
  const words = body.match(/(?<![\w:.])[\da-f:]*:[\da-f:.]*[\da-f:](?![\w:]|\.\d)/gi) ?? [];
  const found = words.find((word) => (parseIpv6(word)?.value ?? 0n) >> 125n === 1n);
  return found === undefined ? null : parseAllowedAddress(found);
}
