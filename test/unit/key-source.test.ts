import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { keyFileText, newSecret } from "../../src/keys/key-file.ts";
import type { KeyRing } from "../../src/keys/key-ring.ts";
import { type DatedKey, KeySchedule } from "../../src/keys/key-schedule.ts";
import { KeySource } from "../../src/process/key-source.ts";
import { until } from "../kit/until.ts";

const START = Date.parse("2026-11-21T00:00:00Z");
const HOUR = 3_600_000;
const POLL_MS = 5;
/** Some polls: what has not happened by then does not happen. */
const SOME_POLLS_MS = 50;

const root = mkdtempSync(join(tmpdir(), "earshot-key-source-"));
after(() => rmSync(root, { recursive: true }));
let folder = "";
let file = "";
beforeEach(() => {
  folder = mkdtempSync(join(root, "one-"));
  file = join(folder, "keys.json");
});

const key = (id: number, signsFromHour: number, retiresHour?: number): DatedKey => ({
  id,
  secret: newSecret(),
  signsFromMs: START + signsFromHour * HOUR,
  retiresMs: retiresHour === undefined ? undefined : START + retiresHour * HOUR,
});

const textOf = (...keys: readonly DatedKey[]): string => keyFileText(new KeySchedule(keys));

function write(text: string, name = file): void {
  writeFileSync(name, text, { mode: 0o600 });
}

/** In one step, so that nobody reads half of it. */
function replace(text: string): void {
  write(text, `${file}.draft`);
  renameSync(`${file}.draft`, file);
}

/** What a ring says: the one that signs, then all that verify. */
const said = (ring: KeyRing) => [ring.signing.id, ring.all.map(({ id }) => id)];

interface Watched {
  readonly source: KeySource;
  /** Of each ring that was told. */
  readonly told: (ReturnType<typeof said> | undefined)[];
  /** Error lines. */
  readonly errors: string[];
  hour: number;
}

async function watch(context: TestContext, keys: readonly DatedKey[], pollMs = POLL_MS): Promise<Watched> {
  write(textOf(...keys));
  const errors: string[] = [];
  const lines = { write: (line: string) => void errors.push(JSON.parse(line).msg) };
  const logger = pino({ level: "error" }, lines);
  const watched = { told: [], errors, hour: 0 };
  const source = await KeySource.open({ file, logger, pollMs, now: () => START + watched.hour * HOUR });
  const all = Object.assign(watched, { source }) as Watched;
  source.watch((ring) => all.told.push(said(ring)));
  context.after(() => source.stop());
  return all;
}

const toldAll = (watched: Watched, count: number) =>
  until(
    () => watched.told.length >= count,
    () => `told ${watched.told.length} of ${count} rings; ${watched.errors.join()}`,
  );
const faulty = (watched: Watched) =>
  until(
    () => !watched.source.ok,
    () => "the file was taken",
  );

test("a date that is reached makes another ring, and nothing else does", async (context) => {
  const watched = await watch(context, [key(3, 0, 13), key(4, 10)]);
  assert.deepEqual(said(watched.source.ring), [3, [3, 4]]);
  await sleep(SOME_POLLS_MS);
  assert.deepEqual(watched.told, []);
  watched.hour = 10;
  await toldAll(watched, 1);
  watched.hour = 13;
  await toldAll(watched, 2);
  await sleep(SOME_POLLS_MS);
  assert.deepEqual(watched.told, [
    [4, [3, 4]],
    [4, [4]],
  ]);
  assert.deepEqual(said(watched.source.ring), [4, [4]]);
  assert.deepEqual([watched.source.ok, watched.source.failures, watched.errors], [true, 0, []]);
});

test("a file that is written over, or replaced by another, is taken", async (context) => {
  const [first, second, third] = [key(1, -1), key(2, 1), key(3, 2)];
  const watched = await watch(context, [first]);
  write(textOf(first, second));
  await toldAll(watched, 1);
  replace(textOf(first, second, third));
  await toldAll(watched, 2);
  assert.deepEqual(watched.told, [
    [1, [1, 2]],
    [1, [1, 2, 3]],
  ]);
});

test("a file of the same length, time and name is read all the same", async (context) => {
  const [first, second] = [key(1, -1), key(2, 1)];
  const watched = await watch(context, [first, second]);
  write(textOf(first, { ...second, id: 3 }));
  await toldAll(watched, 1);
  assert.deepEqual(watched.told, [[1, [1, 3]]]);
});

test("the moved link of a Kubernetes volume is followed", async (context) => {
  const [first, second] = [key(1, -1), key(2, 1)];
  for (const [name, keys] of [
    ["..2026_1", [first]],
    ["..2026_2", [first, second]],
  ] as const) {
    mkdirSync(join(folder, name));
    write(textOf(...keys), join(folder, name, "keys.json"));
  }
  symlinkSync("..2026_1", join(folder, "..data"));
  symlinkSync("..data/keys.json", file);
  const watched = await watch(context, [first]);
  symlinkSync("..2026_2", join(folder, "..data_tmp"));
  renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
  rmSync(join(folder, "..2026_1"), { recursive: true });
  await toldAll(watched, 1);
  assert.deepEqual(watched.told, [[1, [1, 2]]]);
  assert.deepEqual(watched.errors, []);
});

test("SIGHUP reads the file at once", async (context) => {
  const [first, second] = [key(1, -1), key(2, 1)];
  const watched = await watch(context, [first], 2 ** 30);
  write(textOf(first, second));
  process.kill(process.pid, "SIGHUP");
  await toldAll(watched, 1);
  assert.deepEqual(watched.told, [[1, [1, 2]]]);
});

const HALF = '{"keys":[{"id":1,"sec';
for (const [name, spoil, says] of [
  ["is cut off", () => replace(HALF), /keys\.json: it is not JSON/],
  ["is gone", () => unlinkSync(file), /found none/],
  ["can be used by others", () => chmodSync(file, 0o644), /chmod/],
  ["has no key that signs yet", () => replace(textOf(key(1, 7))), /key file .*no key signs yet/],
  ["has dates that leave no key", () => replace(textOf(key(1, -1, 7))), /when key 1 retires at 2026-11-21T07/],
  ["has one id twice", () => replace(twice()), /two keys have id 1/],
  ["has another secret for a key that is in use", () => replace(textOf(key(1, -1))), /key 1 has another secret/],
] as const) {
  test(`a file that ${name} is logged once, and the keys stay, with their dates`, async (context) => {
    const keys = [key(1, -1, 6), key(2, 5)];
    const watched = await watch(context, keys);
    spoil();
    await faulty(watched);
    await sleep(SOME_POLLS_MS);
    assert.equal(watched.errors.length, 1, watched.errors.join());
    assert.match(watched.errors[0]!, /^the fleet keys stay as they are: /);
    assert.match(watched.errors[0]!, says);
    for (const { secret } of keys) assert.ok(!watched.errors[0]!.includes(secret.toString("base64")));
    assert.equal(watched.source.failures, 1);
    assert.deepEqual(watched.told, []);

    watched.hour = 5;
    await toldAll(watched, 1);
    assert.deepEqual(watched.told, [[2, [1, 2]]]);

    // Made good, it counts again.
    const third = key(3, 9);
    replace(textOf(...keys, third));
    await toldAll(watched, 2);
    assert.deepEqual(said(watched.source.ring), [2, [1, 2, 3]]);
    assert.deepEqual([watched.source.ok, watched.source.failures], [true, 1]);
  });
}

function twice(): string {
  return textOf(key(1, -1), key(2, 3)).replace('"id": 2', '"id": 1');
}

test("a known fault is said again to whoever sends SIGHUP", async (context) => {
  const watched = await watch(context, [key(1, -1)]);
  replace(HALF);
  await faulty(watched);
  await watched.source.reload();
  assert.deepEqual([watched.errors.length, watched.source.ok], [2, false]);
});

test("a clock that is set back to before the first key is logged once, and the keys stay", async (context) => {
  const watched = await watch(context, [key(1, -1)]);
  watched.hour = -2;
  await faulty(watched);
  await sleep(SOME_POLLS_MS);
  assert.equal(watched.errors.length, 1, watched.errors.join());
  assert.match(watched.errors[0]!, /no key signs yet.*clock of this machine/);
  assert.deepEqual(said(watched.source.ring), [1, [1]]);
  watched.hour = 0;
  await until(
    () => watched.source.ok,
    () => "it stays faulty",
  );
});

test("at a start there is nothing to go on with: what is wrong with the file is thrown", async () => {
  const open = () => KeySource.open({ file, logger: pino({ level: "silent" }), now: () => START });
  await assert.rejects(open(), { code: "KEYS_FILE_MISSING" });
  write(textOf(key(1, 1)));
  await assert.rejects(open(), { code: "KEYS_NO_SIGNER", message: /key file .*keys\.json: no key signs yet/ });
  write(textOf(key(1, -1, 7)));
  await assert.rejects(open(), { code: "KEYS_NO_SIGNER", message: /keys\.json: .*when key 1 retires/ });
});

test("after stop nothing is told, and SIGHUP is nobody's", async (context) => {
  const before = process.listenerCount("SIGHUP");
  const watched = await watch(context, [key(1, -1), key(2, 5)]);
  assert.equal(process.listenerCount("SIGHUP"), before + 1);
  watched.source.stop();
  watched.hour = 6;
  await sleep(SOME_POLLS_MS);
  assert.deepEqual(watched.told, []);
  assert.equal(process.listenerCount("SIGHUP"), before);
});
