// Big-endian numbers in byte arrays, as the network orders them.

/** The 16-bit number at `offset`; the caller has checked the length. */
export function readUint16(bytes: Uint8Array, offset: number): number {
  return bytes[offset]! << 8 | bytes[offset + 1]!;
}
