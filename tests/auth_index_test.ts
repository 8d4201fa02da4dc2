import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { indexAddresses } from "../lib/auth_index.ts";
import {
  type AddressList,
  addressListHas,
  ipFromValue,
  type IpVersion,
  parseAddressList,
  parseIp,
} from "../lib/net_address.ts";

function listOf(text: string): AddressList {
  const list = parseAddressList(text);
  if (!list.ok) throw new Error(text);
  return list.value;
}

/** Addresses near each other, so that lists overlap and addresses are in some of them. */
const arbitraryAddress = fc.record({
  version: fc.constantFrom<IpVersion>(4, 6),
  low: fc.nat(300),
  top: fc.boolean(),
}).map(({ version, low, top }) => {
  const most = (1n << (version === 4 ? 32n : 128n)) - 1n;
  return ipFromValue(version, top ? most - BigInt(low) : BigInt(low));
});

const arbitraryList: fc.Arbitrary<AddressList | null> = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom(null, listOf("ANY"), listOf("ANY, 192.0.2.1")) },
  {
    weight: 8,
    arbitrary: fc.array(
      fc.record({ from: arbitraryAddress, length: fc.nat(70) }),
      { minLength: 1, maxLength: 3 },
    ).map((items): AddressList => ({
      any: false,
      text: "",
      ranges: items.map(({ from: { version, value }, length }) => {
        const most = (1n << (version === 4 ? 32n : 128n)) - 1n;
        const last = value + BigInt(length);
        return { version, first: value, last: last > most ? most : last };
      }),
    })),
  },
);

Deno.test("an index gives the lists that have an address, in order, each once", () => {
  fc.assert(
    fc.property(fc.array(arbitraryList, { maxLength: 20 }), arbitraryAddress, (lists, address) => {
      const expected = [...lists.keys()].filter((position) => {
        const list = lists[position];
        return list === null || (list !== undefined && addressListHas(list, address));
      });
      deepStrictEqual([...indexAddresses(lists).positionsOf(address)], expected);
    }),
    { numRuns: 500 },
  );
});

Deno.test("an index finds prefixes of every length, and neither version in the other", () => {
  const texts = [
    ...Array.from({ length: 32 }, (_, bits) => `203.0.113.77/${bits + 1}`),
    ...Array.from({ length: 128 }, (_, bits) => `2001:db8::cb00:714d/${bits + 1}`),
  ];
  const index = indexAddresses(texts.map(listOf));
  const found = (text: string): number => {
    const address = parseIp(text);
    return address === null ? -1 : index.positionsOf(address).length;
  };
  strictEqual(found("203.0.113.77"), 32);
  strictEqual(found("203.0.113.76"), 31);
  strictEqual(found("2001:db8::cb00:714d"), 128);
  strictEqual(found("2001:db8::cb00:714c"), 127);
  strictEqual(found("::cb00:714d"), 2);
});
