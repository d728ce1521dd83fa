/** Records in Redis: what was sealed opens, and nothing else does. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { KeyRing } from "../../src/keys/key-ring.ts";
import {
  flowBody,
  heartbeatBody,
  MOST_RECORD_BYTES,
  openRecord,
  RECORD_KIND,
  readFlowBody,
  readHeartbeatBody,
  sealRecord,
} from "../../src/redis/record.ts";
import { pathBytes } from "../../src/trunk/path.ts";
import { fleetKey } from "../kit/engine-rig.ts";

const CLUSTER = 7;
const NOW = 1_800_000_000_000;
const ring = new KeyRing([fleetKey(5)]);
const path = pathBytes(1, "2001:db8::1", 4_000);
const ufrags = [randomBytes(24).toString("base64"), randomBytes(24).toString("base64")];
const flow = { transceiver: 0xfffffffe, epoch: 1_700_000_000_001n, ufrags };
const time = { nowMs: NOW, mostAgeMs: 120_000, mostSkewMs: 30_000 };
const sealed = (): Buffer =>
  sealRecord(ring.signing, CLUSTER, path, { kind: RECORD_KIND.flow, timeMs: NOW, body: flowBody(flow) });

test("a record opens in its place, with what was put in", () => {
  const bytes = sealed();
  assert.equal(bytes.length, MOST_RECORD_BYTES, "the largest");
  const opened = openRecord(ring, CLUSTER, path, bytes, time);
  assert.ok(typeof opened === "object");
  assert.deepEqual([opened.kind, opened.timeMs], [RECORD_KIND.flow, NOW]);
  assert.deepEqual(readFlowBody(opened.body), flow);
});

test("a record with any bit changed does not open", () => {
  const good = sealed();
  for (let bit = 0; bit < good.length * 8; bit += 1) {
    const bytes = Buffer.from(good);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(typeof openRecord(ring, CLUSTER, path, bytes, time), "string", `bit ${bit}`);
  }
});

test("a record of any other length does not open", () => {
  const good = sealed();
  for (let length = 0; length < good.length; length += 1) {
    assert.equal(typeof openRecord(ring, CLUSTER, path, good.subarray(0, length), time), "string", `${length} bytes`);
  }
  assert.equal(openRecord(ring, CLUSTER, path, Buffer.concat([good, Buffer.alloc(1)]), time), "malformed");
});

test("a record opens in no other place, cluster, fleet or time", () => {
  const bytes = sealed();
  const open = (over: { ring?: KeyRing; cluster?: number; path?: Buffer; nowMs?: number }) =>
    openRecord(over.ring ?? ring, over.cluster ?? CLUSTER, over.path ?? path, bytes, {
      ...time,
      nowMs: over.nowMs ?? NOW,
    });
  assert.equal(open({ path: pathBytes(1, "2001:db8::1", 4_001) }), "mac");
  assert.equal(open({ cluster: CLUSTER + 1 }), "mac");
  assert.equal(open({ ring: new KeyRing([fleetKey(5)]) }), "mac");
  assert.equal(open({ ring: new KeyRing([fleetKey(6)]) }), "key");
  assert.equal(open({ nowMs: NOW + time.mostAgeMs + 1 }), "stale");
  assert.equal(open({ nowMs: NOW - time.mostSkewMs - 1 }), "stale");
  assert.equal(typeof open({ nowMs: NOW + time.mostAgeMs }), "object");
});

test("a heartbeat says where a transceiver is", () => {
  for (const address of [Buffer.from([10, 0, 0, 5]), randomBytes(16)]) {
    const beat = { epoch: 5n, address, port: 7_000, draining: true };
    assert.deepEqual(readHeartbeatBody(heartbeatBody(beat)), beat);
  }
  const address = Buffer.from([10, 0, 0, 5]);
  assert.equal(readHeartbeatBody(heartbeatBody({ epoch: 5n, address, port: 0, draining: false })), undefined);
  assert.equal(readHeartbeatBody(Buffer.alloc(14, 1)), undefined);
});

test("a body that is no flow's is none", () => {
  for (const body of [Buffer.alloc(0), Buffer.alloc(13), Buffer.alloc(37), flowBody(flow).subarray(0, -1)]) {
    assert.equal(readFlowBody(body), undefined);
  }
});
