// Giving up privileges on Deno: those of the system, then those of the runtime.

import { loadConfiner } from "../ffi/libc_confinement.ts";
import { socketsOf } from "../ffi/libc_descriptor.ts";
import type { Confinement } from "./host.ts";

const PERMISSIONS = ["read", "write", "net", "env", "run", "sys", "ffi", "import"] as const;

/** Loads what gives up privileges; see `Host`. */
export function loadConfinement(): Confinement {
  const confiner = loadConfiner(Deno.build.arch);
  return {
    ignoreSignals: confiner.ignoreSignals,
    confine(account, parent) {
      setUpSignals();
      const readOnly = [...socketsOf()];
      const pid = Deno.pid;
      confiner.becomeUser(account);
      checkCapabilities();
      const notes = confiner.lock({ pid, parent, readOnly });
      for (const name of PERMISSIONS) Deno.permissions.revokeSync({ name });
      return notes;
    },
  };
}

/** The runtime makes its pipe for signals when it first wants it, which no longer works later. */
function setUpSignals(): void {
  const listener = (): void => {};
  Deno.addSignalListener("SIGUSR2", listener);
  Deno.removeSignalListener("SIGUSR2", listener);
}

/** Flags that systemd and others can set let capabilities outlive a change of the user. */
function checkCapabilities(): void {
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    const status = Deno.readTextFileSync(`/proc/self/task/${name}/status`);
    if (/^Cap(?:Eff|Prm|Amb):\s*0*[1-9a-f]/m.test(status)) {
      throw new Error("cannot give up capabilities: they outlive the change of the user");
    }
  }
}
