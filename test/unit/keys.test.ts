import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { EarshotError } from "../../src/earshot-error.ts";
import { newKeyFileText, randomKeyRing, readKeyFile } from "../../src/keys/key-file.ts";
import { type FleetKey, KeyRing } from "../../src/keys/key-ring.ts";

const folder = mkdtempSync(join(tmpdir(), "earshot-keys-"));
after(() => rmSync(folder, { recursive: true }));

function fleetKey(id: number, signs: boolean, byte = id): FleetKey {
  return { id, secret: Buffer.alloc(32, byte), signs };
}

function keyFile(text: string, mode = 0o600): string {
  const file = join(folder, "keys.json");
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

function failure(run: () => unknown): EarshotError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof EarshotError, `expected an EarshotError, got ${error}`);
    return error;
  }
  throw new Error("expected an EarshotError, got none");
}

test("every use of a fleet key gets a key of its own, of its own length", () => {
  const { signing } = new KeyRing([fleetKey(5, true)]);
  const { id, ...keys } = signing;
  assert.equal(id, 5);
  const lengths = { tokenTag: 16, tokenBlock: 16, icePassword: 32, trunkUp: 16, trunkDown: 16 };
  assert.deepEqual(Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, key.length])), lengths);
  const starts = Object.values(keys).map((key) => key.toString("hex", 0, 16));
  assert.equal(new Set(starts).size, 5);
});

test("many keys verify, one signs", () => {
  const given = [fleetKey(0, false), fleetKey(63, true), fleetKey(7, false)];
  const ring = new KeyRing(given);
  assert.equal(ring.signing.id, 63);
  assert.deepEqual(
    ring.all.map((keys) => keys.id),
    [0, 63, 7],
  );
  assert.deepEqual(ring.fleetKeys, given);
  for (const { id } of given) assert.equal(ring.get(id)?.id, id);
  assert.equal(ring.get(63), ring.signing);
  for (const id of [1, 62, 64, 255, -1, 0.5, Number.NaN]) assert.equal(ring.get(id), undefined, `id ${id}`);
});

for (const [name, keys, code] of [
  ["no key", [], "KEYS_NONE"],
  ["two keys with one id", [fleetKey(1, true, 1), fleetKey(1, false, 2)], "KEYS_DUPLICATE_ID"],
  ["no key that signs", [fleetKey(1, false)], "KEYS_SIGNING"],
  ["two keys that sign", [fleetKey(1, true), fleetKey(2, true)], "KEYS_SIGNING"],
  ["an id past 63", [fleetKey(64, true)], "KEYS_INVALID"],
  ["a negative id", [fleetKey(-1, true)], "KEYS_INVALID"],
  ["an id that is no integer", [fleetKey(1.5, true)], "KEYS_INVALID"],
  ["a short secret", [{ id: 1, secret: Buffer.alloc(31), signs: true }], "KEYS_INVALID"],
  ["a long secret", [{ id: 1, secret: Buffer.alloc(33), signs: true }], "KEYS_INVALID"],
] as const) {
  test(`a key ring refuses ${name}`, () => {
    assert.equal(failure(() => new KeyRing(keys)).code, code);
  });
}

test("a new key file can be read, and each is another", () => {
  const first = readKeyFile(keyFile(newKeyFileText()));
  const second = readKeyFile(keyFile(newKeyFileText()));
  assert.equal(first.signing.id, 0);
  assert.notDeepEqual(first.fleetKeys[0]!.secret, second.fleetKeys[0]!.secret);
});

test("a random key ring is another each time", () => {
  assert.notDeepEqual(randomKeyRing().signing.tokenTag, randomKeyRing().signing.tokenTag);
});

test("a key file with several keys gives them all", () => {
  const text = JSON.stringify({
    keys: [
      { id: 1, secret: Buffer.alloc(32, 1).toString("base64"), signs: false },
      { id: 2, secret: Buffer.alloc(32, 2).toString("base64"), signs: true },
    ],
  });
  const ring = readKeyFile(keyFile(text, 0o640));
  assert.deepEqual(ring.fleetKeys, [fleetKey(1, false), fleetKey(2, true)]);
});

test("a missing key file has a code of its own and says how to make one", () => {
  const error = failure(() => readKeyFile(join(folder, "none.json")));
  assert.equal(error.code, "KEYS_FILE_MISSING");
  assert.match(error.message, /none\.json.*earshot keys new/);
});

test("a key file that others can use is refused", () => {
  for (const mode of [0o604, 0o602, 0o601, 0o644, 0o666]) {
    const error = failure(() => readKeyFile(keyFile(newKeyFileText(), mode)));
    assert.equal(error.code, "KEYS_FILE_MODE", mode.toString(8));
    assert.match(error.message, /keys\.json has mode 6\d\d.*chmod/);
  }
});

test("a folder is no key file", () => {
  chmodSync(folder, 0o700);
  assert.equal(failure(() => readKeyFile(folder)).code, "KEYS_FILE_INVALID");
});

const GOOD = Buffer.alloc(32, 0xa5).toString("base64");
const one = (key: object) => JSON.stringify({ keys: [key] });
for (const [name, text, says] of [
  ["text that is not JSON", `{ "keys": [ { "id": 0, "secret": "${GOOD}" "signs": true } ] }`, /not JSON/],
  ["an empty file", "", /not JSON/],
  ["no keys", '{ "keys": [] }', /keys: expected at least one/],
  ["an array", "[]", /the file/],
  ["a missing secret", one({ id: 0, signs: true }), /keys\.0\.secret/],
  ["a short secret", one({ id: 0, secret: GOOD.slice(4), signs: true }), /keys\.0\.secret: .*32 bytes/],
  ["a secret in base64url", one({ id: 0, secret: `${"_".repeat(43)}=`, signs: true }), /keys\.0\.secret/],
  ["a secret with spaces", one({ id: 0, secret: ` ${GOOD}`, signs: true }), /keys\.0\.secret/],
  [
    "a secret with loose bits at its end",
    one({ id: 0, secret: `${GOOD.slice(0, 42)}V=`, signs: true }),
    /keys\.0\.secret/,
  ],
  ["an id past 63", one({ id: 64, secret: GOOD, signs: true }), /keys\.0\.id/],
  ["an id that is a string", one({ id: "0", secret: GOOD, signs: true }), /keys\.0\.id/],
  ["signs missing", one({ id: 0, secret: GOOD }), /keys\.0\.signs/],
  ["a misspelled field", one({ id: 0, secret: GOOD, signs: true, sings: true }), /keys\.0: .*sings/],
  ["no key that signs", one({ id: 0, secret: GOOD, signs: false }), /exactly one/],
] as const) {
  test(`a key file with ${name} is refused, and the error names the file but no secret`, () => {
    const error = failure(() => readKeyFile(keyFile(text)));
    assert.equal(error.code, "KEYS_FILE_INVALID");
    assert.match(error.message, says);
    assert.match(error.message, /keys\.json/);
    assert.ok(!error.message.includes(GOOD.slice(0, 8)), "the message quotes the secret");
    assert.equal(error.cause, undefined);
  });
}
