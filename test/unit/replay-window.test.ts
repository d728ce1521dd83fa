import assert from "node:assert/strict";
import { test } from "node:test";
import { REPLAY_WINDOW, ReplayWindow } from "../../src/trunk/replay-window.ts";

const accept = (window: ReplayWindow, sequence: bigint): boolean =>
  window.accept(Number(sequence >> 32n), Number(BigInt.asUintN(32, sequence)));

test("a sequence is accepted once", () => {
  const window = new ReplayWindow();
  for (let sequence = 1n; sequence < 3_000n; sequence++) {
    assert.ok(accept(window, sequence));
    assert.ok(!accept(window, sequence));
  }
});

test("0 is no sequence", () => {
  const window = new ReplayWindow();
  assert.ok(!accept(window, 0n));
  assert.ok(accept(window, 1n));
  assert.ok(!accept(window, 0n));
});

for (const highest of [2_000n, 0x1_0000_0000n, 0x1_0000_0000n + 500n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
  test(`behind ${highest} there is room for 1,023 more, in any order`, () => {
    const window = new ReplayWindow();
    assert.ok(accept(window, highest));
    assert.ok(!accept(window, highest - BigInt(REPLAY_WINDOW)));
    assert.ok(!accept(window, 1n));
    for (let step = 1n; step < REPLAY_WINDOW; step++) {
      // 7 and 1,024 have no common factor: every step but 0 comes up once.
      const behind = (step * 7n) % BigInt(REPLAY_WINDOW);
      assert.ok(accept(window, highest - behind), `${behind} behind`);
      assert.ok(!accept(window, highest - behind), `${behind} behind, again`);
    }
    assert.ok(!accept(window, highest));
    assert.ok(!accept(window, highest - BigInt(REPLAY_WINDOW)));
  });
}

test("a jump ahead forgets exactly what falls out of the window", () => {
  for (const jump of [
    1n,
    31n,
    32n,
    33n,
    1_022n,
    1_023n,
    1_024n,
    1_025n,
    5_000n,
    2n ** 32n,
    2n ** 32n + 1n,
    2n ** 62n,
  ]) {
    const window = new ReplayWindow();
    const start = 10_000n;
    for (let sequence = start - 1_023n; sequence <= start; sequence++) assert.ok(accept(window, sequence));
    assert.ok(accept(window, start + jump));
    for (let sequence = start + jump - 1_100n; sequence <= start + jump; sequence++) {
      const inWindow = start + jump - sequence < REPLAY_WINDOW;
      const isNew = sequence > start && sequence !== start + jump;
      assert.equal(accept(window, sequence), inWindow && isNew, `jump ${jump}, sequence ${sequence}`);
    }
  }
});

test("it agrees with a plain set of all that was seen", () => {
  const window = new ReplayWindow();
  const seen = new Set<number>();
  let highest = 0;
  let state = 1;
  for (let round = 0; round < 50_000; round++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const sequence = Math.max(0, highest + ((state >>> 8) % 1_200) - 1_100 + (state % 97 === 0 ? 2_000 : 0));
    const expected = sequence > 0 && highest - sequence < REPLAY_WINDOW && !seen.has(sequence);
    assert.equal(window.accept(0, sequence), expected, `${sequence} after ${highest}`);
    seen.add(sequence);
    if (expected) highest = Math.max(highest, sequence);
  }
});
