/** When a relay writes which flows to Redis. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { FlowInfo } from "../../src/engine/engine.ts";
import { FlowBook } from "../../src/redis/flow-book.ts";
import { FIRST_LOOK_MS, REFRESH_MS } from "../../src/redis/limits.ts";
import { pathBytes, pathKey } from "../../src/trunk/path.ts";

const PATH = pathBytes(1, "192.0.2.1", 4_000);
const SLOT = 3;
const STEP_MS = 100;

class Scene {
  nowMs = 1_000_000;
  room = true;
  readonly flows = new Map<string, Omit<FlowInfo, "idleMs"> & { seenMs: number }>();
  readonly written: { readonly ufrags: readonly string[]; readonly seenMs: number }[] = [];
  readonly book: FlowBook;

  constructor(capacity = 100) {
    this.book = new FlowBook({
      engine: {
        flow: (path) => {
          const flow = this.flows.get(pathKey(path));
          return flow && { ...flow, idleMs: this.nowMs - flow.seenMs };
        },
      },
      capacity,
      write: (_path, { ufrags }, seenMs) => {
        if (this.room) this.written.push({ ufrags, seenMs });
        return this.room;
      },
    });
  }

  flow(state: "tentative" | "assured" = "assured", owner = SLOT, pending?: number): void {
    this.flows.set(pathKey(PATH), { state, owner, pending, seenMs: this.nowMs });
  }
  /** Lets time pass as the relay does; downlink keeps the flow alive, or not. */
  pass(ms: number, isAlive = true): void {
    for (const end = this.nowMs + ms; this.nowMs < end; ) {
      this.nowMs += STEP_MS;
      const flow = this.flows.get(pathKey(PATH));
      if (flow !== undefined && isAlive) flow.seenMs = this.nowMs;
      this.book.tick(this.nowMs);
    }
  }
}

test("a flow is written once its transceiver has answered, and again while it is alive", () => {
  const scene = new Scene();
  scene.book.admitted(PATH, SLOT, "one", scene.nowMs);
  scene.flow("tentative");
  scene.pass(FIRST_LOOK_MS + STEP_MS);
  assert.equal(scene.written.length, 0);
  scene.flow();
  scene.pass(1_000);
  assert.equal(scene.written.length, 1);
  scene.pass(3 * REFRESH_MS);
  assert.equal(scene.written.length, 4);
  assert.deepEqual(scene.written.at(-1)?.ufrags, ["one"]);
});

test("what is written says when the flow was last alive", () => {
  const scene = new Scene();
  scene.flow();
  const aliveMs = scene.nowMs;
  scene.book.admitted(PATH, SLOT, "one", scene.nowMs);
  scene.pass(REFRESH_MS + 1_000, false);
  assert.deepEqual(
    scene.written.map(({ seenMs }) => seenMs),
    [aliveMs, aliveMs],
  );
});

test("after an ICE restart both ufrags are written, the newest first", () => {
  const scene = new Scene();
  scene.flow();
  for (const ufrag of ["one", "two", "three", "three"]) scene.book.admitted(PATH, SLOT, ufrag, scene.nowMs);
  scene.pass(1_000);
  assert.deepEqual(scene.written[0]?.ufrags, ["three", "two"]);
});

test("a pending session is written only when it has become the owner", () => {
  const scene = new Scene();
  scene.flow();
  scene.book.admitted(PATH, SLOT, "owner", scene.nowMs);
  scene.flow("assured", SLOT, 4);
  scene.book.admitted(PATH, 4, "pending", scene.nowMs);
  scene.pass(1_000);
  assert.deepEqual(scene.written[0]?.ufrags, ["owner"]);
  scene.flow("assured", 4);
  scene.book.promoted(PATH, 4, "pending", scene.nowMs);
  scene.pass(1_000);
  assert.deepEqual(scene.written[1]?.ufrags, ["pending"]);
});

test("a flow that another relay keeps alive is not written here, until it is alive here", () => {
  const scene = new Scene();
  scene.flow();
  scene.book.restored(PATH, SLOT, ["one"], scene.nowMs);
  scene.pass(2 * REFRESH_MS, false);
  assert.deepEqual(scene.written, []);
  scene.pass(3_000);
  assert.equal(scene.written.length, 1);
});

test("two relays do not keep a dead flow alive between them", () => {
  const scene = new Scene();
  scene.flow();
  scene.book.admitted(PATH, SLOT, "one", scene.nowMs);
  for (let i = 0; i < 10; i += 1) {
    // The other relay's record comes back, and makes the flow look as if it had just been seen.
    scene.book.restored(PATH, SLOT, ["one"], scene.nowMs);
    scene.flow();
    scene.pass(REFRESH_MS, false);
  }
  assert.deepEqual(scene.written, []);
});

test("the record goes with the last ufrag, and only for who has it", () => {
  const scene = new Scene();
  scene.flow();
  scene.book.admitted(PATH, SLOT, "one", scene.nowMs);
  scene.book.admitted(PATH, SLOT, "two", scene.nowMs);
  assert.equal(scene.book.ended(PATH, SLOT + 1, "one"), false);
  assert.equal(scene.book.ended(PATH, SLOT, "three"), false);
  assert.equal(scene.book.ended(PATH, SLOT, "one"), false);
  assert.equal(scene.book.ended(PATH, SLOT, "two"), true);
  assert.equal(scene.book.size, 0);
});

test("what finds no room is written later, and flows that are gone are forgotten", () => {
  const scene = new Scene();
  scene.room = false;
  scene.flow();
  scene.book.admitted(PATH, SLOT, "one", scene.nowMs);
  scene.pass(1_000);
  assert.deepEqual(scene.written, []);
  scene.room = true;
  scene.pass(2 * STEP_MS);
  assert.equal(scene.written.length, 1);
  scene.flows.clear();
  scene.pass(2 * STEP_MS);
  assert.equal(scene.book.size, 0);
});

test("the book is no larger than the flow table", () => {
  const scene = new Scene(10);
  for (let port = 1; port <= 50; port += 1) {
    scene.book.admitted(pathBytes(1, "192.0.2.1", port), SLOT, "one", scene.nowMs);
    scene.book.restored(pathBytes(1, "192.0.2.2", port), SLOT, ["one"], scene.nowMs);
  }
  assert.equal(scene.book.size, 10);
});
