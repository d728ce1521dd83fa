import assert from "node:assert/strict";
import { test } from "node:test";
import { OutgoingSequence } from "../../src/transceiver/werift/outgoing-sequence.ts";

const cases: [name: string, given: number[], sent: number[]][] = [
  ["one stream keeps its numbers", [10, 11, 12], [10, 11, 12]],
  ["loss and disorder stay as they are", [10, 12, 11, 100, 50], [10, 12, 11, 100, 50]],
  ["the same number stays the same", [10, 10, 11], [10, 10, 11]],
  ["a stream rolls over", [65_534, 65_535, 0, 1], [65_534, 65_535, 0, 1]],
  ["another stream follows on, from below", [20_000, 5, 6, 7], [20_000, 20_001, 20_002, 20_003]],
  ["and from above", [5, 20_000, 20_001], [5, 6, 7]],
  ["and one after that", [65_535, 9_000, 100], [65_535, 0, 1]],
  ["another stream may be disordered too", [20_000, 5, 7, 6], [20_000, 20_001, 20_003, 20_002]],
];
for (const [name, given, sent] of cases) {
  test(name, () => {
    const sequence = new OutgoingSequence();
    assert.deepEqual(
      given.map((number) => sequence.next(number)),
      sent,
    );
  });
}

test("whatever comes, the numbers never fall far behind the newest", () => {
  const sequence = new OutgoingSequence();
  let newest = sequence.next(0);
  for (let i = 1, given = 0; i < 20_000; i++) {
    given = (given + i * 7_919) & 0xffff;
    const sent = sequence.next(given);
    const ahead = ((sent - newest + 0x8000) & 0xffff) - 0x8000;
    assert.ok(ahead >= -100 && ahead <= 3_000, `${ahead} ahead`);
    if (ahead > 0) newest = sent;
  }
});
