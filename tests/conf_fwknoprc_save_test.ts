import assert from "node:assert/strict";
import fc from "fast-check";
import { readFwknoprc } from "../lib/conf_fwknoprc.ts";
import { changeStanza, isWritableValue, readStanzaValues } from "../lib/conf_fwknoprc_save.ts";

const FILE = `# head
[default]
FW_TIMEOUT 30   # seconds

[a] ; mine
  # about keys
KEY one  ; old
ACCESS tcp/22

; about b
[b]
KEY two
`;

Deno.test("changeStanza() changes values in place and keeps everything else", () => {
  const set = [{ name: "KEY", value: "new" }, { name: "NAT_PORT", value: "5" }];
  assert.equal(
    changeStanza(FILE, { stanza: "A", set, remove: [] }),
    FILE.replace("KEY one", "KEY new")
      .replace("tcp/22\n", "tcp/22\nNAT_PORT                    5\n"),
  );
});

Deno.test("changeStanza() takes variables out, all of them if asked to", () => {
  assert.equal(
    changeStanza(FILE, { stanza: "a", set: [], remove: ["KEY"] }),
    FILE.replace("KEY one  ; old\n", ""),
  );
  assert.equal(
    changeStanza(FILE, { stanza: "a", set: [{ name: "ACCESS", value: "udp/1" }], remove: "all" }),
    FILE.replace("KEY one  ; old\n", "").replace("tcp/22", "udp/1"),
  );
});

Deno.test("changeStanza() adds a stanza that is not there", () => {
  const change = { stanza: "c", set: [{ name: "KEY", value: "k" }], remove: [] };
  const added = "[c]\nKEY                         k\n";
  assert.equal(changeStanza(FILE, change), `${FILE}\n${added}`);
  assert.equal(changeStanza("[a]\nKEY x", change), `[a]\nKEY x\n\n${added}`);
  assert.equal(changeStanza("", change), added);
});

Deno.test("changeStanza() adds to a stanza at the end of a file without a line end", () => {
  const change = { stanza: "a", set: [{ name: "ACCESS", value: "udp/1" }], remove: [] };
  assert.equal(
    changeStanza("[a]\nKEY x", change),
    "[a]\nKEY x\nACCESS                      udp/1\n",
  );
});

Deno.test("changeStanza() leaves one assignment of a repeated variable", () => {
  const change = { stanza: "a", set: [{ name: "KEY", value: "k" }], remove: [] };
  assert.equal(changeStanza("[a]\nKEY x\nKEY y\n[a]\nKEY z\n", change), "[a]\nKEY k\n[a]\n");
});

Deno.test("changeStanza() keeps DOS line ends", () => {
  const change = { stanza: "a", set: [{ name: "NAT_PORT", value: "5" }], remove: [] };
  assert.equal(
    changeStanza("[a]\r\nKEY x\r\n\r\n[b]\r\n", change),
    "[a]\r\nKEY x\r\nNAT_PORT                    5\r\n\r\n[b]\r\n",
  );
});

Deno.test("changeStanza() completes a DOS line end that the file ends in the middle of", () => {
  const change = { stanza: "b", set: [{ name: "KEY", value: "k" }], remove: [] };
  assert.equal(
    changeStanza("[a]\r\nKEY x\r", change),
    "[a]\r\nKEY x\r\n\r\n[b]\r\nKEY                         k\r\n",
  );
});

Deno.test("changeStanza() writes what reads back, and no other line changes", () => {
  const line = fc.constantFrom(
    "",
    "# x",
    "[a]",
    "[b] ; c",
    "KEY k",
    "ACCESS tcp/1 # y",
    " \t",
    "odd",
  );
  fc.assert(fc.property(
    fc.array(line),
    fc.string({ minLength: 1 }).filter(isWritableValue),
    (lines, value) => {
      const text = lines.join("\n");
      const changed = changeStanza(text, {
        stanza: "a",
        set: [{ name: "KEY", value }],
        remove: [],
      });
      assert.equal(readStanzaValues(changed, "a")?.get("KEY"), value);
      assert.deepEqual(
        readFwknoprc(changed, "rc", "b").settings,
        readFwknoprc(text, "rc", "b").settings,
      );
      const again = changeStanza(changed, {
        stanza: "a",
        set: [{ name: "KEY", value }],
        remove: [],
      });
      assert.equal(again, changed);
    },
  ));
});

Deno.test("readStanzaValues() gives the values of one stanza, or null without it", () => {
  assert.deepEqual([...readStanzaValues(FILE, "A") ?? []], [["KEY", "one"], ["ACCESS", "tcp/22"]]);
  assert.equal(readStanzaValues(FILE, "c"), null);
});
