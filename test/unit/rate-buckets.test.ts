/** Rate limits for many keys in a fixed number of buckets, in simulated time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Hash64 } from "../../src/relay/keyed-hash.ts";
import { RateBuckets } from "../../src/relay/rate-buckets.ts";

const LIMIT = { perSecond: 2, burst: 8 };
const START = 123_456.789;
/** Keys of the same set, in a table of 4 buckets of all. */
const key = (n: number): Hash64 => ({ low: 0, high: n + 1 });

function takeAll(buckets: RateBuckets, of: Hash64, nowMs: number): number {
  let taken = 0;
  while (taken < 1_000 && buckets.tryTake(of, nowMs)) taken++;
  return taken;
}

test("a full bucket gives its burst, then its rate, and never more than its burst", () => {
  const buckets = new RateBuckets(LIMIT, 4);
  assert.equal(takeAll(buckets, key(1), START), 8);
  assert.equal(takeAll(buckets, key(1), START + 200), 0);
  assert.equal(takeAll(buckets, key(1), START + 500), 1);
  assert.equal(takeAll(buckets, key(1), START + 2_000), 3);
  assert.equal(takeAll(buckets, key(1), START + 3_600_000), 8);
});

for (const limit of [
  { perSecond: 3, burst: 7 },
  { perSecond: 1_000, burst: 4_096 },
  { perSecond: 20_000, burst: 20_000 },
]) {
  test(`rounding costs nothing of ${limit.perSecond} per second and a burst of ${limit.burst}`, () => {
    const buckets = new RateBuckets(limit, 4);
    let taken = 0;
    while (buckets.tryTake(key(1), START)) taken++;
    assert.equal(taken, limit.burst);
    taken = 0;
    for (let ms = 1; ms <= 10_000; ms++) while (buckets.tryTake(key(1), START + ms)) taken++;
    assert.ok(Math.abs(taken - limit.perSecond * 10) <= 1, `${taken} in 10 s`);
  });
}

test("keys have buckets of their own, and a full one is given to the next without loss", () => {
  const buckets = new RateBuckets(LIMIT, 4);
  for (let n = 0; n < 4; n++) assert.equal(takeAll(buckets, key(n), START), 8, `key ${n}`);
  const later = START + 8 * 500;
  for (let n = 4; n < 8; n++) assert.equal(takeAll(buckets, key(n), later), 8, `key ${n}`);
  assert.equal(takeAll(buckets, key(0), later), 0, "all four are in use again");
});

test("more keys at a time than buckets share them: they get less, never more", () => {
  const buckets = new RateBuckets(LIMIT, 4);
  let taken = 0;
  for (let n = 0; n < 1_000; n++) taken += takeAll(buckets, key(n), START);
  assert.equal(taken, 4 * 8);
  // Nor does coming back after others refill anything.
  for (let n = 0; n < 1_000; n++) assert.equal(takeAll(buckets, key(n), START), 0);
});

test("a key finds its bucket again among those of its set", () => {
  const buckets = new RateBuckets(LIMIT, 4);
  for (let n = 0; n < 4; n++) buckets.tryTake(key(n), START);
  for (let n = 0; n < 4; n++) assert.equal(takeAll(buckets, key(n), START), 7, `key ${n}`);
});

test("how much is left is told by part", () => {
  const buckets = new RateBuckets({ perSecond: 1, burst: 100 }, 4);
  const bucket = buckets.find(key(1), START);
  assert.equal(buckets.isBelow(0.5, bucket, START), false);
  for (let n = 0; n < 49; n++) buckets.take(bucket, START);
  assert.equal(buckets.isBelow(0.5, bucket, START), false);
  for (let n = 0; n < 3; n++) buckets.take(bucket, START);
  assert.equal(buckets.isBelow(0.5, bucket, START), true);
  assert.equal(buckets.isBelow(0, bucket, START), false);
});

test("an infinite rate never refuses", () => {
  const buckets = new RateBuckets({ perSecond: Number.POSITIVE_INFINITY, burst: 1 }, 4);
  assert.equal(takeAll(buckets, key(1), START), 1_000);
  assert.equal(buckets.isBelow(0.5, buckets.find(key(1), START), START), false);
});
