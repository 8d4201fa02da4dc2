import assert from "node:assert/strict";
import { run } from "../lib/cmd_knock.ts";
import type { BytesCall, BytesResult } from "../lib/host.ts";
import { type MemoryHost, memoryHost, type MemorySetup } from "./memory_host.ts";

const RECIPIENT = "566E2AFAF9BD5E0D39F1978327DEDE31E1DD83FC";
const SIGNER = "52198ABEF25807BA0D4BD1022EDF609AF05BB368";

/** A key of one part, as gpg lists it. */
function listed(type: "pub" | "sec", fingerprint: string, bits: number, algorithm = 1): string {
  const curve = algorithm === 1 ? "" : "cv25519";
  return `${type}:u:${bits}:${algorithm}:${fingerprint.slice(-16)}:1795319607:::u:::seSE:::+:` +
    `:${curve}:::0:\nfpr:::::::::${fingerprint}:\n`;
}

/** What a gpg says that has these keys. */
interface FakeGpg {
  readonly recipient?: string;
  readonly signer?: string;
  /** Bytes of the message it makes. */
  readonly length?: number;
  readonly failure?: string;
}

interface Ran extends MemoryHost {
  readonly status: number;
  readonly calls: BytesCall[];
}

async function knock(
  options: readonly string[],
  fake: FakeGpg = {},
  setup: MemorySetup = {},
): Promise<Ran> {
  const calls: BytesCall[] = [];
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const answer = (status: number, stdout: Uint8Array, stderr = ""): BytesResult => (
    { status, stdout, stderr }
  );
  const memory = memoryHost({
    env: { LOGNAME: "alice" },
    files: { "/usr/bin/gpg": "" },
    runOnBytes(call) {
      calls.push(call);
      if (call.args.includes("--list-keys")) {
        return answer(0, bytes(fake.recipient ?? listed("pub", RECIPIENT, 2048)));
      }
      if (call.args.includes("--list-secret-keys")) {
        return answer(0, bytes(fake.signer ?? listed("sec", SIGNER, 2048)));
      }
      if (fake.failure !== undefined) return answer(2, bytes(""), fake.failure);
      const message = new Uint8Array(fake.length ?? 600);
      message.set([0x85, 0x01, 0x0c, 3]);
      return answer(0, message);
    },
    ...setup,
  });
  const status = await run([
    ...["--no-rc-file", "--no-save-args", "-A", "tcp/22", "-a", "192.0.2.10", "-D", "192.0.2.1"],
    ...options,
  ], memory.host);
  return { ...memory, status, calls };
}

const TO = ["--gpg-recipient-key", "server"];
const SIGNED = [...TO, "--gpg-signer-key", "client"];

Deno.test("a GnuPG knock sends gpg's message without what receivers restore", async () => {
  const ran = await knock([...SIGNED, "--gpg-no-signing-pw"]);
  assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
  assert.equal(ran.stdout(), "[+] GPG mode set, signing passphrase not required\n");
  const wire = ran.packets[0]?.payload ?? "";
  assert.equal(wire.length, 800 - 2);
  assert.ok(wire.startsWith("EMAw"));
  const encryption = ran.calls.at(-1)?.args.join(" ") ?? "";
  assert.ok(encryption.includes(`--local-user ${SIGNER} --sign --recipient ${RECIPIENT}`));
  const plaintext = new TextDecoder().decode(ran.calls.at(-1)?.stdin);
  assert.match(plaintext, /^\d{16}:YWxpY2U:1795000000:3\.0\.0:1:\S+:[A-Za-z0-9+/]{43}$/);
});

Deno.test("an exact subkey is left to gpg as it was named", async () => {
  const ran = await knock(["--gpg-recipient-key", "0xF0566069C96B092B!"]);
  assert.match(ran.calls.at(-1)?.args.join(" ") ?? "", /--recipient 0xF0566069C96B092B! --encrypt/);
});

/** Options, what is typed, and how the passphrase gets to gpg. */
const PASSPHRASES: readonly {
  readonly name: string;
  readonly options: readonly string[];
  readonly setup?: MemorySetup;
  readonly prompts?: string;
  readonly passphrase: string | null;
  readonly pinentry: RegExp;
}[] = [
  {
    name: "typed",
    options: SIGNED,
    setup: { typed: "se cret\n" },
    prompts: "Enter passphrase for signing: \n(closed)",
    passphrase: "se cret",
    pinentry: /--pinentry-mode loopback --passphrase-fd 0/,
  },
  {
    name: "from a descriptor",
    options: [...SIGNED, "--stdin"],
    setup: { descriptors: { 0: "se cret\n" } },
    passphrase: "se cret",
    pinentry: /--passphrase-fd 0/,
  },
  {
    name: "given as the key",
    options: [...SIGNED, "--key-rijndael", "more than thirty-two bytes, which no other key may be"],
    passphrase: "more than thirty-two bytes, which no other key may be",
    pinentry: /--passphrase-fd 0/,
  },
  {
    name: "left to the agent",
    options: [...SIGNED, "--gpg-agent"],
    passphrase: null,
    pinentry: /^((?!pinentry).)*$/,
  },
  {
    name: "not needed",
    options: [...SIGNED, "--gpg-no-signing-pw"],
    passphrase: null,
    pinentry: /--pinentry-mode error/,
  },
  { name: "of nobody, unsigned", options: TO, passphrase: null, pinentry: /--pinentry-mode error/ },
  {
    name: "given, but nobody signs",
    options: [...TO, "--key-rijndael", "secret"],
    passphrase: null,
    pinentry: /--pinentry-mode error/,
  },
];

for (const { name, options, setup = {}, prompts = "", passphrase, pinentry } of PASSPHRASES) {
  Deno.test(`a signing passphrase ${name} reaches gpg, and no command line`, async () => {
    const ran = await knock(options, {}, setup);
    assert.equal(ran.status, 0, ran.stderr());
    assert.equal(ran.prompts(), prompts);
    const call = ran.calls.at(-1);
    const input = new TextDecoder().decode(call?.stdin);
    assert.match(input, passphrase === null ? /^\d{16}:/ : /\n\d{16}:/);
    if (passphrase !== null) assert.ok(input.startsWith(`${passphrase}\n`));
    assert.match(call?.args.join(" ") ?? "", pinentry);
    assert.ok(!JSON.stringify(ran.calls.map(({ args }) => args)).includes(passphrase ?? "\0"));
  });
}

/** Options, the keys there are, and the error with its hint. */
const REFUSALS: readonly {
  readonly name: string;
  readonly options?: readonly string[];
  readonly fake: FakeGpg;
  readonly words: RegExp;
}[] = [
  {
    name: "a recipient that cannot be",
    fake: { recipient: listed("pub", RECIPIENT, 255, 18) },
    words: /Error 105 - .*\nhint: the recipient's key is cv25519, .* RSA of 2048 bits or more/,
  },
  {
    name: "a recipient that cannot encrypt",
    fake: { recipient: listed("pub", RECIPIENT, 2048).replace(":seSE:", ":sS:") },
    words: /cannot encrypt with key 566E.*: it is expired, revoked, or not meant for that/,
  },
  {
    name: "a signer that has expired",
    fake: { signer: listed("sec", SIGNER, 2048).replace("sec:u", "sec:e") },
    words: /cannot sign with key 5219/,
  },
  {
    name: "keys that cannot fit",
    fake: {
      recipient: listed("pub", RECIPIENT, 4096),
      signer: listed("sec", SIGNER, 4096),
    },
    words:
      /Error 59 - .*FKO_ERROR_INVALID_DATA_ENCRYPT_GPG_RESULT_MSGLEN_VALIDFAIL\nhint: .*1499 characters: .*6656 bits together/,
  },
  {
    name: "keys that fit only without the tag",
    options: [...SIGNED, "--key-hmac", "hmac", "--hmac-digest-type", "sha512"],
    fake: {
      recipient: listed("pub", RECIPIENT, 3072),
      signer: listed("sec", SIGNER, 4096),
    },
    words: /Error 59 - .*\nhint: .*6144 bits together/,
  },
];

for (const { name, options = SIGNED, fake, words } of REFUSALS) {
  Deno.test(`knock refuses ${name} before it asks for a passphrase`, async () => {
    const ran = await knock(options, fake, { typed: "secret\nsecret\n" });
    assert.equal(ran.status, 1);
    assert.match(ran.stderr(), words);
    assert.equal(ran.prompts(), "");
    assert.deepEqual(ran.packets, []);
    assert.ok(ran.calls.every(({ args }) => !args.includes("--encrypt")));
  });
}

Deno.test("a message that turns out too long, with its tag or without, is not sent", async () => {
  const options = [...SIGNED, "--gpg-no-signing-pw"];
  for (const [length, more] of [[1125, []], [1093, ["--key-hmac", "hmac"]]] as const) {
    const ran = await knock([...options, ...more], { length });
    assert.equal(ran.status, 1);
    assert.match(ran.stderr(), /GPG_RESULT_MSGLEN_VALIDFAIL\nhint: a packet has at most 1499/);
    assert.deepEqual(ran.packets, []);
    const fitting = await knock([...options, ...more], { length: length - 1 });
    assert.equal(fitting.status, 0, fitting.stderr());
  }
});

Deno.test("gpg's own reason is the hint when it cannot sign", async () => {
  const failure = "gpg: signing failed: Bad passphrase\ngpg: [stdin]: sign+encrypt failed: Bad\n";
  const ran = await knock([...SIGNED, "--gpg-agent"], { failure });
  assert.equal(ran.status, 1);
  assert.match(ran.stderr(), /Error 122 - .*\nhint: gpg: \[stdin\]: sign\+encrypt failed: Bad/);
});

Deno.test("passphrase and HMAC key must differ with GnuPG, too", async () => {
  const ran = await knock([...SIGNED, "--key-rijndael", "same", "--key-hmac", "same"]);
  assert.equal(ran.status, 1);
  assert.match(ran.stderr(), /passphrase and HMAC key should not be identical/);
});

Deno.test("--json tells the packet of a GnuPG knock and nothing else", async () => {
  const ran = await knock([...SIGNED, "--gpg-no-signing-pw", "--json"]);
  const { sent, packet } = JSON.parse(ran.stdout());
  assert.deepEqual([sent, packet.encryptionMode], [true, "Asymmetric"]);
});
