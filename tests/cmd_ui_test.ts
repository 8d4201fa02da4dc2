import assert from "node:assert/strict";
import { createUi, EXIT } from "../lib/cmd_ui.ts";
import { memoryHost } from "./memory_host.ts";

Deno.test("complaints are one line and a hint on stderr, and give the exit status", () => {
  const { host, stdout, stderr } = memoryHost();
  const ui = createUi(host, { command: "knock" });
  assert.equal(ui.complain({ text: "cannot x", hint: "do y", status: 7 }), 7);
  assert.equal(stderr(), "spa: cannot x\nhint: do y\n");
  assert.equal(stdout(), "");
});

Deno.test("usage errors point to the command's help", () => {
  const { host, stderr } = memoryHost();
  assert.equal(
    createUi(host, { command: "knock" }).usage([{ text: "a" }, { text: "b", hint: "c" }]),
    2,
  );
  assert.equal(stderr(), "spa: a\nspa: b\nhint: c\nTry 'spa knock --help'.\n");
});

Deno.test("a command can give wrong use the status of the program that it replaces", () => {
  const ui = createUi(memoryHost().host, { command: "knock", usageStatus: 1 });
  assert.equal(ui.usage([{ text: "a" }]), 1);
  assert.equal(ui.complain({ text: "a", status: EXIT.usage }), 1);
  assert.equal(ui.complain({ text: "a", status: EXIT.interrupted }), 130);
});

Deno.test("colour is for terminals, and for those who want it", () => {
  const cases: ReadonlyArray<
    readonly [env: Record<string, string>, terminal: boolean, red: boolean]
  > = [
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: "1" }, true, false],
    [{ NO_COLOR: "" }, true, true],
    [{ TERM: "dumb" }, true, false],
  ];
  for (const [env, terminal, red] of cases) {
    const { host, stderr } = memoryHost({ env, terminals: terminal ? ["stderr"] : ["stdout"] });
    createUi(host, { command: "" }).warn("odd");
    assert.equal(stderr().includes("\x1b["), red, JSON.stringify(env));
  }
});

Deno.test("quiet silences warnings and confirmations, and no complaint", () => {
  const { host, stdout, stderr } = memoryHost({ terminals: ["stdout"] });
  const ui = createUi(host, { command: "", quiet: true });
  ui.warn("odd");
  ui.confirm("done");
  assert.equal(stdout() + stderr(), "");
  ui.complain({ text: "no", status: 1 });
  assert.equal(stderr(), "spa: no\n");
});
