// Fuzz targets of what gpg prints, and of the file of packets that were accepted.

import { formatReplayRecord, parseReplayRecord, replayTime } from "../../lib/auth_replay_line.ts";
import { linesOf } from "../../lib/serve_replay_lines.ts";
import {
  canReceivePackets,
  chooseKeyPart,
  describeKeyPart,
  parseKeyListing,
} from "../../lib/spa_gpg_keys.ts";
import { checkSignature, describeSignature, parseDecryption } from "../../lib/spa_gpg_status.ts";
import {
  bytesOf,
  choiceOf,
  type FuzzTarget,
  latin1Of,
  rule,
  textOf,
  withChoice,
} from "./target.ts";

const DIGEST = "7Eh0pSt3vGqY7Ea0WzF9lJ1kR6mB2nU5xT8cV4dQaLw";

const replayLine: FuzzTarget = {
  name: "digest.cache",
  rule: "a line that is taken is written again in one way, and read again as the same record",
  seeds: () =>
    [
      `${DIGEST} 17 192.0.2.10 45092 192.0.2.1 62201 1795323500`,
      `${DIGEST} 6 2001:db8::1 1 2001:db8::2 65535 0\r`,
      "# <digest> <proto> <src_ip> <src_port> <dst_ip> <dst_port> <time>",
    ].map(bytesOf),
  words: [" ", "0", "17", "#", "\r", "192.0.2.1", "::1"],
  check(input) {
    const record = parseReplayRecord(textOf(input));
    if (typeof record === "string") return;
    const line = formatReplayRecord(record);
    rule(line.indexOf("\n") === line.length - 1, "a record of several lines");
    const again = parseReplayRecord(line.trimEnd());
    rule(JSON.stringify(again) === JSON.stringify(record), "another record");
    rule(replayTime(input, 0, input.length) === record.time, "another time in the bytes");
  },
};

/** The first byte tells how long the pieces are in which the file is read. */
const replayFile: FuzzTarget = {
  name: "digest.cache-pieces",
  rule: "a file gives the same lines in whatever pieces it is read",
  seeds: () =>
    ["a\nb\n\nc", "no end", "\n\n", `${"x".repeat(60)}\n`].map((text, index) =>
      withChoice(index, bytesOf(text))
    ),
  words: ["\n", "x".repeat(40)],
  longest: 1000,
  check(input) {
    const [choice, bytes] = choiceOf(input);
    const step = 1 + choice % 32;
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += step) pieces.push(bytes.slice(at, at + step));
    const expected = latin1Of(bytes).split("\n");
    if (expected.at(-1) === "") expected.pop();
    for (const some of [[bytes], pieces]) {
      const lines: string[] = [];
      for (const line of linesOf(some)) {
        rule(line.bytes[line.to] === 10, "a line without an end");
        lines.push(latin1Of(line.bytes.subarray(line.from, line.to)));
      }
      rule(JSON.stringify(lines) === JSON.stringify(expected), "other lines");
    }
  },
};

const GPG_SEEDS = [
  [
    "ENC_TO F0566069C96B092B 1 0",
    "BEGIN_DECRYPTION",
    "PLAINTEXT 62 1795322167 ",
    "NEWSIG",
    "GOODSIG 2EDF609AF05BB368 somebody",
    "VALIDSIG 0123456789ABCDEF0123456789ABCDEF01234567 2026-11-22 1795322167 0 4 0 1 10 00 01234",
    "TRUST_FULLY 0 pgp",
    "DECRYPTION_OKAY",
    "END_DECRYPTION",
  ],
  ["BEGIN_DECRYPTION", "ERROR pkdecrypt_failed 67108875", "DECRYPTION_FAILED", "END_DECRYPTION"],
  [
    "BEGIN_DECRYPTION",
    "PLAINTEXT 62 1 ",
    "NEWSIG",
    "ERRSIG 2EDF609AF05BB368 1 10 00 1795322167 9 0123456789ABCDEF0123456789ABCDEF01234567",
    "DECRYPTION_OKAY",
    "END_DECRYPTION",
    "NEWSIG",
    "BADSIG 2EDF609AF05BB368 x",
  ],
].map((lines) => lines.map((line) => `[GNUPG:] ${line}\n`).join(""));

const gpgStatus: FuzzTarget = {
  name: "gpg-status",
  rule: "a plaintext counts only where gpg says, once and to the end, that it decrypted it",
  seeds: () => GPG_SEEDS.map(bytesOf),
  words: [
    "\n[GNUPG:] ",
    "[GNUPG:] NEWSIG\n",
    "[GNUPG:] GOODSIG 2EDF609AF05BB368 x\n",
    "[GNUPG:] DECRYPTION_OKAY\n",
    "[GNUPG:] END_DECRYPTION\n",
    "[GNUPG:] PLAINTEXT 62 1 \n",
    "[GNUPG:] TRUST_ULTIMATE 0\n",
    "[GNUPG:] constructor\n",
    "__proto__",
  ],
  check(input) {
    const text = textOf(input);
    const read = parseDecryption(input, text);
    if (!read.ok) return;
    for (const keyword of ["DECRYPTION_OKAY", "PLAINTEXT", "BEGIN_DECRYPTION", "END_DECRYPTION"]) {
      const less = text.split("\n").filter((line) => line.trimEnd().split(" ")[1] !== keyword);
      rule(!parseDecryption(input, less.join("\n")).ok, `no ${keyword} was needed`);
    }
    const failed = `${text}\n[GNUPG:] DECRYPTION_FAILED`;
    rule(!parseDecryption(input, failed).ok, "a failure was passed over");
    const { signature } = read;
    if (signature !== null) {
      describeSignature(signature);
      const good = checkSignature(signature, false) === null;
      rule(!good || /^\[GNUPG:\] GOODSIG/m.test(text), "a good signature that gpg did not find");
      rule(!good || /^\[GNUPG:\] TRUST_/m.test(text), "a signature nobody vouches for");
    }
  },
};

const gpgKeys: FuzzTarget = {
  name: "gpg-keys",
  rule: "any listing gives keys of which a part is usable, or none is",
  seeds: () =>
    [
      "sec:u:2048:1:2EDF609AF05BB368:1500000000:::u:::scESC:::+:::23::0:\n" +
      "fpr:::::::::0123456789ABCDEF0123456789ABCDEF01234567:\nuid:u::::1::X::somebody:\n" +
      "ssb:u:2048:1:F0566069C96B092B:1500000000::::::e:::+:::23:\n",
      "pub:r:256:22:AAAA:1:::-:::scSC::::ed25519:::0:\nsub:e:256:18:BBBB:1::::::e::::cv25519::\n",
    ].map(bytesOf),
  words: [":", "pub:", "sub:", "sec:", "ssb:", "fpr:", "\n", "#", "16", "1"],
  check(input) {
    const keys = parseKeyListing(textOf(input));
    for (const key of keys) {
      for (const purpose of ["encrypt", "sign"] as const) {
        const part = chooseKeyPart(key, purpose);
        rule(part === null || part.isUsable, "an unusable part was chosen");
        rule(part === null || part.capabilities.includes(purpose.charAt(0)), "one that may not");
      }
      for (const part of key.parts) {
        describeKeyPart(part);
        canReceivePackets(part);
      }
    }
  },
};

/** All of them. */
export function outputTargets(): readonly FuzzTarget[] {
  return [replayLine, replayFile, gpgStatus, gpgKeys];
}
