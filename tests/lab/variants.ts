// Tests that run with both variants of iptables.

import { type Lab, labMissing, openLab } from "./lab.ts";

const VARIANTS = ["/usr/sbin/iptables-nft", "/usr/sbin/iptables-legacy"] as const;

/**
 * Runs a test with both variants at the same time, each in a lab of its own: they wait most of the
 * time.
 *
 * @param missing why the test cannot run; null when it can
 */
export function onBothVariants(
  name: string,
  body: (lab: Lab, iptables: string) => Promise<void>,
  missing: string | null = labMissing(),
): void {
  async function inLab(iptables: string): Promise<void> {
    const lab = await openLab(iptables);
    try {
      await body(lab, iptables);
    } catch (error) {
      throw new Error(`with ${iptables}`, { cause: error });
    } finally {
      await lab.close();
    }
  }
  Deno.test({
    name: missing === null ? name : `${name} (${missing})`,
    ignore: missing !== null,
    fn: async () => {
      const outcomes = await Promise.allSettled(VARIANTS.map(inLab));
      for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    },
  });
}
