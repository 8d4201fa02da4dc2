import assert from "node:assert/strict";
import fc from "fast-check";
import {
  parseServerConfig,
  type ServerConfigReading,
  type ServerConfigSource,
} from "../lib/conf_fwknopd.ts";
import { formatConfigDump } from "../lib/conf_fwknopd_dump.ts";
import {
  SERVER_VARIABLES,
  type ServerConfig,
  serverVariableNames,
} from "../lib/conf_fwknopd_variables.ts";
import { formatProblem, hasErrors } from "../lib/conf_problem.ts";
import type { ReadText } from "../lib/conf_text.ts";

function readerOf(files: Readonly<Record<string, string>>): ReadText {
  return (path) => {
    const text = files[path];
    return text === undefined
      ? { ok: false, reason: "No such file or directory" }
      : { ok: true, text };
  };
}

type Options = Pick<ServerConfigSource, "commandLine" | "defaults" | "verbose">;

function read(text: string, options: Options = {}): ServerConfigReading {
  return parseServerConfig({ path: "f.conf", readText: readerOf({ "f.conf": text }), ...options });
}

function told(reading: ServerConfigReading): string[] {
  return reading.problems.map(formatProblem);
}

/** The one finding of a text, and whether it is the severity that is expected. */
function finding(text: string, severity: "error" | "warning", options: Options = {}): string {
  const reading = read(text, options);
  assert.equal(reading.problems.length, 1, `${text}: ${told(reading).join("; ")}`);
  assert.equal(reading.problems[0]?.severity, severity, text);
  return told(reading)[0] ?? "";
}

Deno.test("an empty file gives the defaults and nothing to say", () => {
  const { config, problems, settings } = read("");
  assert.deepEqual(problems, []);
  assert.deepEqual([...settings.keys()], ["CONFIG_FILE"]);
  const expected: Partial<ServerConfig> = {
    CONFIG_FILE: "f.conf",
    PCAP_INTF: "eth0",
    PCAP_FILE: null,
    PCAP_FILTER: "udp port 62201",
    ENABLE_PCAP_PROMISC: false,
    ENABLE_PCAP_ANY_DIRECTION: false,
    ENABLE_SPA_PACKET_AGING: true,
    MAX_SPA_PACKET_AGE: 120,
    ENABLE_UDP_SERVER: false,
    UDPSERV_PORT: 62201,
    SYSLOG_FACILITY: "LOG_DAEMON",
    FLUSH_IPT_AT_EXIT: true,
    FWKNOP_PID_FILE: "/run/fwknop/fwknopd.pid",
    DIGEST_FILE: "/run/fwknop/digest.cache",
    VERBOSE: null,
    IPT_INPUT_ACCESS: {
      target: "ACCEPT",
      table: "filter",
      from: "INPUT",
      jumpPosition: 1,
      to: "FWKNOP_INPUT",
      rulePosition: 1,
    },
  };
  for (const [name, value] of Object.entries(expected)) {
    assert.deepEqual(config[name as keyof ServerConfig], value, name);
  }
});

Deno.test("all variables of fwknopd's builds and our own are known, and each default is of its type", () => {
  assert.equal(serverVariableNames().length, 116);
  const text = serverVariableNames().flatMap((name) => {
    const { initial } = SERVER_VARIABLES[name];
    return initial === null || name === "CONFIG_FILE" ? [] : [`${name} ${initial};`];
  });
  assert.deepEqual(told(read(text.join("\n"))), []);
});

Deno.test("a line is a name, blanks and a value up to a semicolon or the line's end", () => {
  const cases: [text: string, interface_: string][] = [
    ["PCAP_INTF eth9", "eth9"],
    ["PCAP_INTF eth9;", "eth9"],
    ["PCAP_INTF\teth9 ; a comment", "eth9"],
    ["  PCAP_INTF   eth9   ", "eth9"],
    ["PCAP_INTF eth9\r\n", "eth9"],
    ["PCAP_INTF eth8\nPCAP_INTF eth9\n", "eth9"],
    ['PCAP_INTF "eth9"', '"eth9"'],
    ["PCAP_INTF eth9 # x", "eth9 # x"],
    ["#PCAP_INTF eth8\n;PCAP_INTF eth7\n  # x\n   \n\nPCAP_INTF eth9", "eth9"],
    [`PCAP_INTF ${"e".repeat(2000)}`, "e".repeat(2000)],
    ["\ufeffPCAP_INTF eth9", "eth9"],
  ];
  for (const [text, expected] of cases) {
    const reading = read(text);
    assert.equal(reading.config.PCAP_INTF, expected, JSON.stringify(text));
    assert.deepEqual(told(reading), []);
  }
});

Deno.test("errors name file, line, column, what is wrong and what would be right", () => {
  const cases: [text: string, expected: RegExp][] = [
    [
      "\n MAX_SPA_PACKET_AGE  60abc;",
      /^spa: f\.conf:2:22: cannot read "60abc": not a whole number\nhint: write a whole number from 1 to 100000$/,
    ],
    [
      "ENABLE_NFQ_CAPTURE Y\nNFQ_CHAIN FWKNOP NFQ",
      /^spa: f\.conf:2:11: cannot read "FWKNOP NFQ": Invalid NFQ_CHAIN\nhint: write a name/,
    ],
    [
      'ENABLE_NFQ_CAPTURE Y\nNFQ_TABLE mangle;x\nNFQ_INTERFACE a"b',
      /"a\\?"b": Invalid NFQ_INTERFACE/,
    ],
    ["NFQ_PORT 0\nENABLE_NFQ_CAPTURE Y", /hint: write a whole number from 1 to 65535/],
    [
      "PCAP_LOOP_SLEEP 0",
      /f\.conf:1:17: .*var PCAP_LOOP_SLEEP value '0' not in the range 1-8388608\n/,
    ],
    ["PCAP_DISPATCH_COUNT 9999999999", /var PCAP_DISPATCH_COUNT value '9999999999' not in the r/],
    ["TCPSERV_PORT 9999999999", /var TCPSERV_PORT value '9999999999' not in the range 1-65535/],
    ["UDPSERV_PORT 65536", /not in the range 1-65535/],
    ["MAX_SNIFF_BYTES 32769", /not in the range 1-32768/],
    ["RULES_CHECK_THRESHOLD -1", /not in the range 0-131071/],
    ["VERBOSE -1", /VERBOSE value '-1' not in the range \(>0\)/],
    [
      "ENABLE_UDP_SERVER 0",
      /f\.conf:1:19: cannot read "0": ENABLE_UDP_SERVER is neither.*\n.*Y or N/,
    ],
    ["FLUSH_IPT_AT_EXIT off", /cannot read "off"/],
    ["SYSLOG_FACILITY LOG_LOCAL8", /Invalid SYSLOG_FACILITY setting 'LOG_LOCAL8'\nhint: .*LOCAL7/],
    ["LOG_FORMAT xml", /Invalid LOG_FORMAT setting 'xml'\nhint: write text or json$/],
    ["FWKNOP_RUN_DIR rel/dir", /Path 'rel\/dir' is not absolute/],
    ["IPT_INPUT_ACCESS ACCEPT, filter", /Invalid IPT_INPUT_ACCESS specification/],
    [
      "IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 400000, X, 1",
      /invalid jump rule position in Line: ACCEPT, filter, INPUT, 400000, X, 1/,
    ],
    ["FWKNOP_PID_FILE $NOPE/a.pid", /f\.conf:1:17: Invalid embedded variable in: '\$NOPE\/a\.pid'/],
    ["FWKNOP_PID_FILE $FWKNOP_PID_FILE", /Invalid embedded variable/],
    ["PCAP_INTF", /f\.conf:1:1: Invalid config file entry in f\.conf at line 1: PCAP_INTF has no/],
    ["PCAP_INTF ;eth0", /Invalid config file entry/],
    [
      "FIREWALL_TYPE netfilter",
      /f\.conf:1:15: .*Invalid FIREWALL_TYPE setting 'netfilter'\nhint: .*firewalld.* or command/,
    ],
    [
      "FIREWALL_TYPE ipfw\nIPFW_ACTIVE_SET_NUM 0",
      /:2:1: .* 0 is the set of all rules that name none/,
    ],
    [
      "NFT_ATTACH filter input",
      /f\.conf:1:12: .*Invalid family.*'filter'\nhint: .*inet filter input/,
    ],
    ["NFT_ATTACH inet filter in{put", /Invalid chain in NFT_ATTACH/],
    ["NFT_ATTACH inet filter input drop", /Invalid chain in NFT_ATTACH/],
    ["NFT_ATTACH inet filter input,", /Invalid family in NFT_ATTACH/],
    ["NFT_MARK 0", /Invalid NFT_MARK/],
    ["NFT_MARK 0x100000000", /Invalid NFT_MARK/],
    ["ENABLE_DEFAULT_DROP Y", /needs the ports to hide\nhint: .*tcp\/22/],
    ["ENABLE_DEFAULT_DROP tcp/22-25", /a range of ports is not supported/],
    [
      "FIREWALL_TYPE nftables\nNFT_MARK 1\nNFT_ATTACH inet f i",
      /f\.conf:.*NFT_ATTACH and NFT_MARK cannot both be set/,
    ],
    ["PCAP_INTF = eth1", /f\.conf:1:11: cannot read "=".*\nhint: write PCAP_INTF eth1;/],
  ];
  for (const [text, expected] of cases) assert.match(finding(text, "error"), expected, text);
});

Deno.test("with ENABLE_STRICT_NUMBERS N numbers are what fwknopd reads, with a warning", () => {
  const cases: [text: string, seconds: number][] = [["60abc", 60], ["abc", 0], [" 7 ", 7]];
  for (const [text, seconds] of cases) {
    const { config, problems } = read(`CMD_EXEC_TIMEOUT ${text}\nENABLE_STRICT_NUMBERS N\n`);
    assert.equal(config.CMD_EXEC_TIMEOUT, seconds, text);
    const told = problems.map(formatProblem);
    if (text.trim() === "7") assert.deepEqual(told, []);
    else assert.match(told.join(), /^spa: f\.conf:1:18: warning: CMD_EXEC_TIMEOUT .* is read as/);
  }
  const { problems } = read("MAX_SPA_PACKET_AGE abc\nENABLE_STRICT_NUMBERS N\n");
  assert.match(problems.map(formatProblem).join("\n"), /not in the range 1-100000/);
});

Deno.test("what has no effect is a warning that names it", () => {
  const cases: [text: string, expected: RegExp][] = [
    ["FOO 1", /f\.conf:1:1: warning: Ignoring unknown configuration parameter: 'FOO' in f\.conf/],
    ["pcap_intf eth0", /'pcap_intf'.*\nhint: did you mean PCAP_INTF\?/],
    ["PCAP_INTFF eth0", /did you mean PCAP_INTF\?/],
    ["OPEN_PORTS tcp/22", /'OPEN_PORTS'.*\nhint: OPEN_PORTS belongs in access\.conf/],
    ["MIN_SPA_PKT_LEN 160", /unknown.*\nhint: the shortest packet is fixed/],
    ["PCAP_INTF: eth0;", /'PCAP_INTF:' is read as PCAP_INTF/],
    ["nonsense", /warning: Invalid config file entry in f\.conf at line 1: not NAME VALUE/],
    ["PF_ANCHOR_NAME x", /f\.conf:1:1: warning: PF_ANCHOR_NAME .* without FIREWALL_TYPE pf/],
    ["FIREWD_DNAT_ACCESS DNAT,nat,X,1,Y,1", /has no effect without FIREWALL_TYPE firewalld/],
    ["FIREWALL_TYPE pf\nIPFW_MAX_RULES 9", /IPFW_MAX_RULES .* without FIREWALL_TYPE ipfw/],
    ["FIREWALL_TYPE command\nENABLE_IPT_SNAT Y", /ENABLE_IPT_SNAT .* FIREWALL_TYPE iptables/],
    [
      "FIREWALL_TYPE firewalld\nFIREWD_ZONE public\nENABLE_FIREWD_DIRECT Y",
      /f\.conf:2:1: warning: FIREWD_ZONE has no effect with direct rules/,
    ],
    [
      "FIREWALL_TYPE firewalld\nENABLE_FIREWD_SNAT Y\nENABLE_FIREWD_DIRECT N",
      /f\.conf:2:1: warning: ENABLE_FIREWD_SNAT has no effect with ENABLE_FIREWD_DIRECT N/,
    ],
    ["FAULT_INJECTION_TAG x", /FAULT_INJECTION_TAG has no effect, here as in fwknopd/],
    [
      "ENABLE_TCP_SERVER Y\nENABLE_UDP_SERVER Y",
      /f\.conf:1:1: warning: ENABLE_TCP_SERVER has no effect with ENABLE_UDP_SERVER/,
    ],
    [
      "ENABLE_NFQ_CAPTURE Y\nENABLE_UDP_SERVER Y",
      /f\.conf:2:1: warning: ENABLE_UDP_SERVER has no effect with ENABLE_NFQ_CAPTURE/,
    ],
    ["CONFIG_FILE x", /CONFIG_FILE has no effect in a file/],
    ["NFT_ATTACH inet filter input", /NFT_ATTACH has no effect without FIREWALL_TYPE nftables/],
    [
      "FIREWALL_TYPE nftables\nENABLE_STRICT_SNAT N",
      /f\.conf:2:1: warning: ENABLE_STRICT_SNAT has no effect with FIREWALL_TYPE nftables/,
    ],
    ["DIGEST_FILE x$FWKNOP_RUN_DIR/b", /f\.conf:1:14: warning: '\$' is a plain character/],
  ];
  for (const [text, expected] of cases) assert.match(finding(text, "warning"), expected, text);
});

Deno.test("FIREWALL_TYPE is what is set, else what FIREWALL_EXE names, else iptables", () => {
  const cases: [text: string, expected: string][] = [
    ["", "iptables"],
    ["FIREWALL_TYPE NFTables", "nftables"],
    ["FIREWALL_TYPE auto", "auto"],
    ["FIREWALL_TYPE auto\nFLUSH_IPT_AT_EXIT N", "auto"],
    ["FIREWALL_TYPE auto\nFIREWALL_EXE /usr/sbin/iptables", "iptables"],
    ["FIREWALL_TYPE auto\nFIREWALL_EXE /usr/bin/firewall-cmd", "firewalld"],
    ["FIREWALL_TYPE auto\nENABLE_IPT_SNAT Y", "iptables"],
    ["FIREWALL_TYPE auto\nIPT_INPUT_ACCESS ACCEPT,filter,INPUT,1,X,1", "iptables"],
    ["FIREWALL_TYPE auto\nFLUSH_FIREWD_AT_EXIT N", "firewalld"],
    ["FIREWALL_TYPE auto\nIPFW_ACTIVE_SET_NUM 3", "ipfw"],
    ["FIREWALL_TYPE auto\nPF_ANCHOR_NAME door", "pf"],
    ["FIREWALL_TYPE nftables\nFIREWALL_EXE /usr/sbin/iptables", "nftables"],
    ["FIREWALL_TYPE iptables\nFIREWALL_EXE /sbin/ipfw", "iptables"],
    ["FIREWALL_EXE /usr/local/bin/my-iptables", "iptables"],
    ["FIREWALL_EXE /usr/bin/firewall-cmd", "firewalld"],
    ["FIREWALL_EXE /sbin/ipfw", "ipfw"],
    ["FIREWALL_EXE /sbin/pfctl", "pf"],
    ["PF_ANCHOR_NAME door", "iptables"],
    ["FIREWALL_TYPE Command", "command"],
  ];
  for (const [text, type] of cases) assert.equal(read(text).config.FIREWALL_TYPE, type, text);
});

Deno.test("each firewall has its program unless FIREWALL_EXE names another", () => {
  const cases: [text: string, expected: string][] = [
    ["", "/usr/sbin/iptables"],
    ["FIREWALL_TYPE firewalld", "/usr/bin/firewall-cmd"],
    ["FIREWALL_TYPE ipfw", "/sbin/ipfw"],
    ["FIREWALL_TYPE pf", "/sbin/pfctl"],
    ["FIREWALL_TYPE pf\nFIREWALL_EXE /usr/local/bin/on-router", "/usr/local/bin/on-router"],
  ];
  for (const [text, program] of cases) {
    const { config, texts } = read(text);
    assert.equal(config.FIREWALL_EXE, program, text);
    assert.equal(texts.get("FIREWALL_EXE"), program, text);
  }
});

Deno.test("what only direct rules can do makes them the way to use firewalld", () => {
  const cases: [text: string, direct: boolean][] = [
    ["", false],
    ["FLUSH_FIREWD_AT_EXIT N", false],
    ["ENABLE_FIREWD_FORWARDING N", false],
    ["ENABLE_FIREWD_FORWARDING Y", true],
    ["FIREWD_INPUT_ACCESS ACCEPT, filter, INPUT, 1, DOOR, 1", true],
    ["ENABLE_FIREWD_DIRECT Y", true],
    ["ENABLE_FIREWD_DIRECT N\nENABLE_FIREWD_OUTPUT Y", false],
  ];
  for (const [text, direct] of cases) {
    const { config } = read(`FIREWALL_TYPE firewalld\n${text}`);
    assert.equal(config.ENABLE_FIREWD_DIRECT, direct, text);
  }
});

Deno.test("firewalld's variables do what those of iptables do, and leave iptables alone", () => {
  const settings = "ENABLE_FIREWD_SNAT Y\nFLUSH_FIREWD_AT_EXIT N\n" +
    "FIREWD_INPUT_ACCESS ACCEPT, filter, INPUT, 1, DOOR, 1\n";
  const ours = read(`FIREWALL_TYPE firewalld\n${settings}`).config;
  assert.equal(ours.ENABLE_IPT_SNAT, true);
  assert.equal(ours.FLUSH_IPT_AT_EXIT, false);
  assert.equal(ours.IPT_INPUT_ACCESS.to, "DOOR");
  const others = read(settings).config;
  assert.equal(others.ENABLE_IPT_SNAT, false);
  assert.equal(others.FLUSH_IPT_AT_EXIT, true);
  assert.equal(others.IPT_INPUT_ACCESS.to, "FWKNOP_INPUT");
});

Deno.test("the places for grants of nftables are read", () => {
  const { config } = read(
    "NFT_ATTACH  ip6 my-table in.1,inet filter  forward\nNFT_MARK 0x5BA\nENABLE_DEFAULT_DROP tcp/22, udp/1194",
  );
  assert.deepEqual(config.NFT_ATTACH, [
    { family: "ip6", table: "my-table", chain: "in.1" },
    { family: "inet", table: "filter", chain: "forward" },
  ]);
  assert.equal(config.NFT_MARK, 0x5ba);
  assert.deepEqual(config.ENABLE_DEFAULT_DROP, [
    { protocol: "tcp", port: 22 },
    { protocol: "udp", port: 1194 },
  ]);
});

Deno.test("a setting equal to its default is no reason to warn", () => {
  for (
    const text of [
      "ENABLE_SPA_OVER_HTTP no",
      "ENABLE_NAT_DNS yes",
      "TCPSERV_PORT 062201",
      "IPT_SNAT_ACCESS SNAT,nat,POSTROUTING,1,FWKNOP_POSTROUTING,1",
      "GPG_EXE /usr/bin/gpg",
    ]
  ) assert.deepEqual(told(read(text)), [], text);
});

Deno.test("with ENABLE_DOCKER ports can be hidden wherever grants of nftables go", () => {
  const hiding = "FIREWALL_TYPE nftables\nENABLE_DEFAULT_DROP tcp/8080\nNFT_ATTACH inet f i";
  assert.match(told(read(hiding)).join(), /NFT_ATTACH and ENABLE_DEFAULT_DROP cannot both be set/);
  assert.deepEqual(told(read(`${hiding}\nENABLE_DOCKER Y`)), []);
  const two = told(read(`${hiding}\nENABLE_DOCKER Y\nNFT_MARK 1`));
  assert.match(two.join(), /NFT_ATTACH and NFT_MARK cannot both be set/);
});

Deno.test("settings that only tune polling are mentioned only on request", () => {
  assert.deepEqual(told(read("PCAP_LOOP_SLEEP 1000\nLOCALE C")), []);
  const verbose = told(read("PCAP_LOOP_SLEEP 1000\nLOCALE C", { verbose: true }));
  assert.equal(verbose.length, 2);
  assert.match(verbose[0] ?? "", /PCAP_LOOP_SLEEP has no effect: nothing here needs it/);
});

Deno.test("a dollar name at the start of a value stands for that variable's value", () => {
  const cases: [text: string, digest: string][] = [
    ["FWKNOP_RUN_DIR /a\nDIGEST_FILE $FWKNOP_RUN_DIR/d", "/a/d"],
    ["FWKNOP_RUN_DIR /a\nDIGEST_FILE $FWKNOP_RUN_DIRx y z", "/ax y z"],
    ["FWKNOP_RUN_DIR /a\nFWKNOP_PID_FILE $FWKNOP_RUN_DIR/p\nDIGEST_FILE $FWKNOP_RUN_DIR", "/a"],
    ["FWKNOP_RUN_DIR /a\nDIGEST_FILE $FWKNOP_RUN_DIR/d\nFWKNOP_RUN_DIR /b", "/a/d"],
    ["DIGEST_FILE $FWKNOP_RUN_DIR/d\nFWKNOP_RUN_DIR /b", "/b/d"],
    ["DIGEST_FILE $FWKNOP_RUN_DIR/d", "/run/fwknop/d"],
    ["FWKNOP_PID_FILE /p\nDIGEST_FILE $FWKNOP_PID_FILE.d", "/p.d"],
    ["DIGEST_FILE $FWKNOP_PID_FILE.d", "/run/fwknop/fwknopd.pid.d"],
    [
      "FWKNOP_RUN_DIR /a\nFWKNOP_PID_FILE $FWKNOP_RUN_DIR/p\nDIGEST_FILE $FWKNOP_PID_FILE.d",
      "/a/p.d",
    ],
  ];
  for (const [text, digest] of cases) {
    const reading = read(text);
    assert.deepEqual(told(reading), [], text);
    assert.equal(reading.config.DIGEST_FILE, digest, text);
  }
});

Deno.test("the command line beats files, and defaults derive from what is set", () => {
  const { config, settings } = read("PCAP_INTF eth1\nFWKNOP_RUN_DIR /a", {
    commandLine: { PCAP_INTF: "eth2", FWKNOP_RUN_DIR: "/b", PCAP_FILTER: "" },
  });
  assert.equal(config.PCAP_INTF, "eth2");
  assert.equal(config.PCAP_FILTER, "");
  assert.equal(config.DIGEST_FILE, "/b/digest.cache");
  assert.equal(settings.get("PCAP_INTF")?.place.file, "command line");
  const error = finding("", "error", { commandLine: { FWKNOP_RUN_DIR: "b" } });
  assert.match(error, /^spa: command line: cannot read "b": Path 'b' is not absolute/);
});

Deno.test("a default can be replaced by the caller", () => {
  const { config, settings } = read("", { defaults: { FWKNOP_RUN_DIR: "/x", PCAP_INTF: "any" } });
  assert.deepEqual([config.FWKNOP_PID_FILE, config.PCAP_INTF], ["/x/fwknopd.pid", "any"]);
  assert.equal(settings.has("PCAP_INTF"), false);
});

Deno.test("packet ageing is off by default for a capture file, and on if a file says so", () => {
  assert.equal(read("PCAP_FILE a.pcap").config.ENABLE_SPA_PACKET_AGING, false);
  const both = read("PCAP_FILE a.pcap\nENABLE_SPA_PACKET_AGING Y");
  assert.equal(both.config.ENABLE_SPA_PACKET_AGING, true);
});

Deno.test("override files are read after the main file, in order, later settings winning", () => {
  const files = {
    main: "PCAP_INTF eth1\nOVERRIDE_CONFIG one, two\nMAX_SNIFF_BYTES 100\nFWKNOP_RUN_DIR /a",
    one: "PCAP_INTF eth2\nUDPSERV_PORT 1",
    two: "UDPSERV_PORT 2\nDIGEST_FILE $FWKNOP_RUN_DIR/d\nOVERRIDE_CONFIG three",
    other: "PCAP_INTF eth9",
  };
  const source = { path: "main", readText: readerOf(files) };
  const { config, settings, problems } = parseServerConfig(source);
  assert.deepEqual(
    [config.PCAP_INTF, config.UDPSERV_PORT, config.MAX_SNIFF_BYTES, config.DIGEST_FILE],
    ["eth2", 2, 100, "/a/d"],
  );
  assert.deepEqual(settings.get("UDPSERV_PORT")?.place, { file: "two", line: 1, column: 1 });
  assert.match(
    problems.map(formatProblem).join(),
    /^spa: two:3:1: warning: OVERRIDE_CONFIG has no/,
  );

  const named = parseServerConfig({ ...source, commandLine: { OVERRIDE_CONFIG: "other" } });
  assert.deepEqual([named.config.PCAP_INTF, named.config.UDPSERV_PORT], ["eth9", 62201]);
});

Deno.test("a file that cannot be read is an error where it is named", () => {
  const missing = parseServerConfig({ path: "main", readText: readerOf({}) });
  assert.deepEqual(told(missing), [
    "spa: main: Could not open config file: main: No such file or directory",
  ]);
  assert.match(
    finding("OVERRIDE_CONFIG gone", "error"),
    /^spa: f\.conf:1:17: Could not open config file: gone: No such/,
  );
});

Deno.test("findings come in the order of files and lines", () => {
  const text = "FOO 1\nIPT_INPUT_ACCESS x\nIPFW_MAX_RULES 9\nPCAP_LOOP_SLEEP 0";
  assert.deepEqual(read(text).problems.map((problem) => problem.line), [1, 2, 3, 4]);
});

Deno.test("the address for SNAT is checked only when SNAT is on", () => {
  assert.equal(hasErrors(read("SNAT_TRANSLATE_IP __CHANGEME__").problems), false);
  const reading = read("ENABLE_IPT_SNAT Y\nSNAT_TRANSLATE_IP __CHANGEME__");
  const error = reading.problems.find((problem) => problem.severity === "error");
  assert.equal(error?.line, 2);
  assert.match(error?.message ?? "", /Invalid IPv4 or IPv6 addr for SNAT_TRANSLATE_IP/);
});

Deno.test("SNAT_TRANSLATE_IP is an address, or one of each version where IPv6 is translated", () => {
  const only4 = "ENABLE_IP6TABLES N\n";
  const cases: [config: string, address: string, fits: boolean][] = [
    ["", "192.0.2.1", true],
    ["", "2001:db8::1", true],
    ["", "192.0.2.1,2001:db8::1", true],
    ["", "2001:db8::1, 192.0.2.1", true],
    ["", "192.0.2.1, 192.0.2.2", false],
    ["", "192.0.2.1,", false],
    ["", "192.0.2.1 2001:db8::1", false],
    ["", "192.0.2.0/24", false],
    [only4, "192.0.2.1", true],
    [only4, "2001:db8::1", false],
    [only4, "192.0.2.1,2001:db8::1", false],
    [`${only4}FIREWALL_TYPE nftables\n`, "192.0.2.1,2001:db8::1", true],
  ];
  for (const [config, address, fits] of cases) {
    const { problems } = read(`${config}ENABLE_IPT_SNAT Y\nSNAT_TRANSLATE_IP ${address}`);
    assert.equal(hasErrors(problems), !fits, `${config}${address}`);
  }
});

Deno.test("equal ipfw sets are refused", () => {
  const problems = read("IPFW_ACTIVE_SET_NUM 2").problems;
  assert.match(
    problems.map(formatProblem).join("\n"),
    /f\.conf:1:21: cannot read "2": Cannot set identical ipfw active and expire sets/,
  );
});

Deno.test("formatConfigDump() numbers fwknopd's variables as fwknopd 2.6.10 does", () => {
  const lines = formatConfigDump(read("PCAP_FILTER udp port 1234\nENABLE_PCAP_PROMISC yes"))
    .split("\n");
  assert.equal(lines[0], "Current fwknopd config settings:");
  for (
    const line of [
      "  0. CONFIG_FILE                  =  'f.conf'",
      "  3. PCAP_FILE                    =  '<not set>'",
      "  4. ENABLE_PCAP_PROMISC          =  'yes'",
      "  5. PCAP_FILTER                  =  'udp port 1234'",
      " 48. DIGEST_FILE                  =  '/run/fwknop/digest.cache'",
      " 54. FAULT_INJECTION_TAG          =  '<not set>'",
    ]
  ) assert.ok(lines.includes(line), line);
  assert.deepEqual(lines.slice(-2), ["", ""]);
});

Deno.test("no text makes parseServerConfig() throw", () => {
  const word = fc.constantFrom(...serverVariableNames(), "FOO", "$FWKNOP_RUN_DIR", "$", ";", "#");
  const separator = fc.constantFrom(" ", "\n", ": ", "\t", "\u0000", "\r\n", " 1\n", ",");
  const text = fc.array(fc.tuple(word, separator), { maxLength: 20 });
  fc.assert(fc.property(fc.oneof(fc.string(), text.map((parts) => parts.flat().join(""))), (t) => {
    for (const problem of read(t).problems) assert.ok(formatProblem(problem).startsWith("spa: "));
  }));
});
