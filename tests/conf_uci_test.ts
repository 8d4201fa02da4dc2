// OpenWrt's /etc/config/fwknopd as the server reads it: the settings of both of fwknop's files from
// one, with the places of what is wrong; and the script that starts the server there.

import assert from "node:assert/strict";
import fc from "fast-check";
import { parseAccessConfig } from "../lib/conf_access.ts";
import { parseServerConfig, type ServerConfigReading } from "../lib/conf_fwknopd.ts";
import { formatProblem } from "../lib/conf_problem.ts";
import { isUci, parseConfigFile } from "../lib/conf_uci.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const PATH = "/etc/config/fwknopd";
const STANZA = "config access\n\toption SOURCE ANY\n\toption KEY secret\n";

function server(text: string): ServerConfigReading {
  return parseServerConfig({ path: PATH, readText: () => ({ ok: true, text }) });
}

function access(text: string): ReturnType<typeof parseAccessConfig> {
  return parseAccessConfig({
    path: PATH,
    config: server(text).config,
    readText: () => ({ ok: true, text }),
    listDirectory: () => ({ ok: false, reason: "No such file or directory" }),
    lookups: {
      user: () => null,
      group: () => null,
      isDirectory: () => true,
      isProgram: () => true,
    },
  });
}

/** What is said of a file, by both of its readings. */
function told(text: string): string[] {
  return [...server(text).problems, ...access(text).problems].map(formatProblem)
    .filter((line) => !line.includes("REQUIRE_SOURCE_ADDRESS"));
}

Deno.test("a UCI file holds the settings of both files, SOURCE anywhere in its section", () => {
  const text = `# comment
package fwknopd

config global
	option uci_enabled '1'
config network
	option network 'wan'

config config
	option FIREWALL_TYPE nftables
	option PCAP_FILTER "udp port 62201"   # why
	option 'SYSLOG_IDENTITY' 'it'\\''s "me"'

config access 'home'
	option keytype 'Base64 key'
	option OPEN_PORTS 'tcp/22, tcp/443'
	option KEY 'a;b # c'
	option SOURCE 'ANY'
	option HMAC_KEY "x\\"y"
config access
	list SOURCE '192.0.2.0/24'
	list SOURCE '198.51.100.7'
	option KEY one\\ two
`;
  assert.deepEqual(told(text), []);
  const { config } = server(text);
  assert.equal(config.FIREWALL_TYPE, "nftables");
  assert.equal(config.PCAP_FILTER, "udp port 62201");
  assert.equal(config.SYSLOG_IDENTITY, 'it\'s "me"');
  assert.equal(config.ACCESS_FILE, PATH);
  const { stanzas } = access(text);
  assert.deepEqual(
    stanzas.map(({ SOURCE, OPEN_PORTS }) => [SOURCE.text, OPEN_PORTS?.length ?? null]),
    [["ANY", 2], ["192.0.2.0/24, 198.51.100.7", null]],
  );
  assert.deepEqual(stanzas.map(({ KEY }) => new TextDecoder().decode(KEY ?? undefined)), [
    "a;b # c",
    "one two",
  ]);
});

Deno.test("what is wrong in a UCI file is told with its place, and without keys", () => {
  const cases: [text: string, expected: RegExp][] = [
    [
      `config config\n\toption MAX_SPA_PACKET_AGE '60x'\n${STANZA}`,
      /^spa: \/etc\/config\/fwknopd:2:29: cannot read "60x": not a whole number/,
    ],
    [`config config\n  option PCAP_INTFF eth0\n${STANZA}`, /:2:10: warning: .*\n.*PCAP_INTF\?/],
    [`config config\n\toption PCAP_INTF ''\n${STANZA}`, /:2:2: PCAP_INTF has no value/],
    [`config config\n\toption PCAP_INTF\n${STANZA}`, /:2:2: PCAP_INTF has no value/],
    [`config config\n\toption PCAP_INTF a b\n${STANZA}`, /:2:21: PCAP_INTF has more than one val/],
    [`${STANZA}\toption HMAC_KEY 'topsecret\n`, /:4:18: a quote is not closed\nhint: /],
    [`${STANZA}\toption HMAC_KEY one topsecret\n`, /:4:22: HMAC_KEY has more than one value/],
    [`${STANZA}HMAC_KEY topsecret\n`, /:4:1: the line is no part of a UCI file/],
    [
      `config access\n\toption KEY topsecret\n${STANZA}`,
      /:1:1: a section access needs the option S/,
    ],
    [`package x\noption KEY topsecret\n${STANZA}`, /:2:1: the option is in no section/],
    [`package x\nconfig\n${STANZA}`, /:2:1: the section has no type/],
    [`config acess\n${STANZA}`, /:1:1: warning: Ignoring unknown section: 'acess'/],
    [`${STANZA}\toption OPEN_PORTS 'tcp/22 tcp/23'\n`, /:4:21: cannot read "tcp\/22 tcp\/23"/],
  ];
  for (const [text, expected] of cases) {
    const lines = told(text);
    assert.equal(lines.length, 1, `${text}: ${lines.join("; ")}`);
    assert.match(lines[0] ?? "", expected, text);
    assert.ok(!lines[0]?.includes("topsecret"), text);
  }
});

Deno.test("fwknop's own files are not taken for UCI files, nor the other way round", () => {
  const cases: [text: string, expected: boolean][] = [
    ["", false],
    ["# config x\nPCAP_INTF eth0\n", false],
    ["CONFIG_FILE x", false],
    ["SOURCE ANY\nKEY config access\n", false],
    ["configure x", false],
    ["\n# x\n  config access\n", true],
    ["package fwknopd\n", true],
    ["config\taccess\n", true],
  ];
  for (const [text, expected] of cases) assert.equal(isUci(text), expected, text);
});

Deno.test("no text makes parseConfigFile() throw, and places are inside the text", () => {
  const piece = fc.constantFrom(
    ...["config ", "option ", "list ", "access", "config", " ", "'", '"', "\\", "\n", "#", "\t"],
    ...["SOURCE", "KEY", "ä", "\r\n", "package x\n"],
  );
  fc.assert(fc.property(
    fc.array(piece, { maxLength: 40 }).map((pieces) => `config ${pieces.join("")}`),
    fc.constantFrom("config" as const, "access" as const),
    (text, part) => {
      const lines = text.split("\n");
      for (const line of parseConfigFile(text, "f", part)) {
        const place = line.kind === "setting"
          ? { ...line.setting.place, column: line.setting.valueColumn }
          : line.kind === "problem"
          ? line.problem
          : line.place;
        const length = lines[place.line - 1]?.length;
        assert.ok(length !== undefined && place.column >= 1 && place.column <= length + 1);
      }
    },
  ));
});

Deno.test("the sample configuration for OpenWrt lacks nothing but keys", () => {
  const text = Deno.readTextFileSync(`${ROOT}packaging/openwrt/fwknopd.config`);
  for (const line of told(text)) assert.match(line, /KEY(?:_BASE64)? value is not properly set/);
  const made = text.replace("__CHANGEME__", "a2V5").replace("__CHANGEME__", "aG1hYw==");
  assert.deepEqual(told(made), []);
  assert.deepEqual(server(made).config.NFT_ATTACH, [
    { family: "inet", table: "fw4", chain: "input" },
  ]);
});

/** What OpenWrt's shell functions are called with when the script starts the service. */
async function startedWith(settings: Readonly<Record<string, string>>): Promise<string[]> {
  const root = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${root}/lib/functions`, { recursive: true });
    await Deno.writeTextFile(
      `${root}/lib/functions/network.sh`,
      'network_get_device() { [ "$2" = wan ] && eval "$1=eth7"; }\n',
    );
    const answers = Object.entries(settings).map(([name, value]) => `${name}) echo '${value}';;`);
    const script = `
      uci() { case "$3" in ${answers.join(" ")} *) return 1;; esac; }
      procd_open_instance() { :; }
      procd_close_instance() { :; }
      procd_set_param() { if [ "$1" = command ]; then shift; printf '%s\\n' "$@"; fi; }
      IPKG_INSTROOT=${root}
      . ${ROOT}packaging/openwrt/fwknopd.init
      start_service`;
    const { code, stdout, stderr } = await new Deno.Command("sh", { args: ["-c", script] })
      .output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout).trim().split("\n");
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("OpenWrt's script starts the server with the UCI file and the network's device", async () => {
  const enabled = "fwknopd.@global[0].uci_enabled".replace(/[[\]]/g, "\\$&");
  const network = "fwknopd.@network[0].network".replace(/[[\]]/g, "\\$&");
  const always = ["/usr/bin/spa", "serve", "--foreground", "--syslog-enable"];
  const withFile = [...always, "--config-file", PATH];
  assert.deepEqual(await startedWith({}), always);
  assert.deepEqual(await startedWith({ [enabled]: "0", [network]: "wan" }), always);
  assert.deepEqual(await startedWith({ [enabled]: "1" }), withFile);
  assert.deepEqual(await startedWith({ [enabled]: "1", [network]: "lan9" }), withFile);
  assert.deepEqual(await startedWith({ [enabled]: "1", [network]: "wan" }), [
    ...withFile,
    "--interface",
    "eth7",
  ]);
});
