// Fuzz targets of the configuration files, and of command lines.

import { parseOptions } from "../../lib/cmd_getopt.ts";
import { KNOCK_OPTIONS } from "../../lib/cmd_knock_options.ts";
import { SERVE_OPTIONS } from "../../lib/cmd_serve_options.ts";
import { parseAccessConfig } from "../../lib/conf_access.ts";
import { formatAccessDump } from "../../lib/conf_access_dump.ts";
import { ACCESS_VARIABLES, accessVariableNames } from "../../lib/conf_access_variables.ts";
import { parseServerConfig, type ServerConfigReading } from "../../lib/conf_fwknopd.ts";
import { formatConfigDump } from "../../lib/conf_fwknopd_dump.ts";
import { serverVariableNames } from "../../lib/conf_fwknopd_variables.ts";
import { listStanzas, readFwknoprc } from "../../lib/conf_fwknoprc.ts";
import { changeStanza, readStanzaValues } from "../../lib/conf_fwknoprc_save.ts";
import { RC_VARIABLES } from "../../lib/conf_fwknoprc_variables.ts";
import { formatProblem, hasErrors, type Problem } from "../../lib/conf_problem.ts";
import type { FileText } from "../../lib/conf_text.ts";
import { bytesOf, choiceOf, type FuzzTarget, pick, rule, textOf, withChoice } from "./target.ts";

/** Stands for a key; it must not be shown wherever a key may stand. */
const SECRET = "tOpSeCrEt0123456789ab";

/** Every finding is one line of harmless text at a place that exists, or at none. */
function checkProblems(problems: readonly Problem[], text: string): void {
  const lines = text.split("\n").length;
  for (const problem of problems) {
    const shown = formatProblem(problem);
    rule(!/[\p{Cc}\p{Cf}]/u.test(shown.replace("\nhint: ", " ")), "a message of several lines");
    rule(problem.line >= 0 && problem.line <= lines, "a finding at a line that is not there");
    rule(shown.length < 1000 + 4 * text.length, "a message much longer than the file");
  }
}

/** Whether the secret stands nowhere but behind the name of a variable that holds one. */
function secretIsKey(text: string, secretNames: readonly string[]): boolean {
  const names = secretNames.join("|");
  const place = new RegExp(
    `^\\s*(?:(?:${names}):?|(?:option|list)\\s+(['"]?)(?:${names})\\1)\\s+[^;\\n]*$`,
  );
  return text.split("\n").every((line) => {
    const at = line.indexOf(SECRET);
    return at < 0 || place.test(line.slice(0, at));
  });
}

const SERVER_SEEDS = [
  "PCAP_INTF eth0;\nENABLE_IPT_FORWARDING Y;\nFLUSH_IPT_AT_INIT Y;\nMAX_SPA_PACKET_AGE 60;\n",
  "# comment\nFWKNOP_RUN_DIR /run/fwknop;\nFWKNOP_PID_FILE $FWKNOP_RUN_DIR/fwknopd.pid;\n",
  "IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1;\nSNAT_TRANSLATE_IP 192.0.2.1\n",
  "FIREWALL_TYPE nftables\nNFT_ATTACH inet filter input\nENABLE_DEFAULT_DROP tcp/22, udp/53\n",
  "OVERRIDE_CONFIG other.conf, more.conf\nENABLE_UDP_SERVER Y\nUDPSERV_PORT 62201\n",
  "config global\n\toption uci_enabled '1'\n\nconfig config 'x'\n\toption PCAP_INTF \"eth0\"\n" +
  "\tlist IPT_INPUT_ACCESS 'ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1'\n# comment\n",
];

/** Of OpenWrt's format. */
const UCI_WORDS = [
  "\nconfig access\n",
  "\nconfig config\n",
  "\noption ",
  "\nlist ",
  "'",
  '"',
  "\\",
];

const serverConfig: FuzzTarget = {
  name: "fwknopd.conf",
  rule: "any text gives a configuration and findings; written out again, it means the same",
  seeds: () => SERVER_SEEDS.map(bytesOf),
  words: [
    ...UCI_WORDS,
    ...serverVariableNames(),
    " Y;\n",
    " N\n",
    "$",
    "%",
    ";",
    "#",
    "\r\n",
    "65536",
    "-1",
    ",",
  ],
  check(input) {
    const text = textOf(input);
    const { config, texts, problems, settings } = readServerConfig(text);
    checkProblems(problems, text);
    formatConfigDump({ texts });
    if (hasErrors(problems)) return;
    const plain = [...settings].filter(([name]) => name !== "CONFIG_FILE");
    if (plain.some(([, { value }]) => /[$;\r]/.test(value))) return;
    const again = readServerConfig(
      plain.map(([name, { value }]) => `${name} ${value};\n`).join(""),
    );
    // A UCI file is the access file, too, unless it names another.
    const [one, other] = [config, again.config].map((one) =>
      JSON.stringify({ ...one, ACCESS_FILE: null })
    );
    rule(one === other, "another configuration");
  },
};

function readServerConfig(text: string): ServerConfigReading {
  const readText = (path: string): FileText =>
    path === "fwknopd.conf" ? { ok: true, text } : { ok: false, reason: "No such file" };
  return parseServerConfig({ path: "fwknopd.conf", readText });
}

const ACCESS_SEEDS = [
  `SOURCE ANY\nKEY ${SECRET}\nHMAC_KEY ${SECRET}x\nOPEN_PORTS tcp/22, udp/53\n`,
  `SOURCE: 192.0.2.0/24, 2001:db8::/32;\nKEY_BASE64: ${SECRET}ab==;\nHMAC_KEY_BASE64 YWJjZA==\n` +
  "FW_ACCESS_TIMEOUT 30\nMAX_FW_TIMEOUT 300\nREQUIRE_USERNAME alice\nREQUIRE_SOURCE_ADDRESS Y\n",
  `SOURCE ANY\nKEY ${SECRET}\nENABLE_CMD_EXEC Y\nCMD_EXEC_USER nobody\nFORCE_NAT 192.0.2.7 22\n`,
  `SOURCE ANY\nKEY ${SECRET}\nCMD_CYCLE_OPEN /bin/echo $IP $PORT $PROTO\nCMD_CYCLE_CLOSE NONE\n` +
  "ACCESS_EXPIRE 12/31/2030\nHMAC_DIGEST_TYPE sha512\nENCRYPTION_MODE legacy\n",
  `SOURCE ANY\nGPG_HOME_DIR /root/.gnupg\nGPG_DECRYPT_ID 0123ABCD\nGPG_DECRYPT_PW ${SECRET}\n` +
  "GPG_REQUIRE_SIG Y\nGPG_REMOTE_ID DEADBEEF\nGPG_FINGERPRINT_ID 0123456789\n",
  "%include access.conf\n%include_folder folder\nSOURCE ANY\n%include_keys keys\n",
];

const accessConfig: FuzzTarget = {
  name: "access.conf",
  rule: "any text gives stanzas and findings, and no finding shows a key",
  seeds: () => ACCESS_SEEDS.map(bytesOf),
  words: [
    ...UCI_WORDS,
    ...accessVariableNames(),
    "%include access.conf\n",
    "%include_keys keys\n",
    "%include_folder folder\n",
    SECRET,
    "\nSOURCE ANY\n",
    " Y;\n",
    ";",
    ":",
    "=",
    "#",
    "\r\n",
    "$IP",
    "/bin/sh",
    '"',
  ],
  check(input) {
    const text = textOf(input);
    const readText = (path: string): FileText =>
      path === "access.conf" || path === "keys" || path === "folder/one.conf"
        ? { ok: true, text }
        : { ok: false, reason: "No such file" };
    const { config } = readServerConfig("ENABLE_IPT_FORWARDING Y;");
    const { stanzas, problems } = parseAccessConfig({
      path: "access.conf",
      config,
      readText,
      listDirectory: (path) =>
        path === "folder" ? { ok: true, names: ["one.conf"] } : { ok: false, reason: "none" },
      lookups: {
        user: (name) => name === "nobody" ? { uid: 65534, gid: 65534 } : null,
        group: (name) => name === "nogroup" ? { gid: 65534 } : null,
        isDirectory: (path) => path.startsWith("/"),
        isProgram: (path) => path.startsWith("/bin/"),
      },
    });
    checkProblems(problems, text);
    const dump = formatAccessDump(stanzas);
    const secretNames = accessVariableNames().filter((name) => ACCESS_VARIABLES[name].secret);
    if (secretIsKey(text, secretNames)) {
      rule(!problems.map(formatProblem).join().includes(SECRET), "a finding shows a key");
      rule(!dump.includes(SECRET), "the dump shows a key");
    }
    for (const stanza of stanzas) {
      const { KEY, HMAC_KEY, GPG_DECRYPT_PW } = stanza;
      rule(KEY !== null || GPG_DECRYPT_PW !== null, "a stanza that anything opens");
      rule(KEY === null || KEY.length > 0, "an empty key");
      rule(HMAC_KEY === null || HMAC_KEY.length > 0, "an empty HMAC key");
      rule(stanza.FW_ACCESS_TIMEOUT >= 0 && stanza.MAX_FW_TIMEOUT >= 0, "a time below zero");
    }
  },
};

const RC_SEEDS = [
  `[default]\nSPA_SERVER_PROTO udp\n\n[gate]\nSPA_SERVER gw.example.org\nKEY ${SECRET}\n` +
  "ACCESS tcp/22\n# a comment\n\n[other]\nALLOW_IP resolve\nHMAC_KEY_BASE64 YWJjZA==\n",
  `[gate]\r\nUSE_HMAC Y\r\nHMAC_KEY ${SECRET}\r\nFW_TIMEOUT 30\r\n`,
  `[GATE] trailing\nNAT_ACCESS 192.0.2.1,22\nGPG_SIGNING_PW ${SECRET}\n[gate]\nVERBOSE 1\n`,
];
const RC_STANZAS = [null, "gate", "other", "none", "default"];

const fwknoprc: FuzzTarget = {
  name: ".fwknoprc",
  rule: "any text gives settings and findings without keys; writing one stanza keeps all others",
  seeds: () => RC_SEEDS.map((text, index) => withChoice(index, bytesOf(text))),
  words: [
    ...RC_VARIABLES.map(({ name }) => name),
    "[gate]",
    "[default]",
    "\n[",
    "]",
    SECRET,
    ";",
    "#",
    "\r\n",
    " ",
    ":",
  ],
  check(input) {
    const [choice, bytes] = choiceOf(input);
    const text = textOf(bytes);
    const { problems } = readFwknoprc(text, ".fwknoprc", pick(RC_STANZAS, choice));
    checkProblems(problems, text);
    const secretNames = RC_VARIABLES.filter(({ secret }) => secret).map(({ name }) => name);
    if (secretIsKey(text, secretNames)) {
      rule(!problems.map(formatProblem).join().includes(SECRET), "a finding shows a key");
    }
    const set = [{ name: "FW_TIMEOUT", value: "77" }, { name: "SPA_SERVER", value: "gw2" }];
    const changed = changeStanza(text, {
      stanza: "gate",
      set,
      remove: choice & 128 ? "all" : ["ACCESS"],
    });
    const written = readStanzaValues(changed, "gate");
    for (const { name, value } of set) {
      rule(written?.get(name) === value, `${name} does not read back as it was written`);
    }
    for (const stanza of [...listStanzas(text), "default"]) {
      if (stanza.toLowerCase() === "gate") continue;
      const [before, after] = [text, changed].map((file) =>
        JSON.stringify([...readStanzaValues(file, stanza) ?? []])
      );
      rule(before === after, `stanza ${stanza} changed`);
    }
  },
};

const getopt: FuzzTarget = {
  name: "command-line",
  rule: "every word of a command line becomes an option, a value, an operand or an error",
  seeds: () =>
    [
      "-A\ntcp/22\n-s\n--rc-file\nx\n-D\ngw\n--verbose",
      "-vvvA tcp/22\n--acc=tcp/22\n--\n-D",
      "--fw-timeout\n30\n--no-such\n-Z\nstanza",
    ].map((text, index) => withChoice(index, bytesOf(text))),
  words: [
    ...KNOCK_OPTIONS.map(({ long }) => `--${long}`),
    ...SERVE_OPTIONS.flatMap(({ short }) => short === undefined ? [] : [`-${short}`]),
    "\n--\n",
    "\n-",
    "=",
    "\n",
  ],
  check(input) {
    const [choice, bytes] = choiceOf(input);
    const args = textOf(bytes).split("\n");
    const table = choice & 1 ? KNOCK_OPTIONS : SERVE_OPTIONS;
    const posixlyCorrect = (choice & 2) > 0;
    const parsed = parseOptions(table, args, { posixlyCorrect });
    const { found, operands, behindDashes, errors } = parsed;
    for (const { name, value } of found) {
      const spec = table.find(({ long }) => long === name);
      rule(spec !== undefined, "an option that does not exist");
      rule((spec.argument === undefined) === (value === null), "a value where there is none");
    }
    const least = args.length - operands.length - behindDashes.length;
    rule(found.length * 2 + errors.length * 2 + 1 >= least, "words got lost");
    rule(operands.every((word) => args.includes(word)), "an operand that nobody typed");
    rule(
      behindDashes.every((word, index) => word === args.slice(-behindDashes.length)[index]),
      "--",
    );
  },
};

/** All of them. */
export function confTargets(): readonly FuzzTarget[] {
  return [serverConfig, accessConfig, fwknoprc, getopt];
}
