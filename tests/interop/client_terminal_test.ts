// Asking for keys on a real terminal, made by script(1).

import assert from "node:assert/strict";
import { hasProgram, spaCommand } from "../lab/lab.ts";
import { start } from "../lab/process.ts";

const missing = hasProgram("script") && hasProgram("stty")
  ? null
  : "needs the programs script and stty";

const OPTIONS = [
  "--no-rc-file",
  "--no-save-args",
  "-A",
  "tcp/22",
  "-a",
  "1.2.3.4",
  "-D",
  "127.0.0.1",
];

/** Runs `spa knock` on a terminal of its own; prints the terminal's settings afterwards. */
function knockOnTerminal(...options: readonly string[]) {
  const command = spaCommand("knock", ...OPTIONS, ...options).join(" ");
  return start(["script", "-qfec", `${command}; echo status $?; stty -a`, "/dev/null"]);
}

Deno.test({
  name: `knock asks for both keys unseen, and mends typing mistakes${suffix()}`,
  ignore: missing !== null,
  async fn() {
    const knock = knockOnTerminal("--use-hmac", "-T");
    try {
      await knock.waitFor(/Enter encryption key: /);
      await knock.write("hunterx\x7f2\r");
      await knock.waitFor(/Enter HMAC key: /);
      await knock.write("wrong\x15other3\r");
      await knock.waitFor(/status 0/);
      await knock.waitFor(/isig icanon .*echo /);
      assert.match(knock.output(), /HMAC Type: 3 \(SHA256\)/);
      assert.doesNotMatch(knock.output(), /hunter|other3/);
    } finally {
      await knock.stop();
    }
  },
});

Deno.test({
  name: `knock ends with 130 at Ctrl-C, and gives the terminal back${suffix()}`,
  ignore: missing !== null,
  async fn() {
    const knock = knockOnTerminal();
    try {
      await knock.waitFor(/Enter encryption key: /);
      await knock.write("hunter\x03");
      await knock.waitFor(/status 130/);
      await knock.waitFor(/isig icanon .*echo /);
      assert.doesNotMatch(knock.output(), /hunter|sent/);
    } finally {
      await knock.stop();
    }
  },
});

Deno.test({
  name: `knock confirms on a terminal in one line${suffix()}`,
  ignore: missing !== null,
  async fn() {
    const knock = knockOnTerminal("--key-rijndael", "k");
    try {
      await knock.waitFor(
        /sent \d+ bytes to 127\.0\.0\.1:62201\/udp, opens tcp\/22 for 1\.2\.3\.4/,
      );
      await knock.waitFor(/status 0/);
    } finally {
      await knock.stop();
    }
  },
});

function suffix(): string {
  return missing === null ? "" : ` (${missing})`;
}
