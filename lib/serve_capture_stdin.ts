// Packets from standard input, one a line: for fuzzers and for trying a configuration by hand.

import type { Host } from "./host.ts";
import type { CaptureSource } from "./serve_capture.ts";

const UDP = 17;
const SPA_PORT = 62201;
const STDIN = 0;

/** A source that ends with standard input; its packets seem to come from 127.0.0.2. */
export function openStdinSource(host: Pick<Host, "readLines">): CaptureSource {
  let open = true;
  return {
    announcement: ["Reading SPA packets from standard input."],
    wait: () => Promise.resolve(open),
    drain(limit, take) {
      const lines = host.readLines(STDIN, limit);
      for (const payload of lines) {
        take({
          protocol: UDP,
          source: Uint8Array.of(127, 0, 0, 2),
          destination: Uint8Array.of(127, 0, 0, 1),
          sourcePort: SPA_PORT,
          destinationPort: SPA_PORT,
          payload,
        });
      }
      if (lines.length < limit) open = false;
      return lines.length;
    },
    stop: () => void (open = false),
    close: () => {},
  };
}
