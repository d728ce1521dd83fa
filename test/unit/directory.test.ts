import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import type { TransceiverEntry } from "../../src/engine/engine.ts";
import { Directory, type DirectoryEntry } from "../../src/relay/directory.ts";

const ENTRY: DirectoryEntry = { id: 7, address: "127.0.0.1", port: 7000 };
const EPOCH = 0x19c_1c38_a401n;
const low16 = (epoch: bigint): number => Number(epoch & 0xffffn);

/** A directory with a clock and an engine of its own. */
class Fixture {
  now = 0;
  readonly pings: { readonly id: number; readonly nonce: Buffer }[] = [];
  readonly added: TransceiverEntry[] = [];
  readonly retired: number[] = [];
  readonly directory = new Directory({
    engine: {
      addTransceiver: (entry) => this.added.push(entry),
      retireTransceiver: (slot) => this.retired.push(slot),
    },
    ping: (id, _to, nonce) => this.pings.push({ id, nonce }),
    now: () => this.now,
    logger: pino({ level: "silent" }),
  });

  pong(epoch = EPOCH, nonce = this.pings.at(-1)!.nonce, draining = false): void {
    this.directory.heard({ transceiver: 7, epoch, nonce, draining });
  }
  /** Lets time pass as the relay does, in steps. */
  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += 100;
      this.directory.tick();
    }
  }
  find(epoch = EPOCH): number | undefined {
    return this.directory.find(7, low16(epoch));
  }
}

test("an entry takes flows only after a pong to its own ping, and only tokens of that epoch", () => {
  const f = new Fixture();
  f.directory.set([ENTRY]);
  assert.equal(f.pings.length, 1);
  assert.equal(f.find(), undefined);
  f.pong(EPOCH, Buffer.alloc(8));
  assert.equal(f.find(), undefined);
  f.pong();
  assert.equal(f.find(), 1);
  assert.equal(f.find(EPOCH + 1n), undefined);
  assert.equal(f.directory.find(8, low16(EPOCH)), undefined);
  assert.deepEqual(f.added, [{ ...ENTRY, epoch: EPOCH }]);
});

test("three seconds of silence mean no new flows, and leave the entry to the flows it has", () => {
  const f = new Fixture();
  f.directory.set([ENTRY]);
  f.pong();
  f.pass(3_000);
  assert.equal(f.find(), 1);
  f.pass(200);
  assert.equal(f.find(), undefined);
  assert.deepEqual(f.directory.counts(), { unanswered: 0, live: 0, draining: 0, dead: 1 });
  assert.deepEqual(f.retired, []);
  f.pong();
  assert.equal(f.find(), 1);
  assert.equal(f.added.length, 1);
});

test("a newer epoch is a new entry, and an older one is not believed", () => {
  const f = new Fixture();
  f.directory.set([ENTRY]);
  f.pong();
  f.pong(EPOCH + 5n);
  assert.deepEqual(f.retired, [1]);
  assert.equal(f.find(), undefined);
  assert.equal(f.find(EPOCH + 5n), 2);
  f.pong(EPOCH);
  assert.equal(f.find(EPOCH + 5n), 2);
});

test("a draining transceiver keeps taking the flows of its own sessions", () => {
  const f = new Fixture();
  f.directory.set([ENTRY]);
  f.pong(EPOCH, undefined, true);
  assert.equal(f.find(), 1);
  assert.equal(f.directory.counts().draining, 1);
});

test("a new list retires who has left or moved, and leaves the rest as they are", () => {
  const f = new Fixture();
  f.directory.set([ENTRY]);
  f.pong();
  f.directory.set([ENTRY, { id: 8, address: "127.0.0.1", port: 7001 }]);
  assert.equal(f.find(), 1);
  f.directory.set([{ ...ENTRY, port: 7002 }]);
  assert.deepEqual(f.retired, [1]);
  assert.equal(f.find(), undefined);
  assert.equal(f.directory.knows(8), false);
  f.pong();
  assert.equal(f.find(), 2);
});

test("pings come once a second from who answers, five times a second from who has not", () => {
  const f = new Fixture();
  f.directory.set([ENTRY]);
  f.pass(1_000);
  assert.equal(f.pings.length, 6);
  f.pong();
  f.pass(1_000);
  assert.equal(f.pings.length, 7);
});

test("who is adopted keeps its slot, and takes new flows after a pong", () => {
  const f = new Fixture();
  f.directory.adopt([{ ...ENTRY, epoch: EPOCH, slot: 5 }]);
  assert.equal(f.directory.slotOf(7, EPOCH), 5);
  assert.equal(f.find(), undefined);
  f.directory.set([ENTRY]);
  f.pong();
  assert.equal(f.find(), 5);
  assert.deepEqual([f.added, f.retired], [[], []]);
});

test("who is adopted and has been restarted meanwhile loses its slot, as does one that is not in the list", () => {
  const f = new Fixture();
  f.directory.adopt([{ ...ENTRY, epoch: EPOCH, slot: 5 }]);
  f.pong(EPOCH + 1n);
  assert.deepEqual([f.added, f.retired], [[{ ...ENTRY, epoch: EPOCH + 1n }], [5]]);
  f.directory.set([]);
  assert.deepEqual(f.retired, [5, 1]);
});

test("an address is the same however it is written", () => {
  const f = new Fixture();
  f.directory.adopt([{ id: 7, address: "2001:db8::5", port: 7000, epoch: EPOCH, slot: 5 }]);
  f.directory.set([{ id: 7, address: "2001:DB8:0::0005", port: 7000 }]);
  assert.deepEqual(f.retired, []);
});
