/** Which relays a transceiver takes for gone, and which it then tries. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RELAY_GONE_MS, SEEK_RELAYS } from "../../src/transceiver/limits.ts";
import { RelayWatch } from "../../src/transceiver/relay-watch.ts";
import type { RelayPortState } from "../../src/transceiver/trunk-end.ts";

const NOW = 100_000;

function port(relay: number, number: number, heardMs: number, over: Partial<RelayPortState> = {}): RelayPortState {
  const base = { id: (relay << 8) | number, epoch: 1n, address: "10.0.0.1", port: 7_000 + relay * 10 + number };
  return { ...base, heardMs, ...over };
}
const watch = (...ports: RelayPortState[]): RelayWatch => new RelayWatch(() => ports);

test("a relay is gone when none of its ports has been heard of", () => {
  const worker = port(1, 1, NOW - 10_000);
  assert.equal(watch(port(1, 0, NOW - 100), worker).isGone(worker.id, NOW), false);
  assert.equal(watch(port(1, 0, NOW - 5_000), port(1, 2, NOW - 100), worker).isGone(worker.id, NOW), false);
  assert.equal(watch(port(1, 0, NOW - RELAY_GONE_MS), worker).isGone(worker.id, NOW), true);
  assert.equal(watch(port(1, 0, NOW - RELAY_GONE_MS + 1), worker).isGone(worker.id, NOW), false);
});

test("a relay is gone when another process answers in its place", () => {
  const worker = port(1, 1, NOW - 1_000);
  const control = port(1, 0, NOW - 1_000);
  const follower = port(2, 0, NOW - 50, { port: control.port });
  const elsewhere = port(2, 0, NOW - 50);
  assert.equal(watch(control, worker, follower).isGone(worker.id, NOW), true);
  assert.equal(watch(control, worker, elsewhere).isGone(worker.id, NOW), false);
  const restarted = port(1, 0, NOW - 50, { epoch: 2n });
  assert.equal(watch(restarted, worker).isGone(worker.id, NOW), true);
});

test("those that are tried are control ports of relays that are there, the latest first, and few", () => {
  const gone = port(1, 0, NOW - RELAY_GONE_MS);
  const workerOnly = port(2, 1, NOW - 10);
  const controls = Array.from({ length: 6 }, (_, i) => port(10 + i, 0, NOW - 100 * i));
  const latest = controls.slice(0, SEEK_RELAYS).map(({ id }) => id);
  assert.deepEqual(watch(gone, workerOnly, ...controls.toReversed()).present(NOW), latest);
});

test("a relay port that the trunk has forgotten is gone", () => {
  assert.equal(watch(port(1, 0, NOW)).isGone(port(1, 1, NOW).id, NOW), true);
});

test("live are the ports heard of in the last 3 s", () => {
  assert.equal(watch(port(1, 0, NOW), port(1, 1, NOW - 2_999), port(1, 2, NOW - 3_000)).live(NOW), 2);
});
