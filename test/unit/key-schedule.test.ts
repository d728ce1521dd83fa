import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type DatedKey, dateText, KeySchedule } from "../../src/keys/key-schedule.ts";

const START = Date.parse("2026-11-21T00:00:00Z");
const HOUR = 3_600_000;
const at = (hour: number): number => START + hour * HOUR;

function key(id: number, signsFromHour: number, retiresHour?: number): DatedKey {
  const retiresMs = retiresHour === undefined ? undefined : at(retiresHour);
  return { id, secret: Buffer.alloc(32, id), signsFromMs: at(signsFromHour), retiresMs };
}

/** 7 signs until hour 10 and verifies until 13; then 2 signs; 40 will from hour 20 on. */
const schedule = new KeySchedule([key(7, 0, 13), key(2, 10), key(40, 20)]);

describe("a key schedule", () => {
  for (const [hour, signing, verifying] of [
    [0, 7, [7, 2, 40]],
    [9.999, 7, [7, 2, 40]],
    [10, 2, [7, 2, 40]],
    [12.999, 2, [7, 2, 40]],
    [13, 2, [2, 40]],
    [20, 40, [2, 40]],
    [10_000, 40, [2, 40]],
  ] as const) {
    test(`at hour ${hour}: key ${signing} signs, ${verifying.join(", ")} verify`, () => {
      const ring = schedule.ringAt(at(hour));
      assert.equal(ring.signing.id, signing);
      assert.deepEqual(
        ring.all.map(({ id }) => id),
        verifying,
      );
    });
  }

  test("a key that is retired is in no ring, whatever its date to sign", () => {
    const handed = new KeySchedule([key(1, 0), key(2, 5, 6)]);
    assert.equal(handed.ringAt(at(5)).signing.id, 2);
    assert.equal(handed.ringAt(at(6)).signing.id, 1);
    assert.equal(handed.ringAt(at(6)).get(2), undefined);
  });

  test("the order of the keys in the file does not matter", () => {
    const turned = new KeySchedule([...schedule.keys].reverse());
    for (const hour of [0, 10, 13, 20]) {
      assert.equal(turned.ringAt(at(hour)).signing.id, schedule.ringAt(at(hour)).signing.id);
    }
  });

  test("names the state of each key", () => {
    const states = (hour: number) => schedule.keys.map((each) => schedule.stateAt(each, at(hour)));
    assert.deepEqual(states(0), ["signing", "future", "future"]);
    assert.deepEqual(states(10), ["verifying", "signing", "future"]);
    assert.deepEqual(states(13), ["retired", "signing", "future"]);
    assert.deepEqual(states(20), ["retired", "verifying", "signing"]);
  });

  for (const [name, keys, says] of [
    ["no key signs yet", [key(1, 5), key(2, 9)], /the first begins to at 2026-11-21T05:00:00Z.*clock of this machine/],
    ["all keys are retired", [key(1, -9, -5), key(2, -7, 0)], /all are retired.*"retires" of the newest one to null/],
    ["the only key retires later", [key(1, -1, 5)], /when key 1 retires at 2026-11-21T05:00:00Z.*rotate/],
    ["one key retires before the next one signs", [key(1, -1, 5), key(2, 6)], /when key 1 retires at .*T05:00:00Z/],
    ["all keys retire", [key(1, -1, 8), key(2, 6, 9)], /when key 2 retires at 2026-11-21T09:00:00Z/],
  ] as const) {
    test(`is refused where ${name}`, () => {
      assert.throws(() => new KeySchedule(keys).checkFrom(START), { code: "KEYS_NO_SIGNER", message: says });
    });
  }

  test("may have retired keys, and gaps that are past", () => {
    new KeySchedule([key(1, -9, -5), key(2, -4)]).checkFrom(START);
    assert.throws(() => new KeySchedule([key(1, 0)]).ringAt(START - 1), { code: "KEYS_NO_SIGNER" });
  });

  test("writes dates as they stand in key files", () => {
    assert.equal(dateText(START), "2026-11-21T00:00:00Z");
    assert.equal(dateText(START + 250), "2026-11-21T00:00:00.250Z");
  });
});
