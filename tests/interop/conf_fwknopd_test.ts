// fwknopd itself reads the files that our readers read: dumps and verdicts are compared.

import assert from "node:assert/strict";
import { parseAccessConfig } from "../../lib/conf_access.ts";
import { formatAccessDump } from "../../lib/conf_access_dump.ts";
import { parseServerConfig } from "../../lib/conf_fwknopd.ts";
import { formatConfigDump } from "../../lib/conf_fwknopd_dump.ts";
import { hasErrors } from "../../lib/conf_problem.ts";
import type { FileText } from "../../lib/conf_text.ts";

const FWKNOPD = "/usr/sbin/fwknopd";

function missing(): boolean {
  try {
    return !Deno.statSync(FWKNOPD).isFile;
  } catch {
    return true;
  }
}

/** Runs a test with an empty directory that is gone afterwards. */
async function withDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function readText(path: string): FileText {
  try {
    return { ok: true, text: Deno.readTextFileSync(path) };
  } catch (error) {
    return { ok: false, reason: String(error) };
  }
}

interface Verdict {
  readonly accepted: boolean;
  readonly dump: string;
}

interface Texts {
  readonly server?: string;
  readonly access?: string;
}

const SOUND = "SOURCE ANY\nKEY secret\nHMAC_KEY other\nREQUIRE_SOURCE_ADDRESS Y\n";

/** What fwknopd and we make of the same files. */
async function judge(directory: string, texts: Texts): Promise<[theirs: Verdict, ours: Verdict]> {
  const server = `${directory}/fwknopd.conf`;
  const access = `${directory}/access.conf`;
  await Deno.writeTextFile(server, texts.server ?? "", { mode: 0o600 });
  await Deno.writeTextFile(access, texts.access ?? SOUND, { mode: 0o600 });
  const run = `${directory}/run`;
  const { code, stdout } = await new Deno.Command(FWKNOPD, {
    // With -c alone fwknopd takes the same file as override too; said here, ours shows the same.
    args: ["-O", server, "-c", server, "-a", access, "-r", run, "-D", "-f"],
    env: { LC_ALL: "C" },
    signal: AbortSignal.timeout(10_000),
  }).output();
  const configuration = parseServerConfig({
    path: server,
    readText,
    commandLine: { OVERRIDE_CONFIG: server, ACCESS_FILE: access, FWKNOP_RUN_DIR: run },
  });
  const stanzas = parseAccessConfig({
    path: access,
    config: configuration.config,
    readText,
    listDirectory: (path) => ({ ok: true, names: [...Deno.readDirSync(path)].map((e) => e.name) }),
    lookups: {
      user: (name) => name === "nobody" ? { uid: 65534, gid: 65534 } : null,
      group: () => null,
      isDirectory: (path) => path === "/tmp",
      isProgram: (path) => path === "/usr/bin/gpg",
    },
  });
  const accepted = !hasErrors([...configuration.problems, ...stanzas.problems]);
  return [
    { accepted: code === 0, dump: new TextDecoder().decode(stdout) },
    { accepted, dump: formatConfigDump(configuration) + formatAccessDump(stanzas.stanzas) },
  ];
}

/** The lines of variables that fwknopd for iptables does not have. */
const OWN_LINES = /^ ?(?:5[5-9]|[6-9]\d|1\d\d)\. .*\n/gm;

Deno.test({
  name: "dumps are those of fwknopd (needs fwknopd)",
  ignore: missing(),
  fn: () =>
    withDirectory(async (directory) => {
      const cases: Texts[] = [
        {},
        {
          server: "PCAP_INTF eth9;\nPCAP_FILTER udp port 1234; comment\nFLUSH_IPT_AT_EXIT no\n" +
            "FWKNOP_RUN_DIR /tmp\nDIGEST_FILE $FWKNOP_RUN_DIR/d.cache\nSYSLOG_FACILITY log_local3\n" +
            "VERBOSE 0\nMAX_SPA_PACKET_AGE 60\nPCAP_FILE x.pcap\n",
        },
        {
          server: "ENABLE_IPT_FORWARDING yes\nENABLE_IPT_SNAT yes\n",
          access: `SOURCE: 10.0.0.0/8, 192.0.2.1;
KEY_BASE64: YWJjZGVm;
HMAC_KEY zzz
HMAC_DIGEST_TYPE SHA512
DESTINATION 198.51.100.0/255.255.255.0
OPEN_PORTS tcp/22, udp/53
RESTRICT_PORTS TCP/25,  udp/53
REQUIRE_SOURCE Y
REQUIRE_USERNAME bob
FW_ACCESS_TIMEOUT 0
MAX_FW_TIMEOUT 60
FORCE_NAT 192.0.2.7 22
FORCE_SNAT 192.0.2.9
ENABLE_CMD_EXEC Y
CMD_EXEC_USER nobody
CMD_CYCLE_OPEN /bin/open $IP
CMD_CYCLE_CLOSE /bin/close
CMD_CYCLE_TIMER 7
ACCESS_EXPIRE 1/2/2030
GPG_DECRYPT_PW abc
GPG_HOME_DIR /tmp
GPG_EXE /usr/bin/gpg
GPG_REMOTE_ID AB, CD
SOURCE ANY
KEY secret
ENCRYPTION_MODE legacy
FORWARD_ALL y
DISABLE_DNAT yes
ACCESS_EXPIRE_EPOCH 12345
GPG_ALLOW_NO_PW Y
GPG_DISABLE_SIG Y
`,
        },
      ];
      for (const texts of cases) {
        const [theirs, ours] = await judge(directory, texts);
        assert.equal(ours.dump.replace(OWN_LINES, ""), theirs.dump);
      }
    }),
});

Deno.test({
  name: "what fwknopd accepts is accepted and what it refuses is refused (needs fwknopd)",
  ignore: missing(),
  fn: () =>
    withDirectory(async (directory) => {
      const stanza = (lines: string): Texts => ({ access: `${SOUND}${lines}\n` });
      const cases: [texts: Texts, accepted: boolean][] = [
        [{ server: "PCAP_INTFF eth0\n" }, true],
        [{ server: "nonsense\n" }, true],
        [{ server: "MAX_SPA_PACKET_AGE 100001\n" }, false],
        [{ server: "SYSLOG_FACILITY LOG_LOCAL8\n" }, false],
        [{ server: "IPT_SNAT_ACCESS SNAT, nat, POSTROUTING, 1, X\n" }, false],
        [{ server: "ENABLE_IPT_SNAT Y\nSNAT_TRANSLATE_IP 1.2.3.400\n" }, false],
        [{ server: "SNAT_TRANSLATE_IP 1.2.3.400\n" }, true],
        [{ access: "SOURCE ANY\n" }, false],
        [{ access: "KEY secret\n" }, false],
        [{ access: "SOURCE 1.2.3.4/33\nKEY secret\n" }, false],
        [{ access: "SOURCE 1.2.3.4,\nKEY secret\n" }, false],
        [{ access: "SOURCE any, 1.2.3.4/ 8\nKEY secret\n" }, true],
        [stanza("OPEN_PORTS icmp/1"), false],
        [stanza("OPEN_PORTS tcp/0,  UDP/65535"), true],
        [stanza("KEY_BASE64 a!"), false],
        [stanza("KEY_BASE64 YWI"), true],
        [stanza("HMAC_KEY secret"), false],
        [stanza("HMAC_DIGEST_TYPE md4"), false],
        [stanza("ENCRYPTION_MODE ofb"), true],
        [stanza("ENCRYPTION_MODE PCBC"), false],
        [stanza("FW_ACCESS_TIMEOUT 8388609"), false],
        [stanza("ACCESS_EXPIRE 3-10-01"), false],
        [stanza("FORCE_NAT 1.2.3.4 22"), false],
        [stanza("FORCE_MASQUERADE Y"), false],
        [stanza("CMD_CYCLE_OPEN a"), false],
        [stanza("CMD_EXEC_USER no-such-user"), false],
        [stanza("GPG_ALLOW_NO_PW Y"), false],
        [stanza("GPG_HOME_DIR /nowhere"), false],
        [stanza("UNKNOWN x"), true],
        [stanza("KEY"), false],
      ];
      for (const [texts, accepted] of cases) {
        const verdicts = await judge(directory, texts);
        const name = JSON.stringify(texts);
        assert.deepEqual(verdicts.map((verdict) => verdict.accepted), [accepted, accepted], name);
      }
    }),
});

Deno.test({
  name: "what fwknopd misreads without a word is refused (needs fwknopd)",
  ignore: missing(),
  fn: () =>
    withDirectory(async (directory) => {
      const stanza = (lines: string): Texts => ({ access: `${SOUND}${lines}\n` });
      const cases: Texts[] = [
        { server: "MAX_SPA_PACKET_AGE 60abc\n" },
        { server: "MAX_SPA_PACKET_AGE 4294967306\n" },
        { server: "TCPSERV_PORT 65537\n" },
        { server: "ENABLE_UDP_SERVER 0\n" },
        { server: "IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 0, X, 1\n" },
        { server: "DIGEST_FILE $NOPE/d\n" },
        { access: "SOURCE 10.1\nKEY secret\n" },
        { access: "SOURCE 10.0.0.0/255.0.255.0\nKEY secret\n" },
        stanza("OPEN_PORTS tcp/22-25"),
        stanza("OPEN_PORTS tcp/"),
        stanza(`KEY ${"k".repeat(33)}`),
        stanza("ACCESS_EXPIRE 13/40/2030"),
        stanza("ACCESS_EXPIRE_EPOCH abc"),
        stanza("FW_ACCESS_TIMEOUT abc"),
      ];
      for (const texts of cases) {
        const [theirs, ours] = await judge(directory, texts);
        assert.deepEqual([theirs.accepted, ours.accepted], [true, false], JSON.stringify(texts));
      }
    }),
});
