/** Which transceivers are believed to be where, by what several sources say. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import type { DirectoryEntry } from "../../src/relay/directory.ts";
import { DirectorySources, isInNetworks, networkOf } from "../../src/relay/directory-sources.ts";
import { resolveTemplate } from "../../src/relay/dns-source.ts";
import { FORGET_UNNAMED_MS } from "../../src/relay/limits.ts";

const at = (id: number, host: number, port = 7_000): DirectoryEntry => ({ id, address: `10.0.0.${host}`, port });

class Scene {
  nowMs = 0;
  readonly answering = new Set<number>();
  list: readonly DirectoryEntry[] = [];
  applied = 0;
  readonly sources = new DirectorySources({
    isAllowed: (address) => isInNetworks(address, [networkOf("10.0.0.0/8")!]),
    answers: (id) => this.answering.has(id),
    apply: (entries) => {
      this.list = entries;
      this.applied += 1;
    },
    logger: pino({ level: "silent" }),
  });
  set(source: "static" | "dns" | "redis", ...entries: DirectoryEntry[]): void {
    this.sources.set(source, entries, this.nowMs);
  }
}

test("what several sources name is one list, and the operator's word counts first", () => {
  const scene = new Scene();
  scene.set("redis", at(1, 11), at(2, 12), at(3, 13));
  scene.set("dns", at(2, 22), at(4, 24));
  scene.set("static", at(3, 33));
  assert.deepEqual(scene.list, [at(1, 11), at(2, 22), at(3, 33), at(4, 24)]);
  const { applied } = scene;
  scene.set("dns", at(2, 22), at(4, 24));
  assert.equal(scene.applied, applied, "the same again changes nothing");
});

test("a source that goes silent, or names nobody, removes nobody who answers", () => {
  const scene = new Scene();
  scene.set("redis", at(1, 11), at(2, 12));
  scene.answering.add(1);
  scene.set("redis");
  scene.nowMs = FORGET_UNNAMED_MS - 1;
  scene.sources.tick(scene.nowMs);
  assert.deepEqual(scene.list, [at(1, 11), at(2, 12)]);
  scene.nowMs = 1_000 * FORGET_UNNAMED_MS;
  scene.sources.tick(scene.nowMs);
  assert.deepEqual(scene.list, [at(1, 11)]);
});

test("who answers stays where he is, whatever a source says; the operator may move him", () => {
  const scene = new Scene();
  scene.set("redis", at(1, 11));
  scene.answering.add(1);
  scene.set("redis", at(1, 99));
  scene.set("dns", at(1, 98));
  assert.deepEqual(scene.list, [at(1, 11)]);
  scene.answering.clear();
  scene.sources.tick(scene.nowMs);
  assert.deepEqual(scene.list, [at(1, 98)]);
  scene.answering.add(1);
  scene.set("static", at(1, 50));
  assert.deepEqual(scene.list, [at(1, 50)]);
});

test("whom the operator takes out is gone at once", () => {
  const scene = new Scene();
  scene.set("static", at(1, 11));
  scene.answering.add(1);
  scene.set("static");
  assert.deepEqual(scene.list, []);
});

test("no source gets an address in that is not allowed, however it is written", () => {
  const scene = new Scene();
  for (const address of ["192.168.0.1", "127.0.0.1", "::ffff:192.168.0.1", "::1", "2001:db8::1"]) {
    for (const source of ["static", "dns", "redis"] as const) scene.set(source, { id: 1, address, port: 7_000 });
  }
  assert.deepEqual(scene.list, []);
  assert.deepEqual(scene.sources.refused, { static: 5, dns: 5, redis: 5 });
  scene.set("redis", { id: 1, address: "::ffff:10.0.0.1", port: 7_000 });
  assert.deepEqual(scene.list, [at(1, 1)]);
});

test("networks are read with every notation of their addresses, and refused if they are none", () => {
  const inside: readonly (readonly [address: string, network: string, is: boolean])[] = [
    ["10.1.2.3", "10.0.0.0/8", true],
    ["::ffff:10.1.2.3", "10.0.0.0/8", true],
    ["10.1.2.3", "::ffff:10.0.0.0/104", true],
    ["10.1.2.3", "10.1.2.3", true],
    ["10.1.2.4", "10.1.2.3", false],
    ["fd00::1", "fc00::/7", true],
    ["10.1.2.3", "::/0", false],
    ["::1", "0.0.0.0/0", false],
  ];
  for (const [address, network, is] of inside) {
    assert.equal(isInNetworks(address, [networkOf(network)!]), is, `${address} in ${network}`);
  }
  for (const text of ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "media", "fc00::/129", "10.0.0.0/x"]) {
    assert.equal(networkOf(text), undefined, text);
  }
});

test("names are resolved by template; one that is not known names nobody", async () => {
  const asked: string[] = [];
  const entries = await resolveTemplate(
    { host: "transceiver-{id}.media", port: 7_000, firstId: 0, lastId: 4 },
    4,
    async (name) => {
      asked.push(name);
      if (name === "transceiver-2.media") throw new Error("ENOTFOUND");
      return `10.0.0.${asked.length}`;
    },
  );
  assert.deepEqual(
    asked.sort(),
    [0, 1, 2, 3, 4].map((id) => `transceiver-${id}.media`),
  );
  assert.deepEqual(entries.map(({ id }) => id).sort(), [0, 1, 3, 4]);
});

test("who is adopted stays while sources have not named it again, and as long as it answers", () => {
  const scene = new Scene();
  scene.sources.adopt([at(1, 11), at(2, 12)], scene.nowMs);
  scene.set("static", at(3, 13));
  assert.deepEqual(scene.list, [at(1, 11), at(2, 12), at(3, 13)]);
  scene.answering.add(1);
  scene.nowMs += FORGET_UNNAMED_MS + 1;
  scene.sources.tick(scene.nowMs);
  assert.deepEqual(scene.list, [at(1, 11), at(3, 13)]);
});
