/** Single look-ups in Redis while workers hold datagrams: who is asked about, how often, and how each path is settled. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { HELD_MOST_MS, LOOKUPS_AT_ONCE, LOOKUPS_STEP, MOST_LOOKUPS } from "../../src/redis/limits.ts";
import { Lookups } from "../../src/redis/lookups.ts";
import { pathBytes } from "../../src/trunk/path.ts";

const WORKER = 3;
const WINDOW_MS = 10_000;
const RECORD = Buffer.from("a record");
const NOTHING = Buffer.alloc(0);
const pathOf = (n: number): Buffer => pathBytes(1, `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, 5_000);
const keyOf = (n: number): string => `flow:${pathOf(n).toString("hex")}`;
const turns = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
};

let nowMs: number;
/** What is in Redis. */
let redis: Map<string, Buffer>;
let redisAnswers: "at once" | "never" | "with an error";
let mayAsk: boolean;
/** Whether a record is believed, and whether its transceiver is live. */
let believed: boolean;
let live: boolean;
let workerHasRoom: boolean;
let batches: (readonly string[])[];
/** What the engine was told, in order. */
let held: number[];
let settled: string[];
let lookups: Lookups;

beforeEach(() => {
  nowMs = 0;
  redis = new Map();
  redisAnswers = "at once";
  [mayAsk, believed, live, workerHasRoom] = [true, true, true, true];
  [batches, held, settled] = [[], [], []];
  lookups = new Lookups({
    link: {
      key: (name) => name,
      values: async (keys) => {
        batches.push(keys);
        if (redisAnswers === "never") return new Promise(() => {});
        if (redisAnswers === "with an error") throw new Error("no");
        return keys.map((key) => redis.get(key) ?? NOTHING);
      },
    },
    engine: {
      hold: (mostMs) => held.push(mostMs),
      settle: (worker, path, verdict) => {
        if (workerHasRoom) settled.push(`${worker} ${path.readUInt32BE(5) & 0xffffff} ${verdict}`);
        return workerHasRoom;
      },
    },
    mayAsk: () => mayAsk,
    take: (path) => {
      if (believed && live) lookups.restored(path);
      return believed;
    },
    now: () => nowMs,
  });
});

test("workers hold from the opening to the end of its time, or to an earlier close", () => {
  lookups.open(WINDOW_MS);
  lookups.tick();
  assert.deepEqual([held, lookups.isOpen], [[HELD_MOST_MS], true]);
  nowMs = WINDOW_MS;
  lookups.tick();
  lookups.close();
  assert.deepEqual([held, lookups.isOpen], [[HELD_MOST_MS, 0], false]);
});

test("paths that are asked about in one go are looked up in one go, each once, and settled", async () => {
  lookups.open(WINDOW_MS);
  redis.set(keyOf(1), RECORD);
  for (const n of [1, 2, 1]) lookups.ask(pathOf(n), WORKER);
  await turns();
  assert.deepEqual(batches, [[keyOf(1), keyOf(2)]]);
  // Of 1 the verdict does not matter, because it has a flow.
  assert.deepEqual(settled, ["3 1 unknown", "3 2 unknown"]);
  assert.deepEqual(lookups.counts, { asked: 2, found: 1 });
});

test("while an answer is missing, a path is not asked about again, and others wait for their turn", async () => {
  lookups.open(WINDOW_MS);
  redisAnswers = "never";
  lookups.ask(pathOf(1), WORKER);
  await turns();
  for (const n of [1, 2]) lookups.ask(pathOf(n), WORKER);
  await turns();
  assert.deepEqual([batches, settled], [[[keyOf(1)]], []]);
});

test("a record that is not believed settles its path as unknown", async () => {
  lookups.open(WINDOW_MS);
  redis.set(keyOf(1), RECORD);
  believed = false;
  lookups.ask(pathOf(1), WORKER);
  await turns();
  assert.deepEqual([settled, lookups.counts], [["3 1 unknown"], { asked: 1, found: 0 }]);
});

test("a record whose transceiver is not live yet leaves its path open until it is, or until it is too late", async () => {
  lookups.open(WINDOW_MS);
  live = false;
  for (const n of [1, 2]) {
    redis.set(keyOf(n), RECORD);
    lookups.ask(pathOf(n), WORKER);
  }
  await turns();
  lookups.tick();
  assert.deepEqual(settled, []);
  lookups.restored(pathOf(1));
  nowMs += HELD_MOST_MS + 1;
  lookups.tick();
  assert.deepEqual(settled, ["3 1 unknown", "3 2 failed"]);
});

test("a path that the preload brings meanwhile is settled at once", async () => {
  lookups.open(WINDOW_MS);
  redisAnswers = "never";
  lookups.ask(pathOf(1), WORKER);
  await turns();
  lookups.restored(pathOf(2));
  lookups.restored(pathOf(1));
  assert.deepEqual(settled, ["3 1 unknown"]);
});

test("where Redis fails, or cannot be asked in time, paths are settled as failed", async () => {
  lookups.open(WINDOW_MS);
  redisAnswers = "with an error";
  lookups.ask(pathOf(1), WORKER);
  await turns();
  assert.deepEqual(settled, ["3 1 failed"]);
  mayAsk = false;
  lookups.ask(pathOf(2), WORKER);
  await turns();
  nowMs += HELD_MOST_MS + 1;
  lookups.tick();
  assert.deepEqual([settled, batches.length], [["3 1 failed", "3 2 failed"], 1]);
  mayAsk = true;
  redisAnswers = "at once";
  lookups.ask(pathOf(3), WORKER);
  await turns();
  assert.deepEqual([settled.at(-1), batches.at(-1)], ["3 3 unknown", [keyOf(3)]], "2 is not asked about any more");
});

test("more paths than the budget allows are settled at once, and as many more are asked about as time brings", async () => {
  lookups.open(WINDOW_MS);
  for (let n = 0; n < LOOKUPS_AT_ONCE + 2; n++) lookups.ask(pathOf(n), WORKER);
  assert.deepEqual(settled, [`3 ${LOOKUPS_AT_ONCE} budget`, `3 ${LOOKUPS_AT_ONCE + 1} budget`]);
  await turns();
  await turns();
  assert.equal(lookups.counts.asked, LOOKUPS_AT_ONCE);
  lookups.tick();
  settled = [];
  for (let n = 0; n < LOOKUPS_STEP + 1; n++) lookups.ask(pathOf(10_000 + n), WORKER);
  assert.deepEqual(settled, [`3 ${10_000 + LOOKUPS_STEP} budget`]);
});

test("what is not settled because a worker has no room is settled later, and is bounded", async () => {
  lookups.open(WINDOW_MS);
  workerHasRoom = false;
  for (let n = 0; n < MOST_LOOKUPS + 5; n++) lookups.ask(pathOf(n), WORKER);
  await turns();
  await turns();
  workerHasRoom = true;
  lookups.tick();
  assert.equal(settled.length, MOST_LOOKUPS);
  assert.equal(settled.filter((how) => how.endsWith("budget")).length, MOST_LOOKUPS - LOOKUPS_AT_ONCE);
});

test("after the close nobody is asked, and a late answer settles nothing", async () => {
  lookups.open(WINDOW_MS);
  redis.set(keyOf(1), RECORD);
  lookups.ask(pathOf(1), WORKER);
  lookups.close();
  lookups.ask(pathOf(2), WORKER);
  await turns();
  await lookups.stop();
  assert.deepEqual([settled, batches, held], [[], [], [HELD_MOST_MS, 0]]);
});
