// One sentry follows another without a packet lost or judged twice: both capture for a while, and
// what the first has judged, the second passes over.

import { sha256 } from "@noble/hashes/sha2.js";
import type { Datagram } from "./net_datagram.ts";
import { encodeBase64 } from "./spa_base64.ts";

/** Packets that were judged, each by its note. */
export interface JudgedNotes {
  /** From now on {@linkcode judge} notes what is to be judged. */
  begin(): void;
  /** Whether the packet is still to be judged; false once for each note to be skipped. */
  judge(datagram: Datagram): boolean;
  /** Adds notes of packets that another has judged. */
  skip(notes: readonly string[]): void;
  /** No packet that another has judged can come any more. */
  endSkipping(): void;
  /** What was noted; it is forgotten here. */
  take(): string[];
}

/** More packets than a sentry judges while another starts, even in a flood. */
const MOST_NOTES = 50_000;
/** Payloads that can be knocks, with a request around them; others draw no line in the log. */
const SHORTEST = 140;

/** Nothing is noted and nothing skipped at first. */
export function createJudgedNotes(): JudgedNotes {
  let noted: string[] | null = null;
  const skipped = new Map<string, number>();
  return {
    begin: () => void (noted ??= []),
    judge(datagram) {
      const notes = noted !== null && noted.length < MOST_NOTES;
      if ((skipped.size === 0 && !notes) || datagram.payload.length < SHORTEST) return true;
      const note = noteOf(datagram);
      const left = skipped.get(note) ?? 0;
      if (left > 1) skipped.set(note, left - 1);
      else skipped.delete(note);
      if (left > 0) return false;
      if (notes) noted?.push(note);
      return true;
    },
    skip(notes) {
      for (const note of notes) skipped.set(note, (skipped.get(note) ?? 0) + 1);
    },
    endSkipping: () => skipped.clear(),
    take() {
      const notes = noted ?? [];
      noted = null;
      return notes;
    },
  };
}

/** Equal notes mean equal packets: nobody can make another that has the note of a knock. */
function noteOf({ protocol, source, sourcePort, destination, payload }: Datagram): string {
  const hash = sha256.create();
  hash.update(Uint8Array.of(protocol, source.length, sourcePort >> 8, sourcePort & 255));
  hash.update(source).update(destination).update(payload);
  return encodeBase64(hash.digest());
}
