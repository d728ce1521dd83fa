/** Which SCTP packets werift may read: all that an honest client sends, and none that would hold it up. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { packageRoot } from "../../src/package-root.ts";
import { MAX_CHUNKS, MAX_TSN_AHEAD, mayReadSctp, type SctpBounds } from "../../src/transceiver/werift/sctp-check.ts";
import { mutated, Random } from "../kit/mutations.ts";

const BOUNDS: SctpBounds = { lastReceivedTsn: 0xffff_fff0, nextTsn: 100 };
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

/** A chunk with the length that it has, and padding. */
function chunk(type: number, value: Buffer, length = value.length + 4): Buffer {
  const header = Buffer.from([type, 0, length >> 8, length & 255]);
  return Buffer.concat([header, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}
const packet = (...chunks: Buffer[]): Buffer => Buffer.concat([Buffer.alloc(12, 1), ...chunks]);
const may = (...chunks: Buffer[]): boolean => mayReadSctp(packet(...chunks), BOUNDS);
const data = (tsn: number, text: string): Buffer => {
  const value = Buffer.alloc(12 + text.length);
  value.writeUInt32BE(tsn);
  value.write(text, 12);
  return chunk(0, value);
};
const sack = (cumulative: number, gaps: readonly (readonly [number, number])[], claimed = gaps.length): Buffer => {
  const value = Buffer.alloc(12 + 4 * gaps.length);
  value.writeUInt32BE(cumulative >>> 0);
  value.writeUInt16BE(claimed, 8);
  gaps.forEach(([start, end], i) => {
    value.writeUInt16BE(start, 12 + 4 * i);
    value.writeUInt16BE(end, 14 + 4 * i);
  });
  return chunk(3, value);
};

const HONEST: Record<string, Buffer> = {
  "INIT with its parameters": chunk(1, hex("11223344 00100000 ffff ffff 00000001 c0000004 8008000a c18202c00f00 0000")),
  "COOKIE-ECHO": chunk(10, Buffer.alloc(24)),
  "COOKIE-ACK": chunk(11, Buffer.alloc(0)),
  DATA: data(0xffff_fff1, "a"),
  "bundled DATA": Buffer.concat([data(0xffff_fff1, "abc"), data(0xffff_fff2, "abcde")]),
  "DATA past the wrap": data((0xffff_fff0 + MAX_TSN_AHEAD) >>> 0, "a"),
  "DATA seen before": data(0xffff_ff00, "a"),
  SACK: sack(99, []),
  "SACK with gaps": sack(89, [
    [2, 3],
    [5, 10],
  ]),
  HEARTBEAT: chunk(4, hex("0001000a 0102030405060000")),
  "HEARTBEAT-ACK": chunk(5, hex("00010008 01020304")),
  "FORWARD-TSN": chunk(192, hex("fffffff5 00010002")),
  "RE-CONFIG, outgoing reset": chunk(130, hex("000d0012 00000001 00000002 00000003 0001 0000")),
  "RE-CONFIG, response": chunk(130, hex("0010000c 00000001 00000001")),
  SHUTDOWN: chunk(7, hex("00000001")),
  "ABORT with a cause": chunk(6, hex("000c0008 62796521")),
};

for (const [name, bytes] of Object.entries(HONEST)) {
  test(`${name} may be read`, () => assert.equal(may(bytes), true));
}

const HOSTILE: Record<string, Buffer> = {
  "no chunk": Buffer.alloc(0),
  "a chunk of length 0, which would be read for ever": chunk(8, Buffer.alloc(0), 0),
  "a chunk of length 3": chunk(8, Buffer.alloc(0), 3),
  "a chunk that is longer than its packet": chunk(4, Buffer.alloc(8), 13),
  "a chunk of no known type": chunk(77, Buffer.alloc(4)),
  "a parameter of length 0, which would be read for ever": chunk(4, hex("00010000")),
  "a parameter that is longer than its chunk": chunk(4, hex("00010009 01020304")),
  "a cause of length 0": chunk(6, hex("000c0000")),
  "DATA without data": data(0xffff_fff1, ""),
  "DATA far ahead": data((0xffff_fff1 + MAX_TSN_AHEAD) >>> 0, "a"),
  "more chunks than anybody bundles": Buffer.concat(
    Array.from({ length: MAX_CHUNKS + 1 }, () => chunk(11, Buffer.alloc(0))),
  ),
  "SACK of what was never sent": sack(100, []),
  "SACK of a gap that was never sent": sack(89, [[2, 11]]),
  "SACK whose gaps go backwards": sack(50, [
    [5, 9],
    [2, 3],
  ]),
  "SACK with one gap many times": sack(
    50,
    Array.from({ length: 200 }, () => [1, 49] as const),
  ),
  "SACK that claims more gaps than it has": sack(50, [[2, 3]], 0xffff),
  "FORWARD-TSN far ahead": chunk(192, hex("00001000")),
  "FORWARD-TSN of half a stream": chunk(192, hex("fffffff5 0001")),
  "RE-CONFIG with half a request": chunk(130, hex("000d000c 00000001 00000002")),
  "SHUTDOWN without its TSN": chunk(7, Buffer.alloc(0)),
};

for (const [name, bytes] of Object.entries(HOSTILE)) {
  test(`${name} may not be read, alone or after something good`, () => {
    assert.equal(may(bytes), false);
    if (bytes.length > 0) assert.equal(may(chunk(11, Buffer.alloc(0)), bytes), false);
  });
}

test("before the client's INIT there is no data", () => {
  const bounds = { lastReceivedTsn: undefined, nextTsn: 100 };
  assert.equal(mayReadSctp(packet(data(1, "a")), bounds), false);
  assert.equal(mayReadSctp(packet(HONEST["FORWARD-TSN"]!), bounds), false);
  assert.equal(mayReadSctp(packet(HONEST["INIT with its parameters"]!), bounds), true);
});

test("no mutation makes it throw", () => {
  const random = new Random(11);
  const seeds = Object.values(HONEST).map((bytes) => packet(bytes));
  const verdicts = { true: 0, false: 0 };
  for (let n = 0; n < 100_000; n++)
    verdicts[`${mayReadSctp(mutated(random, Buffer.from(random.pick(seeds)), seeds), BOUNDS)}`]++;
  assert.ok(verdicts.true > 1_000 && verdicts.false > 1_000, JSON.stringify(verdicts));
});

test("control: without the check werift reads a parameter of length 0 until there is no memory left", async () => {
  // Within another thread, that may take no more than so much. The parameter is HOSTILE's, without its chunk.
  const reader = `
    const { workerData } = require("node:worker_threads");
    require(workerData.file).decodeParams(Buffer.from("00010000", "hex"));`;
  const file = fileURLToPath(new URL("node_modules/werift/lib/sctp/src/chunk.js", packageRoot));
  const worker = new Worker(reader, {
    eval: true,
    workerData: { file },
    resourceLimits: { maxOldGenerationSizeMb: 64 },
  });
  const [error] = await once(worker, "error");
  assert.equal(error.code, "ERR_WORKER_OUT_OF_MEMORY");
});
