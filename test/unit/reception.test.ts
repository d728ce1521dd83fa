/** What a receiver report says, against RFC 3550's appendices A.1, A.3 and A.8. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Reception } from "../../src/transceiver/werift/reception.ts";

const CLOCK = 48_000;
const FRAME_MS = 20;
const FRAME = 960;

/** Packets with these sequence numbers, each as late as its number says. */
function received(sequences: readonly number[], first = sequences[0]!): Reception {
  const reception = new Reception(CLOCK);
  for (const sequence of sequences) {
    const frames = (sequence - first) & 0xffff;
    reception.add(sequence, (frames * FRAME) >>> 0, frames * FRAME_MS);
  }
  return reception;
}
const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, n) => (from + n) & 0xffff);
const report = (reception: Reception) => ({
  fraction: reception.fraction_lost,
  lost: reception.packets_lost,
  highest: reception.max_seq,
  jitter: reception.jitter,
});

const cases: [name: string, sequences: number[], expected: ReturnType<typeof report>][] = [
  ["nothing has come", [], { fraction: 0, lost: 0, highest: 0, jitter: 0 }],
  ["one packet", [7], { fraction: 0, lost: 0, highest: 7, jitter: 0 }],
  ["all have come", range(100, 50), { fraction: 0, lost: 0, highest: 149, jitter: 0 }],
  ["a tenth is lost", range(0, 100).filter((n) => n % 10 !== 5), { fraction: 25, lost: 10, highest: 99, jitter: 0 }],
  ["the sequence rolls over", range(65_500, 100), { fraction: 0, lost: 0, highest: 65_536 + 63, jitter: 0 }],
  ["it rolls over twice", range(65_535, 65_538), { fraction: 0, lost: 0, highest: 2 * 65_536, jitter: 0 }],
  ["duplicates do not make up for losses below nothing", [1, 2, 2, 2], { fraction: 0, lost: 0, highest: 2, jitter: 0 }],
  [
    "one packet from far away is another stream's, and counts not",
    [1, 2, 30_000, 3],
    { fraction: 0, lost: 0, highest: 3, jitter: 0 },
  ],
];
for (const [name, sequences, expected] of cases) {
  test(name, () => assert.deepEqual(report(received(sequences)), expected));
}

test("packets out of order are not lost", () => {
  const reception = received([1, 2, 5, 3, 4, 6]);
  assert.deepEqual([reception.packets_lost, reception.max_seq], [0, 6]);
});

test("two packets in a row from far away begin anew", () => {
  const { lost, highest } = report(received([1, 2, 30_000, 30_001, 30_002]));
  assert.deepEqual([lost, highest], [0, 30_002]);
});

test("the fraction is of what was expected since the last report", () => {
  const reception = received(range(0, 100).filter((n) => n < 50 || n % 2 === 0));
  assert.equal(reception.fraction_lost, Math.floor((24 * 256) / 99));
  assert.equal(reception.fraction_lost, 0);
  for (const sequence of [99, 100, 103]) reception.add(sequence, sequence * FRAME, sequence * FRAME_MS);
  assert.equal(reception.fraction_lost, Math.floor((2 * 256) / 5));
});

test("jitter comes near the mean difference, whatever the clocks' offset", () => {
  for (const offset of [0, 0x7fff_ff00, 0xffff_ff00]) {
    const reception = new Reception(CLOCK);
    // Every other packet is 5 ms late: differences of 240 units.
    for (let n = 0; n < 400; n++) reception.add(n, (offset + n * FRAME) >>> 0, n * FRAME_MS + (n % 2) * 5);
    assert.ok(Math.abs(reception.jitter - 240) <= 1, `${reception.jitter}`);
  }
});
