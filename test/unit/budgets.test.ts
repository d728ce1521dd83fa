/** The budgets that the relay has, in simulated time: who gets through, who does not, and at whose cost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Budgets } from "../../src/relay/budgets.ts";
import { KeyedHash } from "../../src/relay/keyed-hash.ts";
import { BUDGETS } from "../../src/relay/limits.ts";
import { pathBytes } from "../../src/trunk/path.ts";
import { behindNat } from "../kit/admission-scene.ts";

const START = 1_000_000;
const hash = new KeyedHash();
const newBudgets = (limits = BUDGETS): Budgets => new Budgets(limits, hash);
/** A path in the nth /24. */
const inPrefix = (n: number, host = 1): Buffer => pathBytes(1, `10.${n >> 8}.${n & 255}.${host}`, 4_000);

/** What a prefix gets that asks `times` at once. */
function ask(budgets: Budgets, path: Buffer, times: number, nowMs: number) {
  const counts = { passed: 0, prefix: 0, total: 0 };
  for (let n = 0; n < times; n++) counts[budgets.takeSource(path, nowMs) ?? "passed"]++;
  return counts;
}

test("one token has its burst, then its rate; another is not touched by it", () => {
  const budgets = newBudgets();
  const [one, other] = [hash.ofUfrag("a".repeat(32)), hash.ofUfrag("b".repeat(32))];
  let taken = 0;
  for (let ms = 0; ms < 10_000; ms++) if (budgets.takeToken(one, START + ms)) taken++;
  assert.equal(taken, BUDGETS.token.burst + BUDGETS.token.perSecond * 10);
  assert.equal(budgets.takeToken(other, START + 10_000), true);
});

test("an office of 2,000 calls behind one NAT gets through at once, with two paths each", () => {
  const budgets = newBudgets();
  for (let n = 0; n < 4_000; n++) assert.equal(budgets.takeSource(behindNat(n), START), undefined, `path ${n}`);
});

test("2,000 prefixes that come back at once get through, with two paths each", () => {
  const budgets = newBudgets();
  for (let n = 0; n < 4_000; n++) assert.equal(budgets.takeSource(inPrefix(n >> 1), START), undefined, `path ${n}`);
});

const neighbours: readonly (readonly [what: string, a: Buffer, b: Buffer, together: boolean])[] = [
  ["addresses of one /24", pathBytes(1, "192.0.2.1", 1), pathBytes(1, "192.0.2.254", 2), true],
  ["neighbouring /24s", pathBytes(1, "192.0.2.1", 1), pathBytes(1, "192.0.3.1", 1), false],
  ["addresses of one /64", pathBytes(1, "2001:db8::1", 1), pathBytes(1, "2001:db8::ffff:1:2:3", 2), true],
  ["neighbouring /64s", pathBytes(1, "2001:db8::1", 1), pathBytes(1, "2001:db8:0:1::1", 1), false],
  ["one address at two ingresses", pathBytes(1, "192.0.2.1", 1), pathBytes(2, "192.0.2.1", 1), true],
];
for (const [what, a, b, together] of neighbours) {
  test(`${what} ${together ? "share a" : "have each their own"} budget`, () => {
    const budgets = newBudgets();
    assert.deepEqual(ask(budgets, a, 5_000, START), { passed: 4_096, prefix: 904, total: 0 });
    assert.equal(budgets.takeSource(b, START), together ? "prefix" : undefined);
  });
}

test("one prefix, however much it asks, leaves the others most of the total", () => {
  const budgets = newBudgets();
  let passed = 0;
  for (let ms = 0; ms < 5_000; ms++) {
    passed += ask(budgets, inPrefix(0), 50, START + ms).passed;
    assert.equal(budgets.takeSource(inPrefix(1 + (ms % 250)), START + ms), undefined, `after ${ms} ms`);
  }
  assert.ok(passed <= BUDGETS.prefix.burst + 5 * BUDGETS.prefix.perSecond, `${passed}`);
});

/**
 * 40 prefixes ask for all that they can get, for 3 s; now and then another one asks once. How many of those are refused?
 * What the 40 got is counted from the second second on: at the start each may have its burst, as long as there is enough.
 */
function flood(limits: typeof BUDGETS): { refused: number; asked: number; least: number; most: number } {
  const budgets = newBudgets(limits);
  const passed = new Array<number>(40).fill(0);
  let refused = 0;
  let asked = 0;
  for (let ms = 0; ms < 3_000; ms++) {
    if (ms === 1_000) passed.fill(0);
    for (let n = 0; n < 40; n++) passed[n]! += ask(budgets, inPrefix(n), 10, START + ms).passed;
    if (ms % 5 !== 0) continue;
    asked++;
    if (budgets.takeSource(inPrefix(1_000 + ms), START + ms) !== undefined) refused++;
  }
  return { refused, asked, least: Math.min(...passed), most: Math.max(...passed) };
}

test("where many prefixes want more than there is, each gets its share, and a newcomer gets through at once", () => {
  const { refused, asked, least, most } = flood(BUDGETS);
  assert.deepEqual({ refused, asked }, { refused: 0, asked: 600 });
  // Those that ask within 100 ms are the 40 and 20 newcomers.
  const share = (2 * BUDGETS.total.shared * BUDGETS.total.perSecond) / 60;
  assert.ok(least >= 0.95 * share, `the least got ${least} of ${share}, the most ${most}`);
});

test("without the reserve they shut newcomers out", () => {
  const { refused, asked } = flood({ ...BUDGETS, total: { ...BUDGETS.total, reserve: 0 } });
  assert.ok(refused > 0.5 * asked, `${refused} of ${asked} refused`);
});

test("in total no more gets through than the budget for all", () => {
  const budgets = newBudgets();
  const counts = { passed: 0, total: 0 };
  for (let ms = 0; ms < 2_000; ms++) {
    for (let n = 0; n < 60; n++) {
      const refusal = budgets.takeSource(inPrefix((ms * 60 + n) % 50_000), START + ms);
      counts[refusal === undefined ? "passed" : "total"]++;
    }
  }
  assert.ok(counts.passed <= BUDGETS.total.burst + 2 * BUDGETS.total.perSecond, `${counts.passed}`);
  assert.ok(counts.passed >= BUDGETS.total.burst, `${counts.passed}`);
  assert.equal(counts.passed + counts.total, 120_000);
});

test("after a flood a silent second or two brings everything back", () => {
  const budgets = newBudgets();
  for (let n = 0; n < 100; n++) ask(budgets, inPrefix(n), 5_000, START);
  assert.deepEqual(ask(budgets, inPrefix(500), 4_096, START + 6_000), { passed: 4_096, prefix: 0, total: 0 });
});
