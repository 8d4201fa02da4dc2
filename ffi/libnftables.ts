// libnftables: what the program nft does, in this process. Commands and answers are the same text;
// see libnftables(3).

import { loadSetInherited, socketsOf } from "./libc_descriptor.ts";
import { type AskForRule, openRuleAsker } from "./netlink_rules.ts";

const SYMBOLS = {
  nft_ctx_new: { parameters: ["u32"], result: "pointer" },
  nft_ctx_buffer_output: { parameters: ["pointer"], result: "i32" },
  nft_ctx_buffer_error: { parameters: ["pointer"], result: "i32" },
  nft_ctx_output_set_flags: { parameters: ["pointer", "u32"], result: "void" },
  nft_ctx_set_dry_run: { parameters: ["pointer", "bool"], result: "void" },
  nft_run_cmd_from_buffer: { parameters: ["pointer", "buffer"], result: "i32" },
  runOnOtherThread: {
    name: "nft_run_cmd_from_buffer",
    parameters: ["pointer", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  nft_ctx_get_output_buffer: { parameters: ["pointer"], result: "pointer" },
  nft_ctx_get_error_buffer: { parameters: ["pointer"], result: "pointer" },
  nft_ctx_free: { parameters: ["pointer"], result: "void" },
} as const;

/** `enum` of nftables/libnftables.h: how answers are written. */
const OUTPUT_FLAGS = {
  stateless: 1 << 2,
  handle: 1 << 3,
  json: 1 << 4,
  terse: 1 << 11,
} as const;

/** How an answer is written, by nft's options of these names. */
export type NftOutput = keyof typeof OUTPUT_FLAGS;

/**
 * How commands are run. `apart`: on a thread of their own, beside which packets keep coming.
 * `at once`: by this thread, for what takes the kernel but a fraction of a millisecond. `check`: as
 * `apart`, but the kernel only tells whether it would take them, and changes nothing.
 */
export type NftManner = "apart" | "at once" | "check";

/** What became of commands. */
export interface NftAnswer {
  readonly ok: boolean;
  readonly output: string;
  /** As nft writes it to its standard error. */
  readonly error: string;
}

/** The library, ready for commands. */
export interface Nftables {
  /**
   * Runs commands as one transaction, after those that were given before.
   *
   * @param manner `apart` by default
   */
  run(commands: string, output: readonly NftOutput[], manner?: NftManner): Promise<NftAnswer>;
  /** Tells at once whether a rule is in force; null where only a check of its deletion can tell. */
  readonly hasRule: AskForRule;
}

/**
 * Loads libnftables; null when it is not installed. It talks to the network namespace that the
 * calling thread is in now.
 */
export function openNftables(): Nftables | null {
  const library = load();
  if (library === null) return null;
  const nft = library.symbols;
  const first = createContext(nft);
  if (first === null) return null;
  let context = first;
  const encoder = new TextEncoder();
  let last: Promise<unknown> = Promise.resolve();
  /** Held here, since another thread may read it while nobody else knows of it. */
  let text = new Uint8Array();

  async function answer(
    commands: string,
    output: readonly NftOutput[],
    manner: NftManner,
  ): Promise<NftAnswer> {
    nft.nft_ctx_output_set_flags(
      context,
      output.reduce((sum, name) => sum | OUTPUT_FLAGS[name], 0),
    );
    nft.nft_ctx_set_dry_run(context, manner === "check");
    text = encoder.encode(`${commands}\0`);
    const status = manner === "at once"
      ? nft.nft_run_cmd_from_buffer(context, text)
      : await nft.runOnOtherThread(context, text);
    const result = {
      ok: status === 0,
      output: textAt(nft.nft_ctx_get_output_buffer(context)),
      error: textAt(nft.nft_ctx_get_error_buffer(context)),
    };
    if (result.output.length > LONG_ANSWER) startAfresh();
    return result;
  }

  /** A context keeps all that it has listed, twenty times the text. */
  function startAfresh(): void {
    const next = createContext(nft);
    if (next === null) return;
    nft.nft_ctx_free(context);
    context = next;
    trimHeap();
  }

  return {
    hasRule: openRuleAsker() ?? (() => null),
    run(commands, output, manner = "apart") {
      // A context takes one command at a time.
      const result = last.then(() => answer(commands, output, manner));
      last = result.catch(() => {});
      return result;
    },
  };
}

/** Characters. */
const LONG_ANSWER = 1 << 20;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>;

function createContext(nft: Library["symbols"]): Deno.PointerObject | null {
  const before = socketsOf();
  const context = nft.nft_ctx_new(0);
  if (context === null) return null;
  const setInherited = loadSetInherited();
  for (const fd of socketsOf().difference(before)) setInherited(fd, false);
  if (nft.nft_ctx_buffer_output(context) === 0 && nft.nft_ctx_buffer_error(context) === 0) {
    return context;
  }
  nft.nft_ctx_free(context);
  return null;
}

/** glibc gives memory back to the system only when it is asked; other C libraries do by themselves. */
function trimHeap(): void {
  const symbols = { malloc_trim: { parameters: ["usize"], result: "i32" } } as const;
  try {
    const libc = Deno.dlopen("libc.so.6", symbols);
    libc.symbols.malloc_trim(0n);
    libc.close();
  } catch {
    // not glibc
  }
}

function load(): Library | null {
  try {
    return Deno.dlopen("libnftables.so.1", SYMBOLS);
  } catch {
    return null;
  }
}

function textAt(pointer: Deno.PointerValue): string {
  return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}
