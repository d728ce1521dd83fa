/** Which relays a path's transceiver takes to know it, so that a session's end can be told to all of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { mayKnow, PathBook } from "../../src/transceiver/client-path.ts";
import { MAX_OTHER_RELAYS } from "../../src/transceiver/limits.ts";
import { pathBytes } from "../../src/trunk/path.ts";

const KEY = pathBytes(1, "10.0.0.1", 5_000).toString("latin1");
/** Port 0 of a relay is its control plane's. */
const port = (relay: number, number = 0): number => ((relay << 8) | number) >>> 0;

function heldPath(relayPort: number) {
  const book = new PathBook();
  const path = book.arrival(KEY, relayPort);
  book.hold(path);
  return { path, comesBy: (next: number) => assert.equal(book.arrival(KEY, next), path) };
}

test("a path that moves between ports of one relay is known by no other", () => {
  const { path, comesBy } = heldPath(port(7, 1));
  for (const number of [2, 1, 0]) comesBy(port(7, number));
  assert.deepEqual([path.relayPort, path.otherRelays], [port(7, 0), []]);
});

test("relays that a path has come by may know it still, each once, and the present one is not among them", () => {
  const { path, comesBy } = heldPath(port(0xffffff, 1));
  comesBy(port(8, 2));
  comesBy(port(9, 1));
  assert.deepEqual(path.otherRelays, [port(0xffffff), port(8)]);
  comesBy(port(8, 1));
  assert.deepEqual([path.relayPort, path.otherRelays], [port(8, 1), [port(0xffffff), port(9)]]);
});

test("a relay that was told whose the path is may know it, before anything has come by it", () => {
  const { path, comesBy } = heldPath(port(7, 1));
  mayKnow(path, port(7));
  assert.deepEqual(path.otherRelays, []);
  mayKnow(path, port(8));
  mayKnow(path, port(8));
  assert.deepEqual(path.otherRelays, [port(8)]);
  comesBy(port(8, 3));
  assert.deepEqual(path.otherRelays, [port(7)]);
});

test("of more relays than it remembers it keeps the latest", () => {
  const { path, comesBy } = heldPath(port(1, 1));
  for (let relay = 2; relay <= MAX_OTHER_RELAYS + 3; relay++) comesBy(port(relay, 1));
  const expected = Array.from({ length: MAX_OTHER_RELAYS }, (_, index) => port(3 + index));
  assert.deepEqual(path.otherRelays, expected);
});
