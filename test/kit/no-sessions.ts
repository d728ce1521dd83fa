/** Owns the wait for a service to have ended every call, at each place that counts them. */
import type { EarshotProcess } from "./earshot-process.ts";
import { eventually } from "./eventually.ts";
import type { Metrics } from "./metrics.ts";

/** The metrics that show it: no call with a Location, none in the transceiver. */
export function noSessions(service: EarshotProcess): Promise<Metrics> {
  return eventually(
    "no session is left",
    () => service.metrics(),
    (metrics) => metrics.sum("earshot_front_open_calls") + metrics.sum("earshot_transceiver_calls") === 0,
  );
}
