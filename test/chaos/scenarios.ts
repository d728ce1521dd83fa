/** All scenarios, in the order in which they run. */
import type { Scenario } from "./scenario.ts";
import { relayGoneWithoutRedis } from "./scenarios/relay-gone.ts";

export const SCENARIOS: readonly Scenario[] = [relayGoneWithoutRedis];
