// Whether a value that came over a pipe is what it should be: checks of types, put together of parts.
// Nothing is converted and nothing beyond what is named may be there.

import { parseIp } from "./net_address.ts";

/** Whether a value has a type. Never throws for what JSON can hold. */
export type Shape<T> = (value: unknown) => value is T;

/** A whole number from `low` to `high`. */
export function whole(low: number, high: number): Shape<number> {
  return (value): value is number =>
    Number.isSafeInteger(value) && Number(value) >= low && Number(value) <= high;
}

/** Text of at most that many UTF-16 units that has the pattern. */
export function text(longest: number, pattern?: RegExp): Shape<string> {
  return (value): value is string =>
    typeof value === "string" && value.length <= longest && (pattern?.test(value) ?? true);
}

/** One of some texts: the own keys of a table. */
export function keyOf<K extends string>(table: Readonly<Record<K, unknown>>): Shape<K> {
  return (value): value is K => typeof value === "string" && Object.hasOwn(table, value);
}

/** True or false. */
export function flag(value: unknown): value is boolean {
  return typeof value === "boolean";
}

/** An address in its usual text form, the only one it has. */
export function address(value: unknown): value is string {
  return typeof value === "string" && value.length <= 45 && parseIp(value)?.text === value;
}

/** What the shape takes, or null. */
export function orNull<T>(shape: Shape<T>): Shape<T | null> {
  return (value): value is T | null => value === null || shape(value);
}

/** A list of at most that many. */
export function listOf<T>(shape: Shape<T>, most: number): Shape<readonly T[]> {
  return (value): value is readonly T[] =>
    Array.isArray(value) && value.length <= most && value.every((item) => shape(item));
}

/** An object with these members and no others. */
export function object<T extends object>(
  shapes: { readonly [K in keyof T]-?: Shape<T[K]> },
): Shape<T> {
  const members = Object.entries(shapes) as [string, Shape<unknown>][];
  return (value): value is T =>
    typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.keys(value).length === members.length &&
    members.every(([name, shape]) =>
      Object.hasOwn(value, name) && shape((value as Record<string, unknown>)[name])
    );
}

/** The one value. */
export function exactly<T extends string>(wanted: T): Shape<T> {
  return (value): value is T => value === wanted;
}
