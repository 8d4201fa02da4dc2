// What commander gets in place of Node.js modules inside the executable; docs/executable.md says
// why. The bundler copies this function's text into the bundle, so it must not use anything outside.

type Listener = (...values: unknown[]) => void;

/** The modules by name, as far as commander uses them for parsing, help texts and errors. */
// deno-lint-ignore explicit-function-return-type
function makeStandIns() {
  const missing = (name: string): never => {
    throw new Error(`this executable is built without ${name}`);
  };

  /** An object with these members that throws for every other name. */
  const only = <Members extends object>(module: string, members: Members): Members =>
    new Proxy(members, {
      get: (target, name) =>
        Reflect.has(target, name)
          ? Reflect.get(target, name)
          : missing(`${module} (${String(name)})`),
    });

  class EventEmitter {
    #listeners = new Map<string, Listener[]>();
    on(event: string, listener: Listener): this {
      this.#listeners.set(event, [...this.#listeners.get(event) ?? [], listener]);
      return this;
    }
    emit(event: string, ...values: unknown[]): boolean {
      const listeners = this.#listeners.get(event) ?? [];
      for (const listener of listeners) listener.apply(this, values);
      return listeners.length > 0;
    }
    listenerCount(event: string): number {
      return this.#listeners.get(event)?.length ?? 0;
    }
  }
  const omitted = [
    "addListener",
    "eventNames",
    "getMaxListeners",
    "listeners",
    "off",
    "once",
    "prependListener",
    "prependOnceListener",
    "rawListeners",
    "removeAllListeners",
    "removeListener",
    "setMaxListeners",
  ];
  for (const name of omitted) {
    Object.defineProperty(EventEmitter.prototype, name, {
      value: () => missing(`node:events (${name})`),
    });
  }

  const stream = (writer: typeof Deno.stdout | typeof Deno.stderr) => ({
    get isTTY(): boolean {
      return writer.isTerminal();
    },
    get columns(): number {
      return Deno.consoleSize().columns;
    },
    hasColors: (): boolean => !Deno.noColor,
    write: (text: string): boolean => {
      let rest: Uint8Array = new TextEncoder().encode(text);
      while (rest.length > 0) rest = rest.subarray(writer.writeSync(rest));
      return true;
    },
  });
  const process = only("node:process", {
    env: new Proxy({} as Record<string, string>, {
      get: (_, name) => Deno.env.get(String(name)),
      has: (_, name) => Deno.env.has(String(name)),
    }),
    exit: (status?: number): never => Deno.exit(status),
    exitCode: undefined,
    stdout: stream(Deno.stdout),
    stderr: stream(Deno.stderr),
  });

  // Escape sequences as in ECMA-48: CSI ... final byte, OSC ... terminator, other escapes.
  const sequences =
    // deno-lint-ignore no-control-regex
    /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]/g;

  return {
    "node:child_process": { default: only("node:child_process", {}) },
    "node:events": { EventEmitter },
    "node:fs": { default: only("node:fs", {}) },
    "node:path": { default: only("node:path", {}) },
    "node:process": { default: process },
    "node:util": {
      stripVTControlCharacters: (text: string): string => String(text).replace(sequences, ""),
    },
  };
}

/** The stand-ins, made. */
export const standIns: () => Readonly<Record<string, Readonly<Record<string, unknown>>>> =
  makeStandIns;

/** An expression that makes the stand-ins, as JavaScript. */
export function standInsText(): string {
  return `(${makeStandIns.toString()})()`;
}
