// The values that tell nftables where grants go: NFT_ATTACH, NFT_MARK, ENABLE_DEFAULT_DROP.

import { failed, type Parsed } from "./net_list.ts";
import { parsePortList, type ProtocolPort } from "./net_port.ts";

/** A chain of nftables. */
export interface NftChainName {
  readonly family: "ip" | "ip6" | "inet";
  readonly table: string;
  readonly chain: string;
}

/** Reads NFT_ATTACH: chains, one a hook or one for each IP version, with commas between them. */
export function parseNftChains(text: string): Parsed<readonly NftChainName[]> {
  const chains: NftChainName[] = [];
  for (const part of text.split(",")) {
    const chain = parseNftChain(part.trim());
    if (!chain.ok) return chain;
    chains.push(chain.value);
  }
  return { ok: true, value: chains };
}

/** Reads a chain's name: family, table and chain, with blanks between them. */
function parseNftChain(text: string): Parsed<NftChainName> {
  const [family = "", table = "", chain = "", ...more] = text.trim().split(/\s+/);
  const hint = "write the family, the table and the chain, as in: inet filter input";
  if (family !== "ip" && family !== "ip6" && family !== "inet") {
    return failed(0, text, `Invalid family in NFT_ATTACH: '${family}'`, hint);
  }
  // Identifiers of nft(8); what else a name may hold would need its quotes.
  const isName = (word: string): boolean => /^[A-Za-z_][\w./\\-]*$/.test(word);
  if (!isName(table) || !isName(chain) || more.length > 0) {
    return failed(0, text, `Invalid chain in NFT_ATTACH: '${text}'`, hint);
  }
  return { ok: true, value: { family, table, chain } };
}

/** Reads NFT_MARK: a packet mark of 1 to 0xffffffff, decimal or with 0x. */
export function parseNftMark(text: string): Parsed<number> {
  const value = /^(?:0x[\da-f]{1,8}|[1-9]\d{0,9})$/i.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= 0xffffffff) return { ok: true, value };
  const why = `Invalid NFT_MARK setting '${text}'`;
  return failed(0, text, why, "write a number of 1 to 0xffffffff, as in: 0x5ba");
}

/** Reads ENABLE_DEFAULT_DROP: the ports to hide, or `N` for none. */
export function parseHiddenPorts(text: string): Parsed<readonly ProtocolPort[]> {
  if (/^no?$/i.test(text)) return { ok: true, value: [] };
  if (/^y(?:es)?$/i.test(text)) {
    const why = "ENABLE_DEFAULT_DROP needs the ports to hide";
    return failed(0, text, why, "write them as in: tcp/22,udp/1194");
  }
  return parsePortList(text);
}
