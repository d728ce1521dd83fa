/** All scenarios, in the order in which they run. */
import type { Scenario } from "./scenario.ts";
import { browserCall } from "./scenarios/browser-call.ts";
import { keeperKilled } from "./scenarios/keeper-killed.ts";
import { preload, redisTrouble, relayGoneWithRedis } from "./scenarios/redis.ts";
import { relayGoneWithoutRedis } from "./scenarios/relay-gone.ts";
import { reshuffledWithoutRedis, reshuffledWithRedis } from "./scenarios/reshuffled.ts";
import { rebound, transceiverReplaced } from "./scenarios/strangers.ts";

import { tableDamaged } from "./scenarios/table-damaged.ts";
import { upgrade } from "./scenarios/upgrade.ts";
import { upgradeLayout } from "./scenarios/upgrade-layout.ts";
import { workerKilled } from "./scenarios/worker-killed.ts";

export const SCENARIOS: readonly Scenario[] = [
  workerKilled,
  upgrade,
  upgradeLayout,
  tableDamaged,
  keeperKilled,
  relayGoneWithRedis,
  relayGoneWithoutRedis,
  reshuffledWithRedis,
  reshuffledWithoutRedis,
  browserCall,
  preload,
  redisTrouble,
  transceiverReplaced,
  rebound,
];
