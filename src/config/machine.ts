/** What configuration needs to know about this machine. Reads the system; decides nothing. */
import { availableParallelism } from "node:os";
import type { Machine } from "./schema.ts";

export function thisMachine(): Machine {
  return { parallelism: availableParallelism() };
}
