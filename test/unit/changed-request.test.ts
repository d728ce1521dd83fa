/**
 * A client's first request, as it was admitted, with any one bit or any two bits changed: the control plane admits none
 * of them. Every change is tried. test/native/first_request_test.cc does the same with what a worker looks at.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CONTROL_KIND, type ControlRecord } from "../../src/engine/engine.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { type AdmissionOptions, admitMiss } from "../../src/relay/admission.ts";
import { KeyedHash } from "../../src/relay/keyed-hash.ts";
import {
  FINGERPRINT_BYTES,
  fingerprint,
  MESSAGE_INTEGRITY_BYTES,
  messageIntegrity,
} from "../../src/stun/stun-integrity.ts";
import { STUN_ATTRIBUTE, STUN_CLASS } from "../../src/stun/stun-reader.ts";
import { writeStun } from "../../src/stun/stun-writer.ts";
import { icePassword, sealToken } from "../../src/token/token.ts";
import { pathBytes } from "../../src/trunk/path.ts";

const NOW = 1_770_000_000_000;
const EPOCH = 1_769_000_000_001n;
const CLUSTER = 3;
const SLOT = 5;
/** A key of every second id, so that many changes of the key id in a token name another key that is known. */
const ring = new KeyRing(
  Array.from({ length: 32 }, (_, i) => ({ id: 2 * i, secret: Buffer.alloc(32, i + 1), signs: i === 0 })),
);
const ufrag = sealToken(
  { cluster: CLUSTER, transceiver: 7, epoch: EPOCH, expiresAtMs: NOW + 3_600_000, nonce: 0xdeca_de01 },
  ring.signing,
);
const password = icePassword(ufrag, ring.signing);
/** 120 bytes, as a browser's: 960 bits, 460,320 pairs of them. */
const request = writeStun({
  class: STUN_CLASS.request,
  transactionId: Buffer.from("0102030405060708090a0b0c", "hex"),
  attributes: [
    [STUN_ATTRIBUTE.username, Buffer.from(`${ufrag}:peer`)],
    [STUN_ATTRIBUTE.iceControlling, Buffer.alloc(8, 0x5a)],
    [STUN_ATTRIBUTE.useCandidate, Buffer.alloc(0)],
    [STUN_ATTRIBUTE.priority, Buffer.from("6e0001ff", "hex")],
  ],
  password,
});
const BITS = request.length * 8;
const FINGERPRINT_AT = request.length - FINGERPRINT_BYTES;
const INTEGRITY_AT = FINGERPRINT_AT - MESSAGE_INTEGRITY_BYTES;

/** The checks that a change can fail at: some change has to reach the last. */
const REASONS = ["miss_drop_fingerprint", "miss_drop_integrity", "miss_drop_stun", "miss_drop_token"];

let admitted = 0;
const options: AdmissionOptions = {
  engine: {
    admit: () => {
      admitted += 1;
      return "installed";
    },
    offer: () => true,
  },
  cluster: CLUSTER,
  keys: () => ring,
  // Any transceiver and any epoch will do: what is inside a token must not be what saves us.
  isTrunkEnd: () => false,
  findTransceiver: () => SLOT,
  now: () => NOW,
  monotonicMs: () => NOW,
  hash: new KeyedHash(),
  // Nobody has used up anything: a budget must not be what saves us, either.
  budgets: { takeToken: () => true, takeAssuredToken: () => true, takeSource: () => undefined },
  paths: { add: () => {}, hasAssured: () => false },
};
const changed = Buffer.from(request);
const miss: ControlRecord = {
  kind: CONTROL_KIND.miss,
  worker: 1,
  path: pathBytes(1, "192.0.2.9", 4000),
  slot: 0,
  payload: changed,
};

const turn = (bit: number): void => {
  changed[bit >> 3]! ^= 1 << (bit & 7);
};
/** What an attacker can do without any key. */
function withChecksum(): void {
  changed.writeUInt32BE(fingerprint(changed, FINGERPRINT_AT), FINGERPRINT_AT + 4);
}

/** Admission's answer to what is in `changed`, which is the request again after that. */
function decide(): string | undefined {
  const before = admitted;
  const drop = admitMiss(miss, options);
  assert.equal(admitted - before, drop === undefined ? 1 : 0, "the engine is asked exactly for what is not dropped");
  request.copy(changed);
  return drop;
}

/** How often each drop was the answer. */
type Drops = Record<string, number>;
function note(drops: Drops, drop: string | undefined, change: string): void {
  if (drop === undefined) assert.fail(`${change} was admitted`);
  drops[drop] = (drops[drop] ?? 0) + 1;
}

test("the request itself is admitted", () => {
  assert.equal(BITS, 960);
  assert.equal(decide(), undefined);
});

test("no change of one bit is admitted, with the checksum as it was or made right again", () => {
  const drops: Drops = {};
  for (let bit = 0; bit < BITS; bit += 1) {
    turn(bit);
    note(drops, decide(), `bit ${bit}`);
    if (bit >= FINGERPRINT_AT * 8) continue;
    turn(bit);
    withChecksum();
    note(drops, decide(), `bit ${bit}, right checksum,`);
  }
  assert.deepEqual(Object.keys(drops).sort(), REASONS);
});

test("no change of two bits is admitted", (t) => {
  const drops: Drops = {};
  for (let first = 0; first < BITS; first += 1) {
    for (let second = first + 1; second < BITS; second += 1) {
      turn(first);
      turn(second);
      note(drops, decide(), `bits ${first} and ${second}`);
    }
  }
  t.diagnostic(JSON.stringify(drops));
});

test("no change of two bits is admitted with the checksum made right again", (t) => {
  // What the checksum does not end, the token's tag or the HMAC has to.
  const drops: Drops = {};
  const bits = FINGERPRINT_AT * 8;
  for (let first = 0; first < bits; first += 1) {
    for (let second = first + 1; second < bits; second += 1) {
      turn(first);
      turn(second);
      withChecksum();
      note(drops, decide(), `bits ${first} and ${second}, right checksum,`);
    }
  }
  assert.deepEqual(Object.keys(drops).sort(), REASONS);
  t.diagnostic(JSON.stringify(drops));
});

test("whoever knows the password can change the rest: only the password stands in the way", () => {
  const lastOfPriority = INTEGRITY_AT - 1;
  turn(lastOfPriority * 8);
  messageIntegrity(changed, INTEGRITY_AT, password).copy(changed, INTEGRITY_AT + 4);
  withChecksum();
  assert.equal(decide(), undefined);
});
