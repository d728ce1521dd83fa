/** What other relays know, as a relay reads it: in which order, how carefully, and with turns for others in between. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { pino } from "pino";
import { FlowFeed } from "../../src/redis/flow-feed.ts";
import { STRETCH_MS } from "../../src/redis/limits.ts";
import type { RedisLink } from "../../src/redis/redis-link.ts";
import { packChanges } from "../../src/redis/write-behind.ts";
import { eventually } from "../kit/eventually.ts";

const PATIENCE_MS = 60_000;
const FLOWS = 40;

/** A Redis with that many flows and one change; `asked` is what it was asked for, in order. */
class Scene {
  readonly asked: string[] = [];
  readonly taken: string[] = [];
  failures = 0;
  onTake = (): void => {};
  readonly feed: FlowFeed;

  constructor(context: TestContext) {
    const keys = Array.from({ length: FLOWS }, (_, i) => `flow:${Buffer.of(i).toString("hex")}`);
    const record = (key: string): Buffer => Buffer.from(`record of ${key}`);
    const change = packChanges([{ path: Buffer.of(200), record: Buffer.from("change"), ended: false }]);
    const link = {
      isReady: true,
      key: (name: string) => name,
      streamEnd: async () => this.#ask("end", "1-1"),
      keysOf: async function* () {
        yield keys.slice(0, FLOWS / 2);
        yield keys.slice(FLOWS / 2);
      },
      wholeValues: async (some: readonly string[]) => {
        this.asked.push("whole");
        if (this.failures-- > 0) throw new Error("an answer is too long");
        return some.map(record);
      },
      values: async (some: readonly string[], most: number) =>
        this.#ask(
          "parts",
          some.map((key) => record(key).subarray(0, most)),
        ),
      streamAfter: async (_: string, id: string) =>
        this.#ask(`after ${id}`, id === "1-1" ? [{ id: "2-1", value: change }] : []),
    };
    this.feed = new FlowFeed({
      link: link as unknown as RedisLink,
      hasTransceivers: () => true,
      onReady: () => {},
      isOwn: () => false,
      take: (path, bytes) => {
        this.taken.push(`${path.toString("hex")} ${bytes}`);
        this.onTake();
      },
      restored: () => this.taken.length,
      logger: pino({ level: "silent" }),
    });
    this.feed.start();
    context.after(() => this.feed.stop());
  }

  async asks(what: string): Promise<void> {
    await eventually(
      what,
      async () => this.asked,
      (asked) => asked.includes(what),
      PATIENCE_MS,
    );
  }

  #ask<Answer>(what: string, answer: Answer): Answer {
    this.asked.push(what);
    return answer;
  }
}

test("first all that is there, then the changes since before", async (context) => {
  const scene = new Scene(context);
  await scene.asks("after 2-1");
  assert.deepEqual(scene.asked.slice(0, 5), ["end", "whole", "whole", "after 1-1", "after 2-1"]);
  assert.equal(scene.taken.length, FLOWS + 1);
  assert.deepEqual([scene.taken[0], scene.taken[FLOWS]], ["00 record of flow:00", "c8 change"]);
  assert.equal(scene.feed.preload?.flows, FLOWS);
});

test("after a preload that failed the next one asks for no more of each value than a record can have", async (context) => {
  const scene = new Scene(context);
  scene.failures = 1;
  await scene.asks("after 2-1");
  const asked = scene.asked.slice(scene.asked.lastIndexOf("end"), -1);
  assert.deepEqual(asked.slice(0, 4), ["end", "parts", "parts", "after 1-1"]);
  assert.equal(scene.feed.preload?.flows, FLOWS);
});

test("whoever waits for the event loop has a turn after each stretch of work", async (context) => {
  const scene = new Scene(context);
  let turns = 0;
  const turn = (): void => {
    turns++;
    next = setImmediate(turn);
  };
  let next = setImmediate(turn);
  context.after(() => clearImmediate(next));
  const seen: number[] = [];
  scene.onTake = () => {
    seen.push(turns);
    for (const endMs = performance.now() + STRETCH_MS; performance.now() < endMs; );
  };
  await scene.asks("after 2-1");
  assert.equal(new Set(seen).size, FLOWS + 1, "each took a whole stretch, so each has had a turn of its own");
});
