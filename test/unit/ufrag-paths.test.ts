/** Which paths a ufrag may have, and which goes when it has one too many. The engine is one that answers what it is told to. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import type { FlowInfo, Slot } from "../../src/engine/engine.ts";
import { KeyedHash } from "../../src/relay/keyed-hash.ts";
import { IN_USE_MS, PATHS_SWEEP_STEPS } from "../../src/relay/limits.ts";
import { UfragPaths } from "../../src/relay/ufrag-paths.ts";
import { pathBytes, pathKey } from "../../src/trunk/path.ts";

const MOST = 16;
const SLOT = 5;
const hash = new KeyedHash();
const ownerOf = (letter: string, slot: Slot = SLOT) => {
  const ufrag = letter.repeat(32);
  return { ufrag, hash: hash.ofUfrag(ufrag), slot };
};
const A = ownerOf("a");
const B = ownerOf("b");
const pathOf = (n: number): Buffer =>
  n % 2 === 0 ? pathBytes(1, `192.0.2.${n & 255}`, 1_000 + n) : pathBytes(2, `2001:db8::${n.toString(16)}`, 1_000 + n);

interface End {
  readonly path: string;
  readonly slot: Slot;
  readonly ufrag: string;
}
const isEndOf = (end: End, n: number): boolean =>
  end.path === pathKey(pathOf(n)) && end.slot === SLOT && end.ufrag === A.ufrag;

let flows: Map<string, FlowInfo>;
let ended: End[];
let asked: number;
let evicted: number;
/** What the engine says to an end. */
let held: boolean;

beforeEach(() => {
  flows = new Map();
  ended = [];
  asked = 0;
  evicted = 0;
  held = true;
});

function newPaths(capacity = 1_000, most = MOST): UfragPaths {
  return new UfragPaths({
    engine: {
      flow: (path) => {
        asked++;
        return flows.get(pathKey(path));
      },
      end: (path, slot, ufrag) => {
        ended.push({ path: pathKey(path), slot, ufrag });
        flows.delete(pathKey(path));
        return held;
      },
    },
    capacity,
    most,
    inUseMs: IN_USE_MS,
    onEvicted: () => {
      evicted++;
    },
  });
}

function put(n: number, state: FlowInfo["state"], idleMs: number, claim: Partial<FlowInfo> = {}): void {
  flows.set(pathKey(pathOf(n)), { state, owner: SLOT, pending: undefined, idleMs, ...claim });
}

/** Sixteen paths with these flows, then a seventeenth. Which one went? */
function whoGoes(describe: (n: number) => void): number | undefined {
  const paths = newPaths();
  for (let n = 0; n < MOST; n++) {
    describe(n);
    paths.add(A, pathOf(n));
  }
  assert.deepEqual(ended, [], "sixteen are not too many");
  put(MOST, "tentative", 0);
  paths.add(A, pathOf(MOST));
  assert.equal(evicted, ended.length);
  const gone = Array.from({ length: MOST + 1 }, (_, n) => n).find((n) => ended.some((end) => isEndOf(end, n)));
  assert.equal(ended.length, gone === undefined ? 0 : 1);
  return gone;
}

const cases: readonly (readonly [what: string, gone: number | undefined, describe: (n: number) => void])[] = [
  [
    "the oldest tentative one",
    6,
    (n) => (n === 6 || n === 9 ? put(n, "tentative", n === 6 ? 3_000 : 1_000) : put(n, "assured", 50_000)),
  ],
  ["of two tentative ones as old, the one that came first", 6, (n) => put(n, n < 6 ? "assured" : "tentative", 768)],
  ["without a tentative one, the least recently seen", 11, (n) => put(n, "assured", n === 11 ? 30_000 : 20_000)],
  ["not the oldest, if it is in use", 11, (n) => put(n, "assured", n === 11 ? IN_USE_MS + 1 : n === 0 ? 1_300 : 5_000)],
  ["among paths in use the newest", 15, (n) => put(n, "assured", n === 0 ? IN_USE_MS - 1 : 100)],
  ["none, if one has expired unnoticed", undefined, (n) => (n === 3 ? undefined : put(n, "assured", 100))],
  ["none, if one has another owner now", undefined, (n) => put(n, "assured", 100, n === 3 ? { owner: SLOT + 1 } : {})],
  [
    "one that is still pending, as if tentative",
    4,
    (n) => put(n, "assured", 100, n === 4 ? { owner: SLOT + 1, pending: SLOT } : {}),
  ],
];
for (const [what, gone, describe] of cases) {
  test(`of seventeen paths goes ${what}`, () => {
    assert.equal(whoGoes(describe), gone);
  });
}

test("a path that the ufrag has already is not one more", () => {
  const paths = newPaths();
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < MOST; n++) {
      put(n, "assured", 0);
      paths.add(A, pathOf(n));
    }
  }
  assert.deepEqual({ ended, asked }, { ended: [], asked: 0 });
});

test("ufrags do not count against each other, even on the same path", () => {
  const paths = newPaths();
  for (let n = 0; n < MOST; n++) {
    put(n, "assured", 0);
    paths.add(A, pathOf(n));
    paths.add(B, pathOf(n));
  }
  assert.deepEqual(ended, []);
  paths.add(B, pathOf(MOST));
  assert.deepEqual(
    ended.map(({ ufrag }) => ufrag),
    [B.ufrag],
  );
});

test("a path that its session has left makes room", () => {
  const paths = newPaths();
  for (let n = 0; n < MOST; n++) {
    put(n, "assured", 0);
    paths.add(A, pathOf(n));
  }
  paths.remove(B.hash, pathOf(0));
  paths.remove(A.hash, pathOf(7));
  put(MOST, "assured", 0);
  paths.add(A, pathOf(MOST));
  assert.deepEqual(ended, []);
  put(MOST + 1, "assured", 0);
  paths.add(A, pathOf(MOST + 1));
  assert.equal(ended.length, 1);
});

test("a path that the engine had taken from the ufrag already is no eviction", () => {
  held = false;
  const paths = newPaths();
  for (let n = 0; n <= MOST; n++) {
    put(n, "assured", 0);
    paths.add(A, pathOf(n));
  }
  assert.deepEqual({ ended: ended.length, evicted }, { ended: 1, evicted: 0 });
});

test("whether a token has an assured path", () => {
  const paths = newPaths();
  assert.equal(paths.hasAssured(A), false);
  put(1, "tentative", 0);
  put(2, "assured", 0, { owner: SLOT + 1, pending: SLOT });
  for (const n of [1, 2, 3]) paths.add(A, pathOf(n));
  assert.equal(paths.hasAssured(A), false);
  put(3, "assured", 0);
  assert.equal(paths.hasAssured(A), true);
  assert.equal(paths.hasAssured(B), false);
});

test("the sweep forgets paths whose flow is gone, and asks about no more than a step at a time", () => {
  const capacity = 6_000;
  const paths = newPaths(capacity);
  const owners = Array.from({ length: 500 }, (_, n) => ownerOf(String.fromCharCode(0x100 + n)));
  for (const [n, owner] of owners.entries()) paths.add(owner, pathOf(n));
  put(3, "assured", 0);
  for (let step = 0; step < PATHS_SWEEP_STEPS; step++) {
    const before = asked;
    paths.sweep();
    assert.ok(asked - before <= capacity / PATHS_SWEEP_STEPS);
  }
  assert.equal(asked, 500);
  for (let step = 0; step < PATHS_SWEEP_STEPS; step++) paths.sweep();
  assert.equal(asked, 501, "one is left");
});

test("memory is bounded: when it is full, what is gone makes room, else some path is forgotten", () => {
  const paths = newPaths(64);
  for (let n = 0; n < 64; n++) paths.add(A, pathOf(n)); // each of them gone at once
  for (let n = 0; n < 5_000; n++) {
    put(n, "assured", 0);
    paths.add(ownerOf(String.fromCharCode(0x100 + n)), pathOf(n));
  }
  assert.deepEqual(ended, [], "nobody had too many");
  assert.equal(paths.hasAssured(ownerOf(String.fromCharCode(0x100 + 4_999))), true);
});

test("random adding and leaving agrees with a plain map", () => {
  const paths = newPaths(300, 4);
  const model = new Map<string, Set<number>>();
  const owners = ["a", "b", "c", "d", "e", "f", "g", "h"].map((letter) => ownerOf(letter));
  let state = 1;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let n = 0; n < 40; n++) put(n, "assured", 100);
  for (let step = 0; step < 20_000; step++) {
    const owner = owners[random(owners.length)]!;
    const had = model.get(owner.ufrag) ?? new Set<number>();
    model.set(owner.ufrag, had);
    const n = random(40);
    ended = [];
    if (random(3) === 0) {
      paths.remove(owner.hash, pathOf(n));
      had.delete(n);
      continue;
    }
    paths.add(owner, pathOf(n));
    if (!had.has(n) && had.size === 4) {
      const newest = [...had].at(-1)!;
      assert.deepEqual(ended, [{ path: pathKey(pathOf(newest)), slot: SLOT, ufrag: owner.ufrag }], `step ${step}`);
      had.delete(newest);
      put(newest, "assured", 100);
    } else {
      assert.deepEqual(ended, [], `step ${step}`);
    }
    had.add(n);
  }
});
