/** What two versions agree on before one takes the other's place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { aboutRelay, agreeOnHandOver, type RelayAbout } from "../../src/process/hand-over.ts";

const old: RelayAbout = { layout: "1", writes: 3, reads: [2, 3] };

test("a process of this version can be followed by another one without records", () => {
  const about = aboutRelay();
  assert.ok(about?.reads.includes(about.writes));
  assert.equal(agreeOnHandOver(about, aboutRelay()), undefined);
});

test("of the same layout, or without a table, there is nothing to hand over", () => {
  assert.equal(agreeOnHandOver(old, { ...old, writes: 9, reads: [9] }), undefined);
  assert.equal(agreeOnHandOver(undefined, old), undefined);
  assert.equal(agreeOnHandOver(old, undefined), undefined);
});

test("of another layout they agree on a key that is new each time", () => {
  const other: RelayAbout = { layout: "2", writes: 4, reads: [3, 4] };
  const keys = [agreeOnHandOver(old, other)!.key, agreeOnHandOver(old, other)!.key];
  assert.deepEqual(
    keys.map(({ length }) => length),
    [16, 16],
  );
  assert.notDeepEqual(keys[0], keys[1]);
});

test("a version that does not read the old one's records is refused, and both versions are named", () => {
  assert.throws(() => agreeOnHandOver(old, { layout: "2", writes: 5, reads: [4, 5] }), {
    code: "RECORDS_VERSION",
    message: /reads flow records of version 4, 5, the old one writes version 3/,
  });
});
