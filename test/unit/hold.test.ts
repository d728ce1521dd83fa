/** What the JS engine holds over time, which real sockets cannot show. test/native/hold_test.cc asks the same of the native one. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  HELD_CHUNK_BYTES,
  HELD_CHUNKS,
  HELD_PER_PATH,
  HOLD_AGAIN_MS,
  HOLD_ASKS,
  HOLD_ASKS_MS,
  Hold,
} from "../../src/engine/js/hold.ts";
import { pathBytes } from "../../src/trunk/path.ts";

const pathOf = (n: number): Buffer => pathBytes(1, `10.0.${n >> 8}.${n & 255}`, 5_000);

let nowMs: number;
let asked: number;
let hold: Hold;

beforeEach(() => {
  nowMs = 1_000;
  asked = 0;
  hold = new Hold();
});

const put = (n: number, mark = 0, mayAsk = true): string =>
  hold.put(pathOf(n), Buffer.of(mark), nowMs, nowMs + 1_000, () => {
    asked += mayAsk ? 1 : 0;
    return mayAsk;
  });

function settle(n: number): number[] {
  const marks: number[] = [];
  hold.settle(pathOf(n), nowMs, (_path, datagram) => marks.push(datagram[0]!));
  return marks;
}

test("a path is asked about once, holds so many, and gives them back in order", () => {
  const marks = Array.from({ length: HELD_PER_PATH }, (_, i) => i);
  for (const mark of marks) assert.deepEqual([put(1, mark), put(2, 100)], ["held", "held"]);
  assert.equal(put(1, 99), "full");
  assert.equal(asked, 2);
  assert.deepEqual([settle(1), settle(1), settle(3)], [marks, [], []]);
  assert.equal(settle(2).length, HELD_PER_PATH);
});

test("a path that was settled is not held again for a while", () => {
  put(1, 1);
  settle(1);
  nowMs += HOLD_AGAIN_MS - 1;
  assert.equal(put(1, 2), "settled-lately");
  nowMs += 1;
  assert.equal(put(1, 3), "held");
  assert.deepEqual([settle(1), asked], [[3], 2]);
});

test("so many paths are asked about at a time, and none while nobody can be asked", () => {
  assert.equal(put(0, 0, false), "full");
  const outcomes = Array.from({ length: 2 * HOLD_ASKS }, (_, n) => put(n));
  assert.equal(outcomes.filter((outcome) => outcome === "held").length, HOLD_ASKS);
  assert.equal(put(1, 0, false), "held");
  nowMs += HOLD_ASKS_MS;
  assert.equal(put(HOLD_ASKS), "held");
});

test("so many datagrams are held in all, by their size, again and again", () => {
  const [chunks, datagram] = [8, Buffer.alloc(8 * HELD_CHUNK_BYTES)];
  for (let round = 0; round < 3; round++) {
    let held = 0;
    for (let n = 0; n < 2 * (HELD_CHUNKS / chunks); n++) {
      if (n % HOLD_ASKS === 0) nowMs += HOLD_ASKS_MS;
      if (hold.put(pathOf(round * 10_000 + n), datagram, nowMs, nowMs, () => true) === "held") held++;
    }
    assert.equal(held, HELD_CHUNKS / chunks);
    let released = 0;
    hold.settleAll(() => released++);
    assert.equal(released, held);
  }
});
