// Bytes carried both ways between two streams, until either side has ended.

import type { ByteStream } from "./host.ts";
import { reasonOf } from "./host.ts";

const BUFFER_BYTES = 64 * 1024;

/**
 * Carries bytes both ways; each side is read only as fast as the other takes what was read. When
 * `near` ends, `far` is told and may finish what it has to say; when `far` ends, so does this.
 *
 * @returns why the connection to `far` broke, or null when either side ended as it should
 */
export async function carry(near: ByteStream, far: ByteStream): Promise<string | null> {
  // What goes wrong on this way shows on the other one as well, which tells when it is over.
  copy(near, far).then(() => far.closeWrite()).catch(() => {});
  const broken = await copy(far, near);
  far.close();
  return broken?.at === "from" ? broken.reason : null;
}

/** Which end failed, and why; null when `from` came to its end. */
type Failure = { readonly at: "from" | "to"; readonly reason: string } | null;

async function copy(from: ByteStream, to: ByteStream): Promise<Failure> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  let at: "from" | "to" = "from";
  try {
    for (;;) {
      at = "from";
      const count = await from.read(buffer);
      if (count === null) return null;
      at = "to";
      await to.write(buffer.subarray(0, count));
    }
  } catch (error) {
    return { at, reason: reasonOf(error) };
  }
}
