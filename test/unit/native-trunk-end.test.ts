/** The boundary of the native trunk end: misuse is a TypeError, and the end of its thread is survived. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { TRUNK_COUNTERS } from "../../src/transceiver/trunk-counters.ts";
import { loadTrunkEnd } from "../../src/transceiver/trunk-end-binding.ts";

const TrunkEnd = loadTrunkEnd();
const keys = new KeyRing([{ id: 3, secret: Buffer.alloc(32, 1), signs: true }]);
const options = {
  id: 1,
  cluster: 1,
  epoch: 5n,
  local: { address: "127.0.0.1", port: 0 },
  receiveBufferBytes: 0,
  maxMediaAgeMs: 200,
};
const counts = () => new Float64Array(TRUNK_COUNTERS.length);
const places = () => new Uint32Array(4 * TrunkEnd.batchPlaces);

/** What JavaScript can do that TypeScript would not let pass. */
type Loose = new (...values: unknown[]) => Record<string, (...values: unknown[]) => unknown>;
const Unchecked = TrunkEnd as unknown as Loose;

test("wrong arguments are refused with a TypeError that names them", async () => {
  const wrong: readonly [values: unknown[], name: RegExp][] = [
    [[], /options/],
    [[{ ...options, id: -1 }, counts(), () => {}], /id/],
    [[{ ...options, epoch: 5 }, counts(), () => {}], /epoch/],
    [[{ ...options, local: { address: "localhost", port: 0 } }, counts(), () => {}], /local/],
    [[options, new Float64Array(TRUNK_COUNTERS.length - 1), () => {}], /counts/],
    [[options, new Uint32Array(TRUNK_COUNTERS.length), () => {}], /counts/],
    [[options, counts()], /onReadable/],
  ];
  for (const [values, name] of wrong) {
    assert.throws(() => new Unchecked(...values), { name: "TypeError", message: name });
  }

  const end = new Unchecked(options, counts(), () => {});
  assert.throws(() => end.start!(), /setKeys/);
  assert.throws(() => end.setKeys!(4, keys.all), { name: "TypeError" });
  end.setKeys!(3, keys.all);
  assert.throws(() => end.receive!(Buffer.alloc(TrunkEnd.batchBytes), 0, places()), /not open/);
  end.start!();
  try {
    assert.throws(() => end.start!(), /already/);
    const calls: readonly [name: string, values: unknown[]][] = [
      ["receive", [Buffer.alloc(TrunkEnd.batchBytes - 1), 0, places()]],
      ["receive", [Buffer.alloc(TrunkEnd.batchBytes), 1, places()]],
      ["receive", [Buffer.alloc(TrunkEnd.batchBytes), -1, places()]],
      ["receive", [Buffer.alloc(TrunkEnd.batchBytes), 0, new Uint32Array(4)]],
      ["receive", [Buffer.alloc(TrunkEnd.batchBytes), 0, new Float64Array(4 * TrunkEnd.batchPlaces)]],
      ["receive", ["buffer", 0, places()]],
      ["send", [Buffer.alloc(10), 11]],
      ["send", [Buffer.alloc(10), 10]],
      ["send", [undefined, 0]],
    ];
    for (const [name, values] of calls) assert.throws(() => end[name]!(...values), { name: "TypeError" }, name);
  } finally {
    end.stop!();
  }
  end.stop!();
  assert.throws(() => end.start!(), /already/);
  assert.throws(() => end.send!(Buffer.alloc(0), 0), /not open/);
  assert.equal(end.kernelDrops!(), 0);
});

test("a thread that ends in the middle of its work takes its trunk end with it, and nothing else", async () => {
  const socket = createSocket("udp4");
  for (let round = 0; round < 5; round++) {
    const worker = new Worker(fileURLToPath(new URL("../kit/trunk-end-thread.js", import.meta.url)));
    const [port] = (await once(worker, "message")) as [number];
    const sending = setInterval(() => socket.send("noise", port, "127.0.0.1"), 0);
    await once(worker, "message");
    await worker.terminate();
    clearInterval(sending);
  }
  await new Promise<void>((resolve) => socket.close(() => resolve()));
});
