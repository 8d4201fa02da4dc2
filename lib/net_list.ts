// Comma-separated lists: the items with their offsets, and how a fault in a text is told.

/** What is wrong with a text, and where. */
export interface TextFault {
  /** Where the faulty part starts, in characters from the start of the text. */
  readonly offset: number;
  /** The faulty part. */
  readonly value: string;
  /** What is wrong with it. */
  readonly why: string;
  /** What would be right. */
  readonly hint: string;
}

/** A parsed value, or the first fault that kept it from being one. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly fault: TextFault };

/** An item of a list. */
export interface ListItem {
  /** The item without the blanks around it; empty when nothing is there. */
  readonly text: string;
  /** Where it starts, in characters from the start of the list. */
  readonly offset: number;
}

/** A fault as the result of a parser. */
export function failed(offset: number, value: string, why: string, hint: string): {
  readonly ok: false;
  readonly fault: TextFault;
} {
  return { ok: false, fault: { offset, value, why, hint } };
}

/** Splits a list at its commas; an empty text is one empty item. */
export function splitList(text: string): ListItem[] {
  const items: ListItem[] = [];
  let start = 0;
  for (const part of text.split(",")) {
    const blanks = part.length - part.trimStart().length;
    items.push({ text: part.trim(), offset: start + blanks });
    start += part.length + 1;
  }
  return items;
}
