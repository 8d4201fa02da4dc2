// What a plain knock must not touch, since loading it costs more than the knock.

import assert from "node:assert/strict";
import { run } from "./lab/process.ts";

const ROOT = new URL("..", import.meta.url).pathname;

interface ModuleGraph {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly isDynamic?: boolean;
      readonly code?: { readonly specifier?: string };
    }[];
  }[];
}

/** Every module that is loaded together with one, by its path in the checkout. */
async function loadedWith(entry: string): Promise<string[]> {
  const info = await run([Deno.execPath(), "info", "--json", `${ROOT}${entry}`], { cwd: ROOT });
  const { modules }: ModuleGraph = JSON.parse(info.stdout);
  const loaded = new Set([`file://${ROOT}${entry}`]);
  for (const specifier of loaded) {
    const found = modules.find((module) => module.specifier === specifier);
    for (const { isDynamic, code } of found?.dependencies ?? []) {
      if (!isDynamic && code?.specifier !== undefined) loaded.add(code.specifier);
    }
  }
  return [...loaded].map((specifier) => specifier.replace(`file://${ROOT}`, ""));
}

Deno.test("spa knock loads no server, no library of the system and no rare feature", async () => {
  const loaded = await loadedWith("lib/cmd_knock.ts");
  assert.ok(loaded.includes("lib/spa_packet.ts"));
  const unwanted = /^node:|commander|^ffi\/|^lib\/(?:auth|fw|conf_access|conf_fwknopd)_/;
  const rare = /^lib\/cmd_(?:knock_(?:gpg|raw|resolve|run|save)|keygen|help|serve)/;
  assert.deepEqual(loaded.filter((path) => unwanted.test(path) || rare.test(path)), []);
});

Deno.test("spa knock over UDP starts no timer and no program", async () => {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  try {
    const { port } = socket.addr as Deno.NetAddr;
    const args = [
      ...["knock", "--no-rc-file", "--no-save-args", "-A", "tcp/22", "-a", "1.2.3.4"],
      ...["-D", "127.0.0.1", "-p", `${port}`, "--key-rijndael", "k", "--key-hmac", "h"],
    ];
    const script = `
      for (const [owner, name] of [
        [globalThis, "setTimeout"], [globalThis, "setInterval"], [Deno, "Command"],
      ]) {
        const get = () => { throw new Error(name + " is used"); };
        Object.defineProperty(owner, name, { get });
      }
      const { dispatch } = await import(${JSON.stringify(`${ROOT}main.ts`)});
      const { denoHost } = await import(${JSON.stringify(`${ROOT}lib/host_deno.ts`)});
      Deno.exit(await dispatch("spa", ${JSON.stringify(args)}, denoHost()));
    `;
    const deno = [Deno.execPath(), "run", "--allow-all", "--quiet", "--unstable-net"];
    const { status, stderr } = await run([...deno, "--config", `${ROOT}deno.json`, "-"], {
      input: script,
    });
    assert.deepEqual([status, stderr], [0, ""]);
    const [packet] = await socket.receive();
    assert.ok(packet.length > 100);
  } finally {
    socket.close();
  }
});
