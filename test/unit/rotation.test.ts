import assert from "node:assert/strict";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { keyFileText, newSecret, readKeyFile } from "../../src/keys/key-file.ts";
import { changeKeyFile } from "../../src/keys/key-file-change.ts";
import { KEY_ID_MAX, type KeyRing } from "../../src/keys/key-ring.ts";
import { KeySchedule } from "../../src/keys/key-schedule.ts";
import { RETIRE_SLACK_MS, type RotationWish, rotateKeys } from "../../src/keys/rotation.ts";
import { EXPIRY_TICK_MS, openToken, sealToken, tokenExpired } from "../../src/token/token.ts";

const START = Date.parse("2026-11-21T00:00:00Z");
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const CALL_MS = 2 * HOUR;
const SIGNS_IN_MS = 10 * MINUTE;
/** How late a transceiver may get a file; the slack of a rotation covers more. */
const LATEST_MS = 40 * MINUTE;
const OUTLIVED_MS = CALL_MS + EXPIRY_TICK_MS + RETIRE_SLACK_MS;

const wish = (nowMs: number, changes: Partial<RotationWish> = {}): RotationWish => ({
  nowMs,
  signsInMs: SIGNS_IN_MS,
  longestCallMs: CALL_MS,
  secret: newSecret(),
  ...changes,
});
const first = () => new KeySchedule([{ id: 0, secret: newSecret(), signsFromMs: START - HOUR, retiresMs: undefined }]);
const idsOf = (schedule: KeySchedule) => schedule.keys.map(({ id }) => id);

describe("a rotation", () => {
  test("adds a key that signs later, and gives the one before its date", () => {
    const before = first();
    const { schedule, added, retiring, dropped } = rotateKeys(before, wish(START));
    assert.deepEqual(added, schedule.keys[1]);
    assert.deepEqual(
      schedule.keys.map(({ id, signsFromMs, retiresMs }) => ({ id, signsFromMs, retiresMs })),
      [
        { id: 0, signsFromMs: START - HOUR, retiresMs: START + SIGNS_IN_MS + OUTLIVED_MS },
        { id: 1, signsFromMs: START + SIGNS_IN_MS, retiresMs: undefined },
      ],
    );
    assert.deepEqual([retiring.map(({ id }) => id), dropped], [[0], []]);
    assert.equal(before.keys[0]!.retiresMs, undefined);
  });

  test("keeps dates that are set, and rounds the new one up to a second", () => {
    const once = rotateKeys(first(), wish(START)).schedule;
    const twice = rotateKeys(once, wish(START + MINUTE + 1)).schedule;
    assert.equal(twice.keys[0]!.retiresMs, once.keys[0]!.retiresMs);
    assert.equal(twice.keys[2]!.signsFromMs, START + MINUTE + 1000 + SIGNS_IN_MS);
    assert.deepEqual(idsOf(twice), [0, 1, 2]);
  });

  test("drops a key when nothing of it can be valid, not a millisecond before, and uses the lowest free id", () => {
    const once = rotateKeys(first(), wish(START)).schedule;
    const freeAt = once.keys[0]!.retiresMs! + OUTLIVED_MS;
    const early = rotateKeys(once, wish(freeAt - 1));
    assert.deepEqual([idsOf(early.schedule), early.dropped], [[0, 1, 2], []]);
    const late = rotateKeys(once, wish(freeAt));
    assert.deepEqual(idsOf(late.schedule), [1, 0]);
    assert.deepEqual(late.dropped, [once.keys[0]]);
    assert.notDeepEqual(late.added.secret, once.keys[0]!.secret);
  });

  test("is refused while a key waits that would sign after the new one", () => {
    const once = rotateKeys(first(), wish(START)).schedule;
    for (const changes of [{}, { signsInMs: 5000 }]) {
      assert.throws(() => rotateKeys(once, wish(START, changes)), {
        code: "KEYS_ROTATING",
        message: /key 1 begins to sign only at 2026-11-21T00:10:00Z.*wait/,
      });
    }
  });

  test("is refused when all ids are taken, and says when the first is free", () => {
    let schedule = first();
    for (let i = 1; i <= KEY_ID_MAX; i++) schedule = rotateKeys(schedule, wish(START + i * MINUTE)).schedule;
    assert.equal(schedule.keys.length, KEY_ID_MAX + 1);
    const full = START + 64 * MINUTE;
    // Key 0 retires after 11 minutes, 2 hours, 64 seconds and 1 hour, and is gone that again, without the minutes, later.
    assert.throws(() => rotateKeys(schedule, wish(full)), {
      code: "KEYS_FULL",
      message: /all 64 key ids.*free at 2026-11-21T06:13:08Z: rotate again then/,
    });
    assert.equal(rotateKeys(schedule, wish(Date.parse("2026-11-21T06:13:08Z"))).added.id, 0);
  });

  test("is refused where its result would leave no key that signs", () => {
    const gone = new KeySchedule([{ id: 0, secret: newSecret(), signsFromMs: START - HOUR, retiresMs: START - 1 }]);
    assert.throws(() => rotateKeys(gone, wish(START)), { code: "KEYS_NO_SIGNER" });
  });

  test("mends a file whose only key has a date to retire", () => {
    const ending = new KeySchedule([
      { id: 0, secret: newSecret(), signsFromMs: START - HOUR, retiresMs: START + HOUR },
    ]);
    assert.throws(() => ending.checkFrom(START), { code: "KEYS_NO_SIGNER" });
    rotateKeys(ending, wish(START)).schedule.checkFrom(START);
  });
});

/**
 * A relay and a transceiver that read the file when they like: the transceiver late, up to the slack of a rotation. Every
 * token that has not expired must open at the relay, and no token of a key that is retired.
 */
for (const [name, everyMs, lateMs] of [
  ["every hour", HOUR, 0],
  ["every hour, at transceivers that get each file after its key has begun to sign", HOUR, LATEST_MS],
  ["every day", 24 * HOUR, 0],
] as const) {
  test(`sixty rotations, ${name}: a token opens for as long as it is valid, and never with another key of its id`, () => {
    let schedule = first();
    /** What the transceiver has: the file as it was `lateMs` ago. */
    const files = [{ fromMs: START - HOUR, schedule }];
    const made: { ufrag: string; maker: KeyRing; id: number; secret: Buffer }[] = [];
    const secretOf = (ring: KeyRing, id: number) => ring.fleetKeys.find((key) => key.id === id)?.secret;
    for (let round = 0; round < 60; round++) {
      const turn = START + round * everyMs;
      schedule = rotateKeys(schedule, wish(turn)).schedule;
      files.push({ fromMs: turn + lateMs, schedule });
      for (const nowMs of [0, SIGNS_IN_MS - 1, SIGNS_IN_MS, LATEST_MS - 1, everyMs - 1].map((ms) => turn + ms)) {
        const relay = schedule.ringAt(nowMs);
        for (const { ufrag, maker, id, secret } of made) {
          const opened = openToken(ufrag, relay);
          const known = secretOf(relay, id)?.equals(secret) === true;
          assert.equal(opened.ok, known, "it opens with its own key alone");
          const own = openToken(ufrag, maker);
          assert.ok(own.ok);
          if (!tokenExpired(own.token, nowMs)) assert.ok(opened.ok, `a valid token of key ${id} was refused`);
        }
        const transceiver = files.findLast(({ fromMs }) => fromMs <= nowMs)!.schedule.ringAt(nowMs);
        const { id } = transceiver.signing;
        const fields = { cluster: 1, transceiver: 2, epoch: 3n, expiresAtMs: nowMs + CALL_MS, nonce: round };
        const ufrag = sealToken(fields, transceiver.signing);
        assert.ok(openToken(ufrag, relay).ok, "a new token opens where the newest file is");
        made.push({ ufrag, maker: transceiver, id, secret: secretOf(transceiver, id)! });
      }
      // Serial arithmetic holds for 24 days; older tokens are no business of this test.
      while (made.length > 60) made.shift();
    }
    assert.ok(new Set(schedule.keys.map(({ id }) => id)).size < 12, "ids were used again");
  });
}

describe("a key file that is changed", () => {
  const folder = mkdtempSync(join(tmpdir(), "earshot-rotation-"));
  after(() => rmSync(folder, { recursive: true }));
  const rotate = (file: string, nowMs = START) =>
    changeKeyFile(file, (before) => rotateKeys(before, wish(nowMs))).then(({ schedule }) => schedule);

  function keyFile(name: string, mode = 0o600): string {
    const file = join(folder, name);
    writeFileSync(file, keyFileText(first()));
    chmodSync(file, mode);
    return file;
  }

  test("is another file with what was asked, readable by who could read it, and leaves nothing beside it", async () => {
    for (const mode of [0o600, 0o640]) {
      const file = keyFile("keys.json", mode);
      const { ino } = statSync(file);
      const schedule = await rotate(file);
      assert.equal(readFileSync(file, "utf8"), keyFileText(schedule));
      assert.equal(statSync(file).mode & 0o777, mode);
      assert.notEqual(statSync(file).ino, ino);
      assert.deepEqual(readdirSync(folder), ["keys.json"]);
    }
  });

  test("stays what a link names", async () => {
    const file = keyFile("keys.json");
    const link = join(folder, "link.json");
    symlinkSync(file, link);
    const schedule = await rotate(link);
    assert.equal(readFileSync(file, "utf8"), keyFileText(schedule));
    assert.equal(statSync(link).ino, statSync(file).ino);
    rmSync(link);
  });

  test("is changed by one at a time, so that no key is lost and no id is given twice", async () => {
    const file = keyFile("keys.json");
    const all = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => rotate(file, START + i * HOUR)));
    const done = all.filter(({ status }) => status === "fulfilled").length;
    for (const each of all) {
      if (each.status === "rejected") assert.match(each.reason.code, /^KEYS_(FILE_BUSY|ROTATING)$/);
    }
    assert.ok(done >= 1);
    assert.equal((await readKeyFile(file)).keys.length, 1 + done);
  });

  test("stays as it was where a change fails, and the error says which file", async () => {
    const file = keyFile("keys.json");
    await rotate(file);
    const text = readFileSync(file, "utf8");
    await assert.rejects(rotate(file), { code: "KEYS_ROTATING", message: /key file .*keys\.json: / });
    assert.equal(readFileSync(file, "utf8"), text);
    assert.deepEqual(readdirSync(folder), ["keys.json"]);
  });

  test("is left alone where an earlier change was cut short, and the error says what to remove", async () => {
    const file = keyFile("keys.json");
    writeFileSync(`${file}.new`, "");
    await assert.rejects(rotate(file), { code: "KEYS_FILE_BUSY", message: /keys\.json\.new exists.*remove it/ });
    rmSync(`${file}.new`);
  });

  test("has to be there, and to be usable", async () => {
    await assert.rejects(rotate(join(folder, "none.json")), { code: "KEYS_FILE_MISSING" });
    const file = keyFile("keys.json", 0o644);
    await assert.rejects(rotate(file), { code: "KEYS_FILE_MODE" });
    assert.deepEqual(readdirSync(folder), ["keys.json"]);
  });
});
