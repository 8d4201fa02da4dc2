// What programs that watch fwknopd look for in its output at the start: each pattern of fwknop's own
// test suite, with a configuration that makes the real fwknopd print it, found in `spa serve`'s too.

import { match, strictEqual } from "node:assert/strict";
import { hasProgram, type Lab, labMissing, openLab, spaCommand } from "../lab/lab.ts";

/** A configuration, and what is printed about it. `@` in texts stands for the case's directory. */
interface Case {
  readonly config?: string;
  readonly access?: string;
  /** Further files by name; a name ending in `/` is an empty directory. */
  readonly files?: Readonly<Record<string, string>>;
  /** Of all files; 0600 where it is not set. */
  readonly mode?: number;
  readonly options?: readonly string[];
  readonly status: 0 | 1;
  readonly shows: readonly RegExp[];
  /** Set where fwknopd 2.6.10 does not print it, or cannot be asked. */
  readonly onlyOurs?: true;
}

const SOUND = "SOURCE ANY\nKEY secret\nHMAC_KEY other\nREQUIRE_SOURCE_ADDRESS Y\n";
const CHECK = ["--exit-parse-config"];
const FORWARDING = "ENABLE_IPT_FORWARDING Y\nENABLE_IPT_SNAT Y\n";

/** A stanza with further lines that is refused. */
const badStanza = (lines: string, ...shows: RegExp[]): Case => ({
  access: `${SOUND}${lines}\n`,
  status: 1,
  shows,
});
const badSource = (source: string, ...shows: RegExp[]): Case => ({
  access: `SOURCE ${source}\nKEY secret\n`,
  status: 1,
  shows: [/Fatal\sinvalid/, ...shows],
});
const badConfig = (line: string, ...shows: RegExp[]): Case => ({
  config: `${line}\n`,
  status: 1,
  shows,
});
const oddStanza = (lines: string, ...shows: RegExp[]): Case => ({
  access: `${SOUND}${lines}\n`,
  status: 0,
  shows: [...shows, /Configs parsed/],
});
const badOptions = (options: readonly string[], ...shows: RegExp[]): Case => ({
  options,
  status: 1,
  shows,
});
const dump = (config: string, access: string, ...shows: RegExp[]): Case => ({
  config,
  access,
  options: ["-D"],
  status: 0,
  shows,
});

const CASES: Readonly<Record<string, Case>> = {
  "a sound configuration": { status: 0, shows: [/Configs parsed/] },

  "the default of SYSLOG_IDENTITY": dump("", SOUND, /SYSLOG_IDENTITY/),
  "ENABLE_PCAP_PROMISC Y": dump("ENABLE_PCAP_PROMISC Y", SOUND, /ENABLE_PCAP_PROMISC.*'Y'/),
  "ENABLE_PCAP_PROMISC N": dump("ENABLE_PCAP_PROMISC N", SOUND, /ENABLE_PCAP_PROMISC.*'N'/),
  "PCAP_FILTER": dump("PCAP_FILTER udp port 1234;", SOUND, /FILTER.*1234/),
  "FWKNOP_PID_FILE": dump("FWKNOP_PID_FILE @/test.pid", SOUND, /test\.pid/),
  "FORWARD_ALL without FORCE_NAT": dump(
    FORWARDING,
    `${SOUND}FORWARD_ALL Y\nFORCE_MASQUERADE Y\nDISABLE_DNAT Y\n`,
    /FORCE_NAT.*0\.0\.0\.0/,
  ),
  "stanzas of included files": {
    ...dump("", `${SOUND}%include @/more.conf\n${SOUND}`, /SOURCE.*2.*\s198\.51\.100\.0\/24/),
    files: { "more.conf": "SOURCE 198.51.100.0/24\nKEY another\n" },
  },

  "PCAP_DISPATCH_COUNT out of range": badConfig(
    "PCAP_DISPATCH_COUNT 9999999999",
    /var PCAP_DISPATCH_COUNT value/,
    /not in the range/,
  ),
  "TCPSERV_PORT out of range": badConfig("TCPSERV_PORT 9999999", /var TCPSERV_PORT .* not in the/),
  "VERBOSE out of range": badConfig("VERBOSE -1", /not\sin\sthe\srange/),
  "an unknown SYSLOG_FACILITY": badConfig(
    "SYSLOG_FACILITY LOG_LOCAL8",
    /Invalid SYSLOG_FACILITY/,
  ),
  "a chain of five fields": badConfig(
    "IPT_FORWARD_ACCESS ACCEPT, filter, FORWARD, 1, X",
    /Invalid IPT_FORWARD_ACCESS specification/,
    /ACCESS\sspecification/,
  ),
  "a jump position that is none": badConfig(
    "IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 400000, X, 1",
    /invalid jump rule position/,
  ),
  "a rule position that is none": badConfig(
    "IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, X, 400000",
    /invalid to_chain rule position/,
  ),
  "SNAT_TRANSLATE_IP that is no address": badConfig(
    `${FORWARDING}SNAT_TRANSLATE_IP 1.2.3.400`,
    /Invalid\sIPv4/,
  ),
  "a reference to no variable": {
    config: "FWKNOP_PID_FILE $FWKNOP_INVALID_VAR/test.pid\n",
    status: 1,
    shows: [/Invalid embedded/],
    // fwknopd goes on with the default.
    onlyOurs: true,
  },
  "a line without a value": {
    config: "   \nnonsense\n",
    status: 0,
    shows: [/Invalid\sconfig\sfile\sentry/, /Configs parsed/],
  },
  "a run directory that is not absolute": badOptions(
    [...CHECK, "-r", "non/full/path"],
    /is not absolute/,
  ),
  "a run directory that is not there": {
    options: ["--exit-parse-digest-cache", "-r", "@/one/two"],
    status: 0,
    shows: [/to\screate/, /Successfully created Run directory/, /Digest cache parsed/],
  },
  "a run directory that a check leaves alone": {
    options: [...CHECK, "-r", "@/one/two"],
    status: 0,
    shows: [/to\screate/],
  },
  "a run directory that is a file": {
    files: { "file": "" },
    options: [...CHECK, "-r", "@/file"],
    status: 1,
    shows: [/NOT a directory/],
  },
  "a locale that is not there": {
    options: [...CHECK, "-l", "somelocale"],
    status: 0,
    shows: [/Unable to set locale/],
  },
  "a directory of gpg that is not there": badOptions(
    [...CHECK, "--gpg-home-dir", "@/nonesuch"],
    /unable to l?stat/,
  ),
  "a capture file that is not there": badOptions(
    [...CHECK, "--pcap-file", "@/nonesuch"],
    /Invalid pcap file path/,
    /unable to l?stat/,
  ),
  "a sudo that is not there": badOptions([...CHECK, "--sudo-exe", "@/nonesuch"], /sudo path '/),
  "a file of stanzas that is not there": {
    ...badOptions([...CHECK, "-a", "@/nonesuch"], /Could not open access file/),
    // The words are those of 2.6.11.
    onlyOurs: true,
  },
  "a folder of stanzas that is not there": badOptions(
    [...CHECK, "--access-folder", "@/nonesuch"],
    /Invalid access folder directory/,
  ),
  "a folder of stanzas that is a device": badOptions(
    [...CHECK, "--access-folder", "/dev/null"],
    /Invalid access folder/,
  ),
  "a folder without stanzas": {
    files: { "folder/": "" },
    options: [...CHECK, "--access-folder", "@/folder"],
    status: 1,
    shows: [/could not find any/],
  },
  "an interface that is not there": badOptions(
    ["-f", "-i", "invalidintf"],
    /pcap_open_live.*error/,
  ),
  "a digest cache with a damaged line": {
    files: { "digest.cache": "# <digest>\nnonsense\n" },
    options: ["--exit-parse-digest-cache", "-d", "@/digest.cache", "-r", "@"],
    status: 0,
    shows: [/invalid\sdigest\sfile\sentry/, /Digest cache parsed/],
  },
  "files that others can read": {
    mode: 0o644,
    config: "ENABLE_STRICT_PERMISSIONS N\n",
    status: 0,
    shows: [/permissions\sshould\sonly\sbe\suser/, /Configs parsed/],
  },

  "no stanza": { access: "# nothing\n", status: 1, shows: [/Could not find valid SOURCE stanza/] },
  "settings without a SOURCE": {
    access: "KEY secret\n",
    status: 1,
    shows: [/not\sfind.*SOURCE/, /not\sfind\svalid\sSOURCE/],
  },
  "a stanza without keys": {
    access: "SOURCE 1.1.1.1\n",
    status: 1,
    shows: [/No keys found/, /No\skeys\sfound/],
  },
  "a variable without a value": {
    access: `${SOUND}OPEN_PORTS\n`,
    status: 1,
    shows: [/Invalid access file entry/, /Invalid\saccess\sfile\sentry/],
  },
  "a mask of letters": badSource("1.1.1.1/aaaaaaaaaaaaaaaaaaaaa", /Invalid\sIP\smask/),
  "a mask of 0": badSource("1.1.1.1/0", /Invalid IP mask/),
  "a mask that is out of range": badSource(
    "1.1.1.0/255.255.255.258",
    /error\sparsing.*IP/,
    /error parsing IP mask/,
  ),
  "a mask that is missing": badSource("1.1.1.1/", /Missing\smask/),
  "an address that is none": badSource("1.1.1.1.1", /Fatal\serror\sparsing\sIP\sto\sint/),
  "an address that is missing": {
    ...badSource("1.1.1.1,", /Error\sparsing.*IP/),
    // fwknopd prints it for an address of more than 31 characters.
    onlyOurs: true,
  },
  "an unset KEY": badStanza(
    "KEY __CHANGEME__",
    /KEY value is not properly/,
    /KEY\s.*not\sproperly/,
  ),
  "an unset KEY_BASE64": badStanza("KEY_BASE64 __CHANGEME__", /KEY_BASE64 value is not properly/),
  "an unset HMAC_KEY": badStanza("HMAC_KEY __CHANGEME__", /HMAC_KEY value is not properly/),
  "an unset HMAC_KEY_BASE64": badStanza(
    "HMAC_KEY_BASE64 __CHANGEME__",
    /HMAC_KEY_BASE64 value is not properly/,
  ),
  "an unset GPG_DECRYPT_PW": badStanza("GPG_DECRYPT_PW __CHANGEME__", /PW\s.*not\sproperly/),
  "an unset key in a file of keys": {
    access: "SOURCE ANY\n%include_keys @/keys\n",
    files: { keys: "KEY __CHANGEME__\n" },
    status: 1,
    shows: [/value is not properly/],
  },
  "a key that is not base64": badStanza("KEY_BASE64 %%%%%%%%%%%%%", /look\slike\sbase64/),
  "equal keys": badStanza(
    "HMAC_KEY secret",
    /encryption\spassphrase/,
    /should\snot\sbe\sidentical/,
  ),
  "an unknown HMAC_DIGEST_TYPE": badStanza("HMAC_DIGEST_TYPE invalid", /must\sbe\sone\sof/),
  "an unknown ENCRYPTION_MODE": badStanza("ENCRYPTION_MODE invalid", /Unrecognized.*MODE/),
  "FW_ACCESS_TIMEOUT out of range": badStanza("FW_ACCESS_TIMEOUT 8388609", /not\sin\srange/),
  "MAX_FW_TIMEOUT out of range": badStanza("MAX_FW_TIMEOUT -1", /not\sin\srange/),
  "MAX_FW_TIMEOUT below FW_ACCESS_TIMEOUT": oddStanza(
    "FW_ACCESS_TIMEOUT 30\nMAX_FW_TIMEOUT 10",
    /honoring\sMAX_FW_TIMEOUT/,
  ),
  "REQUIRE_SOURCE_ADDRESS N": {
    access: "SOURCE 192.168.10.1\nKEY secret\n",
    status: 0,
    shows: [/not\senabled\sfor\s.*\s'192.168.10.1'/],
  },
  "a long key in legacy mode": oddStanza(
    "KEY aaaaaaaaaaaaaaaaaaaaaaaa\nENCRYPTION_MODE legacy",
    /truncating\sencryption\skey/,
  ),
  "ACCESS_EXPIRE that is no day": badStanza("ACCESS_EXPIRE 3-10-01", /invalid\sdate\svalue/),
  "ACCESS_EXPIRE_EPOCH beyond all numbers": badStanza(
    "ACCESS_EXPIRE_EPOCH 999999999999999999999999999999999999",
    /invalid epoch seconds value/,
  ),
  "a port without a protocol": badStanza("OPEN_PORTS tcp", /Parse\serror/),
  "a port of another protocol": badStanza("OPEN_PORTS icmp/22", /Invalid\sproto/),
  "a user that does not exist": badStanza("CMD_EXEC_USER nosuchuser", /Unable.*UID/),
  "a group that does not exist": badStanza("CMD_EXEC_GROUP nosuchgroup", /Unable.*GID/),
  "CMD_EXEC_USER without a group": oddStanza("CMD_EXEC_USER daemon", /Setting gid/),
  "CMD_CYCLE_OPEN alone": badStanza("CMD_CYCLE_OPEN a", /also setting CMD_CYCLE_CLOSE/),
  "CMD_CYCLE_CLOSE alone": badStanza("CMD_CYCLE_CLOSE a", /also setting CMD_CYCLE_OPEN/),
  "a cycle without a time": badStanza(
    "CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE b",
    /Must set.*CMD_CYCLE_TIMER/,
  ),
  "a CMD_CYCLE_TIMER out of range": badStanza(
    "CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE b\nCMD_CYCLE_TIMER 9999999",
    /CMD_CYCLE_TIMER.*not in range/,
  ),
  "a long CMD_CYCLE_OPEN": badStanza(
    `CMD_CYCLE_OPEN ${"a".repeat(256)}\nCMD_CYCLE_CLOSE b\nCMD_CYCLE_TIMER 2`,
    /CMD_CYCLE_OPEN.*too long/,
  ),
  "a long CMD_CYCLE_CLOSE": badStanza(
    `CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE ${"b".repeat(256)}\nCMD_CYCLE_TIMER 2`,
    /CMD_CYCLE_CLOSE.*too long/,
  ),
  "GPG without a list of signers": badStanza("GPG_ALLOW_NO_PW Y", /Must have either sig/),
  "GPG signatures both ways": oddStanza(
    "GPG_ALLOW_NO_PW Y\nGPG_HOME_DIR @\nGPG_REQUIRE_SIG Y\nGPG_DISABLE_SIG Y",
    /GPG_REQUIRE_SIG and GPG_DISABLE_SIG are both set/,
  ),
  "FORCE_NAT without forwarding": badStanza(
    "FORCE_NAT 1.2.3.4 22",
    /requires either ENABLE_IPT_FORWARDING/,
  ),
  "FORCE_SNAT without forwarding": badStanza(
    "FORWARD_ALL Y\nFORCE_SNAT 1.2.3.4",
    /FORCE_SNAT requires either/,
  ),
  "FORCE_NAT without a port": {
    ...badStanza("FORCE_NAT a a", /invalid FORCE_NAT arg/, /need.*IP.*PORT/),
    config: FORWARDING,
  },
  "FORCE_NAT with a port out of range": {
    ...badStanza("FORCE_NAT 1.2.3.4 99999", /invalid\sFORCE_NAT\sport/),
    config: FORWARDING,
  },
  "FORCE_NAT that is no address": {
    ...badStanza("FORCE_NAT 1.2.3.4.9 22", /invalid\sFORCE_NAT\sIP/),
    config: FORWARDING,
  },
  "FORCE_SNAT that is no address": {
    ...badStanza("FORWARD_ALL Y\nFORCE_SNAT 1.2.3.4.9", /invalid\sFORCE_SNAT\sIP/),
    config: FORWARDING,
  },
  "FORCE_SNAT that leads nowhere": {
    ...badStanza("FORCE_SNAT 1.2.3.4", /requires either FORCE_NAT or FORWARD_ALL/),
    config: FORWARDING,
  },
  "FORCE_MASQUERADE that leads nowhere": {
    ...badStanza("FORCE_MASQUERADE Y", /requires either FORCE_NAT or FORWARD_ALL/i),
    config: FORWARDING,
  },
  "includes four files deep": {
    access: `${SOUND}%include @/access.conf\n`,
    status: 1,
    shows: [/Refusing to go deeper than/],
  },
  "a file of keys with other settings": {
    access: "SOURCE ANY\n%include_keys @/keys\n",
    files: { keys: "SOURCE ANY\nINVALID_STATEMENT x\nKEY secret\n" },
    status: 0,
    shows: [/Ignoring invalid entry: 'SOURCE'/, /Ignoring invalid entry: 'INVALID_STATEMENT'/],
  },
  "an empty file of keys": {
    access: `${SOUND}SOURCE ANY\n%include_keys @/keys\n`,
    files: { keys: "" },
    status: 1,
    shows: [/skipping stanza/],
    // fwknopd drops the stanza, tells so at -v only, and goes on.
    onlyOurs: true,
  },

  "new keys": {
    options: ["--key-gen"],
    status: 0,
    shows: [/^KEY_BASE64:?\s\S{10}/m, /HMAC_KEY_BASE64:?\s\S{10}/],
  },
  "new keys in a file": {
    options: ["--key-gen-file", "@/new.keys"],
    status: 0,
    shows: [/Wrote.*\skeys/],
  },
  "new keys of no length": badOptions(["--key-gen", "--key-len", "0"], /Invalid\skey\slength/),
  "a new HMAC key of no length": badOptions(
    ["--key-gen", "--hmac-key-len", "0"],
    /Invalid\shmac\skey\slength/,
  ),
  "a new HMAC key for no digest": badOptions(
    ["--key-gen", "--hmac-digest-type", "md4"],
    /Invalid\shmac\sdigest\stype/,
  ),
};

const missing = labMissing();

Deno.test({
  name: `spa serve prints what programs look for in fwknopd's output at the start` +
    (missing === null ? "" : ` (${missing})`),
  ignore: missing !== null,
  fn: async (context) => {
    const real = hasProgram("fwknopd");
    const lab = await openLab();
    try {
      for (const [name, one] of Object.entries(CASES)) {
        await context.step(name, async () => {
          await check(lab, "spa serve", spaCommand("serve"), one);
          // Proves the case itself.
          if (real && !one.onlyOurs) await check(lab, "fwknopd", ["fwknopd"], one);
        });
      }
    } finally {
      await lab.close();
    }
  },
});

async function check(
  lab: Lab,
  name: string,
  program: readonly string[],
  one: Case,
): Promise<void> {
  const directory = await Deno.makeTempDir({ dir: lab.directory });
  const fill = (text: string): string => text.replaceAll("@", directory);
  const files = {
    "fwknopd.conf": one.config ?? "",
    "access.conf": one.access ?? SOUND,
    ...one.files,
  };
  for (const [file, text] of Object.entries(files)) {
    if (file.endsWith("/")) await Deno.mkdir(`${directory}/${file}`);
    else await Deno.writeTextFile(`${directory}/${file}`, fill(text), { mode: one.mode ?? 0o600 });
  }
  const named = ["-c", "@/fwknopd.conf", "-a", "@/access.conf", "-r", "@/run"];
  const options = [...named, ...one.options ?? CHECK].map(fill);
  const { status, stdout, stderr } = await lab.gateway.run([...program, ...options]);
  const output = `${stdout}${stderr}`;
  for (const pattern of one.shows) match(output, pattern, `${name}: ${pattern}\n${output}`);
  strictEqual(status, one.status, `${name}\n${output}`);
}
