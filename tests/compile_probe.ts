// A program for compile_test.ts to make an executable of: tells what it sees of itself.

import { Command } from "@commander-js/extra-typings";

const [what, ...rest] = Deno.args;

/** What the process behind `path`, a file below /proc, sees. */
function zeroSeparated(path: string): string[] {
  return Deno.readTextFileSync(path).split("\0").slice(0, -1);
}

switch (what) {
  case "child": {
    const [program = "", ...args] = rest;
    const { code } = new Deno.Command(program, { args, stdout: "inherit" }).outputSync();
    Deno.exit(code);
    break;
  }
  case "exit":
    Deno.exit(Number(rest[0]));
    break;
  case "help":
    console.log(new Command("probe").option("--colour <name>", "paint").helpInformation());
    break;
  case "lazy":
    import("node:path").then(({ basename }) => console.log(basename("/a/b")));
    break;
  case "throw":
    throw new TypeError("as asked for");
  case "write":
    Deno.writeTextFileSync(new URL(Deno.mainModule), "changed");
    break;
  default:
    console.log(JSON.stringify({
      args: Deno.args,
      commandLine: zeroSeparated("/proc/self/cmdline"),
      environment: Deno.env.toObject(),
      executable: Deno.execPath(),
      isMain: import.meta.main,
      mainModule: Deno.mainModule,
      canSendDatagrams: typeof Deno.listenDatagram === "function",
    }));
}
