/**
 * Owns the equations that the counters of relay and transceiver promise at quiescence (native/core/counters.def,
 * src/transceiver/counters.ts), and one for the trunk between them.
 */
import assert from "node:assert/strict";
import type { Metrics } from "./metrics.ts";

type Equation = readonly [what: string, left: number, right: number];

/** Of a relay's uplink. */
function upEquations(metrics: Metrics): readonly Equation[] {
  const relay = (name: string): number => metrics.sum(`earshot_relay_${name}_total`);
  const relayAll = (prefix: string): number => metrics.sumOfAll(`earshot_relay_${prefix}`);
  return [
    ["nothing is held", metrics.sum("earshot_relay_held"), 0],
    ["up_received", relay("up_received"), relay("up_forwarded") + relayAll("up_drop_") + relayAll("miss_drop_")],
    ["up_missed", relay("up_missed"), relay("up_reoffered") + relayAll("miss_drop_")],
    ["up_held", relay("up_held"), relay("up_released")],
  ];
}

/** The trunk's hold only where the kernel dropped nothing. */
function equations(metrics: Metrics): readonly Equation[] {
  const relay = (name: string): number => metrics.sum(`earshot_relay_${name}_total`);
  const relayAll = (prefix: string): number => metrics.sumOfAll(`earshot_relay_${prefix}`);
  const transceiver = (name: string): number => metrics.sum(`earshot_transceiver_${name}_total`);
  const transceiverAll = (prefix: string): number => metrics.sumOfAll(`earshot_transceiver_${prefix}`);
  return [
    ...upEquations(metrics),
    ["down_received", relay("down_received"), relay("down_accepted") + relayAll("down_drop_")],
    [
      "relay frame_received",
      relay("frame_received"),
      relay("frame_forwarded") + relay("frame_control") + relayAll("frame_drop_"),
    ],
    ["the kernel dropped nothing", relayAll("kernel_drops"), 0],
    [
      "frames up the trunk",
      relay("up_forwarded") + relay("up_copied"),
      transceiver("frame_data") + transceiver("frame_malformed"),
    ],
    ["trunk_received", transceiver("trunk_received"), transceiver("trunk_accepted") + transceiverAll("trunk_drop_")],
    [
      "transceiver frame_received",
      transceiver("frame_received"),
      transceiver("frame_data") + transceiver("frame_unknown_path") + transceiver("frame_ping"),
    ],
    [
      "frame_data",
      transceiver("frame_data"),
      transceiver("client_request_answered") +
        transceiver("client_request_refused") +
        transceiver("client_response_accepted") +
        transceiver("client_delivered") +
        transceiverAll("client_drop_"),
    ],
    // Pongs go to the relay's control plane, which is no worker.
    ["frames down the trunk", transceiver("frame_sent") - transceiver("frame_ping"), relay("frame_received")],
  ];
}

export function isBalanced(metrics: Metrics): boolean {
  return equations(metrics).every(([, left, right]) => left === right);
}

export function assertBalanced(metrics: Metrics): void {
  assertEqual(equations(metrics));
}

/** The same of a relay's uplink alone, where not all of the rest is at rest. */
export function assertUpBalanced(metrics: Metrics): void {
  assertEqual(upEquations(metrics));
}

function assertEqual(sides: readonly Equation[]): void {
  assert.deepEqual(
    Object.fromEntries(sides.map(([what, left]) => [what, left])),
    Object.fromEntries(sides.map(([what, , right]) => [what, right])),
  );
}
