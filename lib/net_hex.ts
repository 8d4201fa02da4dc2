// Bytes for people to read.

const ROW = 16;

/**
 * A dump in fwknopd's layout: offset, two groups of eight bytes, and their printable characters.
 *
 * @returns lines without a line end at the last
 */
export function formatHexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let offset = 0; offset < bytes.length; offset += ROW) {
    const row = [...bytes.subarray(offset, offset + ROW)];
    const pairs = row.map((byte) => byte.toString(16).padStart(2, "0"));
    const groups = `${pairs.slice(0, 8).join(" ")}  ${pairs.slice(8).join(" ")}`;
    const text = row.map((byte) => byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".");
    const place = offset.toString(16).padStart(4, "0");
    lines.push(`  0x${place}:  ${groups.padEnd(3 * ROW)}  ${text.join("")}`);
  }
  return lines.join("\n");
}
