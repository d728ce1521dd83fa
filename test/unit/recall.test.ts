/** What a relay asks transceivers about paths that it does not know, and which of their answers it believes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ControlCounterName } from "../../src/engine/counters.ts";
import { FlowTable } from "../../src/engine/js/flow-table.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { KeyedHash } from "../../src/relay/keyed-hash.ts";
import { ASK_BUDGET, ASKED_FOR_MS } from "../../src/relay/limits.ts";
import { Recall } from "../../src/relay/recall.ts";
import { sealToken } from "../../src/token/token.ts";
import { pathBytes, pathKey } from "../../src/trunk/path.ts";
import { fleetKey } from "../kit/engine-rig.ts";

const CLUSTER = 7;
const OWNER = { id: 11, epoch: 1_700_000_000_111n, slot: 3 };
const STRANGER = { id: 12, epoch: 1_700_000_000_222n, slot: 4 };
const PATH = pathBytes(1, "192.0.2.1", 4_000);
const HOUR_MS = 3_600_000;

class Scene {
  nowMs = 50_000;
  readonly ring = new KeyRing([fleetKey(5)]);
  readonly asked: { slot: number; path: Buffer }[] = [];
  readonly added: Buffer[] = [];
  readonly live = [OWNER, STRANGER];
  trunkEnds: readonly Buffer[] = [];
  readonly flows: FlowTable;
  readonly recall: Recall;
  #counts: Partial<Record<ControlCounterName, number>> = {};

  constructor(capacity = 100_000) {
    this.flows = new FlowTable({ capacity, tentativeQuota: 100, now: () => this.nowMs, isRetired: () => false });
    this.recall = new Recall({
      engine: {
        ingresses: [{ id: 1, address: "192.0.2.100", port: 3478 }],
        flow: (path) => this.flows.info(path),
        restore: (path, slot, ufrags) => this.flows.restore(path, slot, ufrags),
      },
      cluster: CLUSTER,
      keys: () => this.ring,
      isTrunkEnd: (path) => this.trunkEnds.some((end) => end.equals(path)),
      findTransceiver: (id, low16) =>
        this.live.find((one) => one.id === id && Number(one.epoch & 0xffffn) === low16)?.slot,
      ask: (slot, path) => {
        if (!this.live.some((one) => one.slot === slot)) return false;
        this.asked.push({ slot, path: Buffer.from(path) });
        return true;
      },
      count: (name) => {
        this.#counts[name] = (this.#counts[name] ?? 0) + 1;
      },
      hash: new KeyedHash(),
      paths: { add: (_owner, path) => this.added.push(path) },
      now: Date.now,
      monotonicMs: () => this.nowMs,
    });
  }

  ufrag(of = OWNER, fields: { cluster?: number; expiresAtMs?: number; epoch?: bigint } = {}): string {
    const { cluster = CLUSTER, expiresAtMs = Date.now() + HOUR_MS, epoch = of.epoch } = fields;
    return sealToken({ cluster, transceiver: of.id, epoch, expiresAtMs, nonce: 1 }, this.ring.signing);
  }

  /** What has been counted since this was last called. */
  counts(): Partial<Record<ControlCounterName, number>> {
    const counts = this.#counts;
    this.#counts = {};
    return counts;
  }

  assertedAfterAsking(ufrag: string, slot = OWNER.slot, path = PATH): void {
    this.recall.unknown(path, slot);
    assert.deepEqual(this.counts(), { unknown_received: 1, unknown_asked: 1 });
    this.recall.asserted(path, slot, ufrag);
  }
}

test("the owner's assert gives a path its flow back, assured", () => {
  const scene = new Scene();
  scene.assertedAfterAsking(scene.ufrag());
  assert.deepEqual(scene.counts(), { assert_received: 1, assert_restored: 1 });
  assert.deepEqual(scene.asked, [{ slot: OWNER.slot, path: PATH }]);
  assert.deepEqual(scene.flows.info(PATH), { state: "assured", owner: OWNER.slot, pending: undefined, idleMs: 0 });
  assert.deepEqual(scene.added, [PATH], "it counts among the paths of its ufrag");
});

test("during an ICE restart both ufrags are asserted, and both are known then", () => {
  const scene = new Scene();
  scene.assertedAfterAsking(scene.ufrag());
  const older = scene.ufrag(OWNER, { expiresAtMs: Date.now() + 2 * HOUR_MS });
  scene.recall.asserted(PATH, OWNER.slot, older);
  assert.deepEqual(scene.counts(), { assert_received: 2, assert_restored: 2 });
  assert.equal(scene.flows.get(pathKey(PATH))?.owner.older, older);
});

const REFUSED: readonly {
  readonly what: ControlCounterName;
  readonly ufrag: (scene: Scene) => string;
  readonly before?: (scene: Scene) => void;
}[] = [
  { what: "assert_drop_token", ufrag: () => "A".repeat(32) },
  { what: "assert_drop_token", ufrag: () => "no ufrag at all, but of 32 bytes" },
  { what: "assert_drop_expired", ufrag: (scene) => scene.ufrag(OWNER, { expiresAtMs: Date.now() - HOUR_MS }) },
  { what: "assert_drop_cluster", ufrag: (scene) => scene.ufrag(OWNER, { cluster: CLUSTER + 1 }) },
  { what: "assert_drop_sender", ufrag: (scene) => scene.ufrag(STRANGER) },
  { what: "assert_drop_sender", ufrag: (scene) => scene.ufrag(OWNER, { epoch: OWNER.epoch + 1n }) },
  {
    what: "assert_drop_source",
    ufrag: (scene) => scene.ufrag(),
    before: (scene) => {
      scene.trunkEnds = [PATH];
    },
  },
];

test("an assert that was asked for is believed only with a token of its sender", () => {
  for (const { what, ufrag, before } of REFUSED) {
    const scene = new Scene();
    before?.(scene);
    scene.assertedAfterAsking(ufrag(scene));
    assert.deepEqual(scene.counts(), { assert_received: 1, [what]: 1 }, what);
    assert.equal(scene.flows.info(PATH), undefined, what);
  }
});

test("an assert that nobody asked for, or somebody else was asked for, changes nothing", () => {
  const scene = new Scene();
  scene.recall.asserted(PATH, OWNER.slot, scene.ufrag());
  scene.recall.asserted(PATH, undefined, scene.ufrag());
  assert.deepEqual(scene.counts(), { assert_received: 2, assert_drop_unasked: 2 });
  scene.assertedAfterAsking(scene.ufrag(), STRANGER.slot);
  assert.deepEqual(scene.counts(), { assert_received: 1, assert_drop_sender: 1 });
  scene.recall.asserted(PATH, OWNER.slot, scene.ufrag());
  assert.deepEqual(scene.counts(), { assert_received: 1, assert_drop_unasked: 1 });
  assert.equal(scene.flows.info(PATH), undefined);
});

test("an answer that comes late is no answer", () => {
  const scene = new Scene();
  scene.recall.unknown(PATH, OWNER.slot);
  scene.nowMs += 2 * ASKED_FOR_MS;
  scene.recall.asserted(PATH, OWNER.slot, scene.ufrag());
  assert.equal(scene.counts().assert_drop_unasked, 1);
});

test("an assert takes no path from another live owner, and none from a full table", () => {
  const owned = new Scene();
  owned.recall.unknown(PATH, OWNER.slot);
  owned.flows.restore(PATH, STRANGER.slot, [owned.ufrag(STRANGER)]);
  owned.counts();
  owned.recall.asserted(PATH, OWNER.slot, owned.ufrag());
  assert.deepEqual(owned.counts(), { assert_received: 1, assert_drop_owned: 1 });

  const full = new Scene(1);
  full.flows.restore(pathBytes(1, "192.0.2.2", 1), STRANGER.slot, [full.ufrag(STRANGER)]);
  full.assertedAfterAsking(full.ufrag());
  assert.deepEqual(full.counts(), { assert_received: 1, assert_drop_table_full: 1 });
});

test("nobody is asked about what is no path of this relay, is known, or comes from who has left", () => {
  const scene = new Scene();
  scene.recall.unknown(pathBytes(2, "192.0.2.1", 4_000), OWNER.slot);
  scene.recall.unknown(PATH, undefined);
  scene.recall.unknown(PATH, 99);
  scene.flows.restore(PATH, OWNER.slot, [scene.ufrag()]);
  scene.recall.unknown(PATH, OWNER.slot);
  assert.deepEqual(scene.counts(), {
    unknown_received: 4,
    unknown_drop_ingress: 1,
    unknown_drop_transceiver: 2,
    unknown_drop_known: 1,
  });
  assert.deepEqual(scene.asked, []);
});

test("a flood of unknown paths is asked about within the budget, and the budget fills again", () => {
  const scene = new Scene();
  const flood = (from: number) => {
    for (let i = 0; i < 30_000; i += 1) {
      scene.recall.unknown(pathBytes(1, `10.0.${i >> 8}.${i & 255}`, from), OWNER.slot);
    }
  };
  flood(1);
  assert.equal(scene.counts().unknown_asked, ASK_BUDGET.burst);
  scene.nowMs += 1_000;
  flood(2);
  assert.equal(scene.counts().unknown_asked, ASK_BUDGET.perSecond);
});
