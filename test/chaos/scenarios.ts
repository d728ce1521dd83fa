/** All scenarios, in the order in which they run. */
import type { Scenario } from "./scenario.ts";
import { keeperKilled } from "./scenarios/keeper-killed.ts";
import { relayGoneWithoutRedis } from "./scenarios/relay-gone.ts";

import { tableDamaged } from "./scenarios/table-damaged.ts";
import { upgrade } from "./scenarios/upgrade.ts";
import { workerKilled } from "./scenarios/worker-killed.ts";

export const SCENARIOS: readonly Scenario[] = [
  workerKilled,
  upgrade,
  tableDamaged,
  keeperKilled,
  relayGoneWithoutRedis,
];
