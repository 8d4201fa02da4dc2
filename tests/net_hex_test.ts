import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { formatHexDump } from "../lib/net_hex.ts";

Deno.test("formatHexDump() has fwknopd's layout, and a short last row keeps its columns", () => {
  const bytes = new TextEncoder().encode("+Hj4J9wSDAeuzP5B~\u007f");
  deepStrictEqual(formatHexDump(bytes).split("\n"), [
    "  0x0000:  2b 48 6a 34 4a 39 77 53  44 41 65 75 7a 50 35 42  +Hj4J9wSDAeuzP5B",
    `  0x0010:  7e 7f${" ".repeat(45)}~.`,
  ]);
  strictEqual(formatHexDump(new Uint8Array()), "");
});
