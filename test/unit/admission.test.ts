import assert from "node:assert/strict";
import { test } from "node:test";
import { type AdmitResult, CONTROL_KIND, type ControlRecord } from "../../src/engine/engine.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { admitMiss, type MissDrop } from "../../src/relay/admission.ts";
import { type Hash64, KeyedHash } from "../../src/relay/keyed-hash.ts";
import { STUN_ATTRIBUTE, STUN_CLASS } from "../../src/stun/stun-reader.ts";
import { writeStun } from "../../src/stun/stun-writer.ts";
import { icePassword, sealToken } from "../../src/token/token.ts";
import { pathBytes } from "../../src/trunk/path.ts";

const NOW = 1_700_000_000_000;
const MONOTONIC = 77_000;
const EPOCH = 0x19c_1c38_a401n;
const TRANSCEIVER = 7;
const CLUSTER = 3;
const SLOT = 5;
const secret = (fill: number) => Buffer.alloc(32, fill);
const ring = new KeyRing([
  { id: 1, secret: secret(1), signs: true },
  { id: 2, secret: secret(2), signs: false },
]);
const strangers = new KeyRing([{ id: 1, secret: secret(9), signs: true }]);

interface Changes {
  readonly cluster?: number;
  readonly transceiver?: number;
  readonly epoch?: bigint;
  readonly expiresAtMs?: number;
  readonly keys?: KeyRing;
}

function token(changes: Changes = {}): string {
  return sealToken(
    {
      cluster: changes.cluster ?? CLUSTER,
      transceiver: changes.transceiver ?? TRANSCEIVER,
      epoch: changes.epoch ?? EPOCH,
      expiresAtMs: changes.expiresAtMs ?? NOW + 3_600_000,
      nonce: 42,
    },
    (changes.keys ?? ring).signing,
  );
}

interface RequestFields {
  readonly username?: string;
  readonly password?: string | undefined;
  readonly fingerprint?: boolean;
}

function request(ufrag: string, fields: RequestFields = {}): Buffer {
  return writeStun({
    class: STUN_CLASS.request,
    transactionId: Buffer.alloc(12, 6),
    attributes: [
      [STUN_ATTRIBUTE.username, Buffer.from(fields.username ?? `${ufrag}:peer`)],
      [STUN_ATTRIBUTE.priority, Buffer.alloc(4, 1)],
    ],
    ...("password" in fields
      ? fields.password === undefined
        ? {}
        : { password: fields.password }
      : { password: icePassword(ufrag, ring.signing) }),
    fingerprint: fields.fingerprint ?? true,
  });
}

const hash = new KeyedHash();

interface World {
  readonly isTrunkEnd?: boolean;
  readonly admit?: AdmitResult;
  readonly offer?: boolean;
  /** Whether the token's budget has room, and the one for what exceeds it. */
  readonly token?: boolean;
  readonly assuredToken?: boolean;
  /** The budget that refuses the source. */
  readonly source?: "prefix" | "total";
  readonly hasAssured?: boolean;
}

/** What admission did with a datagram, and what it asked of the engine; in `charged`, of the budgets. */
function decide(payload: Buffer, world: World = {}) {
  const asked: string[] = [];
  const charged: string[] = [];
  const miss: ControlRecord = {
    kind: CONTROL_KIND.miss,
    worker: 1,
    path: pathBytes(1, "192.0.2.9", 4000),
    slot: 0,
    payload,
  };
  const outcome = admitMiss(miss, {
    engine: {
      admit: (path, slot, ufrag) => {
        assert.equal(path, miss.path);
        asked.push(`admit ${slot} ${ufrag}`);
        return world.admit ?? "installed";
      },
      offer: (record) => {
        assert.equal(record, miss);
        asked.push("offer");
        return world.offer ?? true;
      },
    },
    cluster: CLUSTER,
    keys: () => ring,
    isTrunkEnd: () => world.isTrunkEnd ?? false,
    findTransceiver: (id, low16) => (id === TRANSCEIVER && low16 === Number(EPOCH & 0xffffn) ? SLOT : undefined),
    now: () => NOW,
    monotonicMs: () => MONOTONIC,
    hash,
    budgets: {
      takeToken: (ufrag, nowMs) => charge("token", ufrag, nowMs) && (world.token ?? true),
      takeAssuredToken: (ufrag, nowMs) => charge("assured token", ufrag, nowMs) && (world.assuredToken ?? true),
      takeSource: (path, nowMs) => {
        charge("source", path, nowMs);
        return world.source;
      },
    },
    paths: {
      add: ({ ufrag, slot }, path) => {
        assert.equal(path, miss.path);
        asked.push(`add ${slot} ${ufrag}`);
      },
      hasAssured: ({ slot }) => {
        assert.equal(slot, SLOT);
        return world.hasAssured ?? false;
      },
    },
  });
  return { outcome, asked, charged };

  function charge(what: string, whom: Buffer | Hash64, nowMs: number): true {
    assert.equal(nowMs, MONOTONIC);
    if (Buffer.isBuffer(whom)) assert.equal(whom, miss.path);
    charged.push(what);
    return true;
  }
}

test("an authenticated request for a live transceiver makes room, and goes back to its worker", () => {
  const ufrag = token();
  for (const admit of ["installed", "joined", "pending"] as const) {
    assert.deepEqual(decide(request(ufrag), { admit }), {
      outcome: undefined,
      asked: [`admit ${SLOT} ${ufrag}`, `add ${SLOT} ${ufrag}`, "offer"],
      charged: ["token", "source"],
    });
  }
});

const good = token();
const refused: readonly (readonly [what: string, drop: MissDrop, datagram: Buffer])[] = [
  ["not STUN", "miss_drop_stun", Buffer.alloc(40, 1)],
  ["no colon in USERNAME", "miss_drop_stun", request(good, { username: good })],
  ["a ufrag that is no token", "miss_drop_token", request(good, { username: `${"A".repeat(32)}:peer` })],
  ["a token of another fleet", "miss_drop_token", request(token({ keys: strangers }))],
  ["an expired token", "miss_drop_expired", request(token({ expiresAtMs: NOW - 200_000 }))],
  ["a token of another cluster", "miss_drop_cluster", request(token({ cluster: 4 }))],
  ["a token of an unknown transceiver", "miss_drop_transceiver", request(token({ transceiver: 8 }))],
  ["a token of an earlier epoch", "miss_drop_transceiver", request(token({ epoch: EPOCH - 1n }))],
  ["no FINGERPRINT", "miss_drop_fingerprint", request(good, { fingerprint: false })],
  ["no MESSAGE-INTEGRITY", "miss_drop_integrity", request(good, { password: undefined })],
  ["another password", "miss_drop_integrity", request(good, { password: "x".repeat(24) })],
  [
    "the password of another token",
    "miss_drop_integrity",
    request(good, { password: icePassword(token({ expiresAtMs: NOW + 7_200_000 }), ring.signing) }),
  ],
];
for (const [what, drop, datagram] of refused) {
  test(`a request with ${what} is dropped, and asks nothing of the engine`, () => {
    const { outcome, asked, charged } = decide(datagram);
    assert.deepEqual({ outcome, asked }, { outcome: drop, asked: [] });
    // Only what costs an HMAC is charged to the token, and nothing to the source: its address may be false.
    assert.deepEqual(charged, drop === "miss_drop_integrity" ? ["token"] : []);
  });
}

const valid = request(good);
const wrong = request(good, { password: "x".repeat(24) });
const budgetCases: readonly (readonly [what: string, datagram: Buffer, world: World, outcome: MissDrop | undefined])[] =
  [
    ["of a token that has used up its budget", valid, { token: false }, "miss_drop_budget_token"],
    ["of such a token, before integrity is looked at", wrong, { token: false }, "miss_drop_budget_token"],
    ["of such a token with an assured path", valid, { token: false, hasAssured: true }, undefined],
    [
      "of one that has used up that, too",
      valid,
      { token: false, assuredToken: false, hasAssured: true },
      "miss_drop_budget_token",
    ],
    ["whose prefix has used up its budget", valid, { source: "prefix" }, "miss_drop_budget_prefix"],
    ["when the budget of all is used up", valid, { source: "total" }, "miss_drop_budget_total"],
    ["from such a prefix, of a token with an assured path", valid, { source: "prefix", hasAssured: true }, undefined],
    [
      "from such a prefix, of one that has exceeded its budget before",
      valid,
      { source: "prefix", assuredToken: false, hasAssured: true },
      "miss_drop_budget_prefix",
    ],
    ["at such a time, of a token with an assured path", valid, { source: "total", hasAssured: true }, undefined],
  ];
for (const [what, datagram, world, expected] of budgetCases) {
  test(`a request ${what} is ${expected === undefined ? "admitted" : "dropped"}`, () => {
    const { outcome, asked } = decide(datagram, world);
    assert.equal(outcome, expected);
    assert.equal(asked.length, expected === undefined ? 3 : 0);
  });
}

test("an address and port of the trunk get no flow, whatever they sign", () => {
  const { outcome, asked, charged } = decide(request(good), { isTrunkEnd: true });
  assert.deepEqual({ outcome, asked, charged }, { outcome: "miss_drop_source", asked: [], charged: [] });
  assert.equal(decide(request(good), { isTrunkEnd: false }).outcome, undefined);
});

test("a full table, a used-up quota and a full queue are counted apart", () => {
  assert.equal(decide(request(good), { admit: "table-full" }).outcome, "miss_drop_table_full");
  assert.equal(decide(request(good), { admit: "quota" }).outcome, "miss_drop_quota");
  assert.equal(decide(request(good), { offer: false }).outcome, "miss_drop_offer_full");
});

test("no change of one bit of an admitted request is admitted", () => {
  const datagram = request(good);
  for (let bit = 0; bit < datagram.length * 8; bit += 1) {
    const changed = Buffer.from(datagram);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    const { outcome, asked } = decide(changed);
    assert.notEqual(outcome, undefined, `bit ${bit}`);
    assert.deepEqual(asked, []);
  }
});
