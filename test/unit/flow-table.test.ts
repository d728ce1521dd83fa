/** The JS engine's flow table over time, which real sockets cannot show: expiry, last-seen, the step of the scan. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import type { Slot } from "../../src/engine/engine.ts";
import {
  EXPIRE_STEP_FLOWS,
  type Flow,
  FlowTable,
  IDLE_MS,
  LAST_SEEN_STEP_MS,
  TENTATIVE_MS,
} from "../../src/engine/js/flow-table.ts";
import { pathBytes, pathKey } from "../../src/trunk/path.ts";

const CAPACITY = 10_000;
const UFRAG = "u".repeat(32);
const OTHER = "v".repeat(32);
const [FIRST, SECOND]: readonly [Slot, Slot] = [1, 2];
const pathOf = (n: number): Buffer => pathBytes(1, `10.0.${n >> 8}.${n & 255}`, 5_000);
const PATH = pathOf(1);

let nowMs: number;
let retired: Set<Slot>;
let table: FlowTable;

function newTable(limits: { capacity?: number; tentativeQuota?: number } = {}): FlowTable {
  return new FlowTable({
    capacity: CAPACITY,
    tentativeQuota: CAPACITY,
    ...limits,
    now: () => nowMs,
    isRetired: (slot) => retired.has(slot),
  });
}

const flowAt = (path: Buffer): Flow => table.get(pathKey(path))!;

beforeEach(() => {
  nowMs = 1_000_000;
  retired = new Set();
  table = newTable();
});

test("a tentative flow goes 5 s after it was made, whatever joined it or was sent since", () => {
  table.admit(PATH, FIRST, UFRAG);
  nowMs += TENTATIVE_MS - 1;
  assert.equal(table.admit(PATH, FIRST, OTHER), "joined");
  table.seen(flowAt(PATH));
  assert.equal(table.expire(), 0);
  nowMs += 1;
  assert.equal(table.expire(), 1);
  assert.equal(table.info(PATH), undefined);
  assert.deepEqual(table.counts(), { flows: 0, tentative: 0, capacity: CAPACITY });
});

test("a tentative flow that another session takes over has 5 s again", () => {
  table.admit(PATH, FIRST, UFRAG);
  nowMs += TENTATIVE_MS - 1;
  assert.equal(table.admit(PATH, SECOND, OTHER), "installed");
  nowMs += TENTATIVE_MS - 1;
  assert.equal(table.expire(), 0);
  nowMs += 1;
  assert.equal(table.expire(), 1);
});

test("an assured flow goes after 60 s without downlink", () => {
  table.admit(PATH, FIRST, UFRAG);
  nowMs += TENTATIVE_MS - 1;
  table.assure(flowAt(PATH));
  nowMs += IDLE_MS - 1;
  assert.equal(table.expire(), 0);
  table.seen(flowAt(PATH));
  nowMs += IDLE_MS - 1;
  assert.equal(table.expire(), 0);
  nowMs += 1;
  assert.equal(table.expire(), 1);
});

test("last-seen moves at most once a second", () => {
  table.admit(PATH, FIRST, UFRAG);
  table.assure(flowAt(PATH));
  const assuredMs = nowMs;
  nowMs += LAST_SEEN_STEP_MS - 1;
  table.seen(flowAt(PATH));
  assert.equal(flowAt(PATH).lastSeenMs, assuredMs);
  nowMs += 1;
  table.seen(flowAt(PATH));
  assert.equal(flowAt(PATH).lastSeenMs, nowMs);
});

test("idle time counts from the making of a tentative flow, and from last-seen of an assured one", () => {
  table.admit(PATH, FIRST, UFRAG);
  nowMs += 300;
  assert.equal(table.info(PATH)?.idleMs, 300);
  table.assure(flowAt(PATH));
  nowMs += 70;
  assert.equal(table.info(PATH)?.idleMs, 70);
});

test("a promoted session starts its 60 s anew", () => {
  table.admit(PATH, FIRST, UFRAG);
  table.assure(flowAt(PATH));
  table.admit(PATH, SECOND, OTHER);
  nowMs += IDLE_MS - 1;
  assert.equal(table.promote(PATH, SECOND, OTHER), true);
  nowMs += IDLE_MS - 1;
  assert.equal(table.expire(), 0);
});

test("a pending session that steps up has 5 s to answer", () => {
  table.admit(PATH, FIRST, UFRAG);
  table.assure(flowAt(PATH));
  table.admit(PATH, SECOND, OTHER);
  nowMs += IDLE_MS;
  assert.equal(table.end(PATH, FIRST, UFRAG), true);
  assert.deepEqual(table.counts(), { flows: 1, tentative: 1, capacity: CAPACITY });
  nowMs += TENTATIVE_MS - 1;
  assert.equal(table.expire(), 0);
  nowMs += 1;
  assert.equal(table.expire(), 1);
});

test("the flow of a retired owner stays until it expires", () => {
  table.admit(PATH, FIRST, UFRAG);
  table.assure(flowAt(PATH));
  retired.add(FIRST);
  nowMs += IDLE_MS - 1;
  assert.equal(table.expire(), 0);
  assert.equal(table.info(PATH)?.owner, FIRST);
  nowMs += 1;
  assert.equal(table.expire(), 1);
});

test("taking over from a retired owner makes a tentative flow, within the quota", () => {
  table = newTable({ tentativeQuota: 1 });
  table.admit(PATH, FIRST, UFRAG);
  table.assure(flowAt(PATH));
  table.admit(pathOf(2), SECOND, UFRAG);
  retired.add(FIRST);
  assert.equal(table.admit(PATH, SECOND, OTHER), "quota");
  assert.equal(table.end(pathOf(2), SECOND, UFRAG), true);
  assert.equal(table.admit(PATH, SECOND, OTHER), "installed");
  assert.deepEqual(table.counts(), { flows: 1, tentative: 1, capacity: CAPACITY });
});

test("replacing a tentative owner takes no further room, neither of the quota nor of the table", () => {
  table = newTable({ capacity: 1, tentativeQuota: 1 });
  assert.equal(table.admit(PATH, FIRST, UFRAG), "installed");
  assert.equal(table.admit(PATH, SECOND, OTHER), "installed");
  assert.equal(table.admit(pathOf(2), SECOND, OTHER), "quota");
  table.assure(flowAt(PATH));
  assert.equal(table.admit(pathOf(2), SECOND, OTHER), "table-full");
});

test("the scan comes round to every flow, in steps, while flows come and go", () => {
  const flows = EXPIRE_STEP_FLOWS + 500;
  for (let n = 0; n < flows; n += 1) table.admit(pathOf(n), FIRST, UFRAG);
  nowMs += TENTATIVE_MS;
  assert.equal(table.expire(), EXPIRE_STEP_FLOWS);
  table.admit(pathOf(0), FIRST, UFRAG);
  table.end(pathOf(flows - 1), FIRST, UFRAG);
  assert.equal(table.expire(), 499);
  assert.deepEqual(table.counts(), { flows: 1, tentative: 1, capacity: CAPACITY });
  assert.equal(table.expire(), 0);
  nowMs += TENTATIVE_MS;
  assert.equal(table.expire(), 1);
});
