/** Changes on their way to Redis, and records that wait for their transceiver. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { MOST_QUEUED, MOST_WAITING } from "../../src/redis/limits.ts";
import type { RedisLink } from "../../src/redis/redis-link.ts";
import { WaitingRecords } from "../../src/redis/waiting-records.ts";
import { packChanges, unpackChanges, WriteBehind } from "../../src/redis/write-behind.ts";
import { pathBytes } from "../../src/trunk/path.ts";

const change = (port: number, record = randomBytes(86)) => ({
  path: pathBytes(1, port % 2 === 0 ? "192.0.2.1" : "2001:db8::1", port),
  record,
  ended: false,
});

test("changes come out of the stream as they went in", () => {
  const changes = Array.from({ length: 10 }, (_, i) => change(i + 1));
  const got: { path: Buffer; record: Buffer; ended: boolean }[] = [];
  for (const change of unpackChanges(packChanges(changes))) got.push({ ...change, ended: false });
  assert.deepEqual(got, changes);
});

test("bytes that are no changes make none, and never more than there are", () => {
  for (let i = 0; i < 2_000; i += 1) {
    const bytes = randomBytes(i % 300);
    let total = 0;
    for (const { path, record } of unpackChanges(bytes)) total += path.length + record.length + 2;
    assert.ok(total <= bytes.length);
  }
});

/** Redis that answers, fails, or is not there. */
function fakeLink() {
  const taken: (readonly [key: string, record: Buffer])[] = [];
  const link = { isReady: true, fails: false, batches: 0, taken, key: (name: string) => name };
  const pipeline = {
    set: (key: string, record: Buffer) => taken.push([key, record]),
    xadd: () => {},
    expire: () => {},
  };
  const together = async (fill: (into: typeof pipeline) => void) => {
    link.batches += 1;
    if (link.fails) throw new Error("no");
    fill(pipeline);
    return [];
  };
  return {
    link,
    redis: {
      ...link,
      together,
      get isReady() {
        return link.isReady;
      },
    } as unknown as RedisLink,
  };
}

test("the queue holds the newest word about each flow, up to its limit, while Redis is away", async () => {
  const { link, redis } = fakeLink();
  link.isReady = false;
  const writes = new WriteBehind(redis);
  for (let port = 1; port <= MOST_QUEUED + 5; port += 1) writes.add(change(port));
  assert.equal(writes.add(change(1)), true, "a newer word takes the older one's place");
  await writes.send();
  assert.deepEqual([writes.length, writes.counts], [MOST_QUEUED, { written: 0, failed: 0, dropped: 5 }]);
  link.isReady = true;
  await writes.send();
  assert.deepEqual([writes.length, writes.counts.written], [0, MOST_QUEUED]);
});

test("what Redis does not take is counted and sent again, once a call", async () => {
  const { link, redis } = fakeLink();
  link.fails = true;
  const writes = new WriteBehind(redis);
  for (let port = 1; port <= 300; port += 1) writes.add(change(port));
  await writes.send();
  assert.deepEqual([writes.length, link.batches, writes.counts], [300, 1, { written: 0, failed: 256, dropped: 0 }]);
  link.fails = false;
  await writes.send();
  assert.deepEqual([writes.length, link.batches, writes.counts], [0, 3, { written: 300, failed: 256, dropped: 0 }]);
});

test("what comes back from Redis does not take the place of a newer word, or more room than there is", async () => {
  const { link, redis } = fakeLink();
  link.fails = true;
  const writes = new WriteBehind(redis);
  writes.add(change(1));
  writes.add(change(2));
  const sent = writes.send();
  const newer = change(1);
  writes.add(newer);
  for (let port = 10; writes.length < MOST_QUEUED; port += 1) writes.add(change(port));
  await sent;
  assert.equal(writes.length, MOST_QUEUED);
  link.fails = false;
  await writes.send();
  const ofFirst = link.taken.filter(([key]) => key === `flow:${newer.path.toString("hex")}`);
  assert.deepEqual(ofFirst, [[`flow:${newer.path.toString("hex")}`, newer.record]]);
});

test("records wait for their transceiver, come out when it is live, and go when it stays away", () => {
  const waiting = new WaitingRecords();
  const record = (epoch: bigint) => ({ transceiver: 7, epoch, ufrags: ["one"] });
  for (let port = 1; port <= 10; port += 1) waiting.add(change(port).path, record(1n), 1_000);
  waiting.add(change(11).path, record(2n), 1_000);
  waiting.add(change(11).path, record(2n), 1_000);
  waiting.remove(change(1).path, 7, 1n);
  assert.equal(waiting.size, 10);
  const isFirst = (_: number, epoch: bigint) => epoch === 1n;
  assert.equal(waiting.take(4, isFirst).length, 4);
  assert.equal(waiting.expire(1_000, isFirst), 1, "the other one's");
  assert.equal(waiting.take(100, isFirst).length, 5);
  assert.equal(waiting.size, 0);
});

test("only so many records wait", () => {
  const waiting = new WaitingRecords();
  const record = { transceiver: 7, epoch: 1n, ufrags: ["one"] };
  const path = Buffer.alloc(9);
  for (let i = 0; i < MOST_WAITING; i += 1) {
    path.writeUInt32BE(i, 5);
    assert.ok(waiting.add(path, record, 1_000));
  }
  path[1] = 1;
  assert.equal(waiting.add(path, record, 1_000), false);
});
