/** Which relays a transceiver takes for gone, and which it then tries. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RELAY_GONE_MS, SEEK_RELAYS } from "../../src/transceiver/limits.ts";
import { RelayWatch } from "../../src/transceiver/relay-watch.ts";
import type { RelayPort } from "../../src/transceiver/trunk-socket.ts";

const NOW = 100_000;

function port(relay: number, number: number, heardMs: number, over: Partial<RelayPort> = {}): RelayPort {
  const base = { id: (relay << 8) | number, epoch: 1n, address: "10.0.0.1", port: 7_000 + relay * 10 + number };
  return { ...base, heardMs, waiting: false, ...over } as RelayPort;
}
const watch = (...ports: RelayPort[]): RelayWatch => new RelayWatch(() => ports);

test("a relay is gone when none of its ports has been heard of", () => {
  const worker = port(1, 1, NOW - 10_000);
  assert.equal(watch(port(1, 0, NOW - 100), worker).isGone(worker, NOW), false);
  assert.equal(watch(port(1, 0, NOW - 5_000), port(1, 2, NOW - 100), worker).isGone(worker, NOW), false);
  assert.equal(watch(port(1, 0, NOW - RELAY_GONE_MS), worker).isGone(worker, NOW), true);
  assert.equal(watch(port(1, 0, NOW - RELAY_GONE_MS + 1), worker).isGone(worker, NOW), false);
});

test("a relay is gone when another process answers in its place", () => {
  const worker = port(1, 1, NOW - 1_000);
  const control = port(1, 0, NOW - 1_000);
  const follower = port(2, 0, NOW - 50, { port: control.port });
  const elsewhere = port(2, 0, NOW - 50);
  assert.equal(watch(control, worker, follower).isGone(worker, NOW), true);
  assert.equal(watch(control, worker, elsewhere).isGone(worker, NOW), false);
  const restarted = port(1, 0, NOW - 50, { epoch: 2n });
  assert.equal(watch(restarted, worker).isGone(worker, NOW), true);
});

test("those that are tried are control ports of relays that are there, the latest first, and few", () => {
  const gone = port(1, 0, NOW - RELAY_GONE_MS);
  const workerOnly = port(2, 1, NOW - 10);
  const controls = Array.from({ length: 6 }, (_, i) => port(10 + i, 0, NOW - 100 * i));
  assert.deepEqual(watch(gone, workerOnly, ...controls.toReversed()).present(NOW), controls.slice(0, SEEK_RELAYS));
});
