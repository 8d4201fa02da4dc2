// What the places of grants come to in words, for the log and --exit-parse-config.

import { markText, type Place, type PlaceConfig } from "./fw_nftables_place.ts";
import { chainText, type FilterHook } from "./fw_nftables_ruleset.ts";
import type { Layout } from "./fw_nftables_script.ts";
import { formatPorts } from "./net_port.ts";

/** What to tell of everything of ours, a line each. */
export function describeLayout({ places, sets }: Layout, config: PlaceConfig): string[] {
  const translates = sets.some(({ action }) => action !== "accept");
  const lines = places.flatMap((place) => describePlace(place, config));
  return [
    ...new Set(lines),
    ...(translates ? ["nftables: addresses are translated in table inet spa"] : []),
  ];
}

/** What to tell of a place, a line each. */
export function describePlace(
  place: Place,
  config: Pick<PlaceConfig, "ENABLE_DOCKER" | "ENABLE_IPT_FORWARDING">,
): string[] {
  const { hook, table, hidden } = place;
  const docker = hook === "forward" && config.ENABLE_DOCKER;
  const subjects = [
    ...(hook !== "forward" || config.ENABLE_IPT_FORWARDING ? [SUBJECTS[hook]] : []),
    ...(docker ? ["grants to what Docker publishes"] : []),
  ];
  const grants = subjects.flatMap((subject) => describeGrants(place, subject));
  const what = `${formatPorts(hidden)}${docker ? ", published by Docker," : ""}`;
  const hides = `nftables: table ${table.family} ${table.table} hides ${what} from all but grants`;
  return [...grants, ...(hidden.length > 0 ? [hides] : [])];
}

function describeGrants(place: Place, subject: string): string[] {
  switch (place.kind) {
    case "attached":
      return [`nftables: ${subject} are accepted in chain ${chainText(place.chain)}`];
    case "own":
      return [];
    case "mark":
      return [`nftables: packets of ${subject} carry the mark ${markText(place.mark)}`];
    case "open":
      return [
        place.hook === "forward"
          ? "nftables: no chain drops what this host forwards, so that hides nothing"
          : "nftables: no chain drops what this host sends",
      ];
  }
}

const SUBJECTS: Readonly<Record<FilterHook, string>> = {
  input: "grants",
  forward: "forwarded grants",
  output: "answers to grants",
};
