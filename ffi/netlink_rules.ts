// Whether a rule of nftables is in force, asked of the kernel itself: libnftables could tell only by
// listing the chain with all elements of its table, or after a grace period of the kernel's.
// Messages are those of linux/netfilter/nfnetlink.h and nf_tables.h.

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
} as const;

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_NETFILTER = 12;
const MSG_DONTWAIT = 0x40;
const NLM_F_REQUEST = 1;
const NLMSG_ERROR = 2;
/** NFNL_SUBSYS_NFTABLES in the upper byte. */
const NFT_MSG_NEWRULE = 10 << 8 | 6;
const NFT_MSG_GETRULE = 10 << 8 | 7;
const NFTA_RULE_TABLE = 1;
const NFTA_RULE_CHAIN = 2;
const NFTA_RULE_HANDLE = 3;
const NFPROTO = { inet: 1, ip: 2, ip6: 10 } as const;
const ENOENT = 2;
/** Bytes of an answer that matter: struct nlmsghdr, and the number of an error. */
const ANSWER_BYTES = 20;

/** A rule by its handle. */
export interface RuleHandle {
  readonly family: keyof typeof NFPROTO;
  readonly table: string;
  readonly chain: string;
  readonly handle: number;
}

/** Tells whether a rule is in force; null when the kernel does not say. */
export type AskForRule = (rule: RuleHandle) => boolean | null;

/**
 * Opens what asks for rules in the network namespace that the calling thread is in now; null where
 * there is no such socket.
 */
export function openRuleAsker(): AskForRule | null {
  const c = load();
  const fd = c?.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_NETFILTER) ?? -1;
  if (c === null || fd < 0) return null;
  const answer = new Uint8Array(ANSWER_BYTES);
  const view = new DataView(answer.buffer);
  let sequence = 0;
  return (rule) => {
    sequence = sequence + 1 >>> 0;
    const request = requestFor(rule, sequence);
    if (Number(c.send(fd, request, BigInt(request.length), 0)) !== request.length) return null;
    // The kernel answers before send() returns; what is left of an earlier request is passed over.
    while (Number(c.recv(fd, answer, BigInt(ANSWER_BYTES), MSG_DONTWAIT)) === ANSWER_BYTES) {
      if (view.getUint32(8, true) !== sequence) continue;
      const type = view.getUint16(4, true);
      if (type === NFT_MSG_NEWRULE) return true;
      return type === NLMSG_ERROR && view.getInt32(16, true) === -ENOENT ? false : null;
    }
    return null;
  };
}

function requestFor(
  { family, table, chain, handle }: RuleHandle,
  sequence: number,
): Uint8Array<ArrayBuffer> {
  const number = new Uint8Array(8);
  new DataView(number.buffer).setBigUint64(0, BigInt(handle));
  const attributes = [
    attribute(NFTA_RULE_TABLE, zeroEnded(table)),
    attribute(NFTA_RULE_CHAIN, zeroEnded(chain)),
    attribute(NFTA_RULE_HANDLE, number),
  ];
  const length = attributes.reduce((sum, bytes) => sum + bytes.length, 20);
  // struct nlmsghdr { len u32, type u16, flags u16, seq u32, pid u32 }, then
  // struct nfgenmsg { family u8, version u8, res_id u16 }
  const message = new Uint8Array(length);
  const view = new DataView(message.buffer);
  view.setUint32(0, length, true);
  view.setUint16(4, NFT_MSG_GETRULE, true);
  view.setUint16(6, NLM_F_REQUEST, true);
  view.setUint32(8, sequence, true);
  view.setUint8(16, NFPROTO[family]);
  let offset = 20;
  for (const bytes of attributes) {
    message.set(bytes, offset);
    offset += bytes.length;
  }
  return message;
}

/** struct nlattr { len u16, type u16 } and the value, filled up to four bytes. */
function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + value.length + 3 & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, 4);
  return bytes;
}

function zeroEnded(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

function load(): Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | null {
  try {
    return Deno.dlopen("libc.so.6", SYMBOLS).symbols;
  } catch {
    return null;
  }
}
