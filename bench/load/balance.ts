/** The relay's accounting equations (native/core/counters.def), as differences that are zero when nothing is under way. */
import { WORKER_COUNTERS } from "../../src/engine/counters.ts";
import type { Metrics } from "../../test/kit/metrics.ts";

export interface Differences {
  readonly up: number;
  readonly down: number;
  readonly frame: number;
}

/** Over all workers: every Binding request that waited has been decided on too. */
export function balance(metrics: Metrics): Differences {
  const { up, down, frame } = sides(metrics, "");
  return { up: up - metrics.sumOfAll("earshot_relay_miss_drop_"), down, frame };
}

/**
 * Of one worker, from 1. Which worker a request came from is forgotten once it is dropped, so here those that have not come
 * back are taken from the difference, whatever became of them.
 */
export function workerBalance(metrics: Metrics, worker: number): Differences {
  const label = `worker="${worker}"`;
  const { up, down, frame } = sides(metrics, label);
  const away =
    metrics.sum("earshot_relay_up_missed_total", label) - metrics.sum("earshot_relay_up_reoffered_total", label);
  return { up: up - away, down, frame };
}

function sides(metrics: Metrics, label: string): Differences {
  const one = (name: string) => metrics.sum(`earshot_relay_${name}_total`, label);
  const drops = (stage: string) =>
    WORKER_COUNTERS.reduce((sum, { name }) => (name.startsWith(`${stage}_drop_`) ? sum + one(name) : sum), 0);
  return {
    up: one("up_received") - one("up_forwarded") - drops("up"),
    down: one("down_received") - one("down_accepted") - drops("down"),
    frame: one("frame_received") - one("frame_forwarded") - one("frame_control") - drops("frame"),
  };
}
