import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { EarshotError } from "../../src/earshot-error.ts";
import { keyFileText, newKeyFileText, randomKeyRing, readKeyFile } from "../../src/keys/key-file.ts";
import { type FleetKey, KeyRing, keyFingerprint } from "../../src/keys/key-ring.ts";

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

async function readFailure(file: string): Promise<EarshotError> {
  try {
    await readKeyFile(file);
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
  const lengths = { tokenTag: 16, tokenBlock: 16, icePassword: 32, trunkUp: 16, trunkDown: 16, redisRecord: 32 };
  assert.deepEqual(Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, key.length])), lengths);
  const starts = Object.values(keys).map((key) => key.toString("hex", 0, 16));
  assert.equal(new Set(starts).size, starts.length);
});

test("a fingerprint tells keys apart, and is none of the keys that are in use", () => {
  const prints = [1, 2].map((byte) => keyFingerprint(Buffer.alloc(32, byte)));
  assert.notEqual(prints[0], prints[1]);
  assert.match(prints[0]!, /^[0-9a-f]{16}$/);
  const { id: _, ...keys } = new KeyRing([fleetKey(1, true)]).signing;
  assert.ok(Object.values(keys).every((key) => key.toString("hex", 0, 8) !== prints[0]));
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

test("a new key file can be read, and each is another", async () => {
  const now = Date.now();
  const first = await readKeyFile(keyFile(newKeyFileText()));
  const second = await readKeyFile(keyFile(newKeyFileText()));
  assert.equal(first.ringAt(now).signing.id, 0);
  assert.notDeepEqual(first.keys[0]!.secret, second.keys[0]!.secret);
});

test("a new key signs at once, also where the clock is some minutes behind", async () => {
  const now = Date.parse("2026-11-21T10:00:00.500Z");
  const schedule = await readKeyFile(keyFile(newKeyFileText(now)));
  schedule.checkFrom(now - 30 * 60_000);
});

test("a random key ring is another each time", () => {
  assert.notDeepEqual(randomKeyRing().signing.tokenTag, randomKeyRing().signing.tokenTag);
});

test("a key file with several keys gives them all, and its text comes back", async () => {
  const secret = (byte: number) => Buffer.alloc(32, byte);
  const text = `${JSON.stringify(
    {
      keys: [
        {
          id: 1,
          secret: secret(1).toString("base64"),
          signsFrom: "2026-11-20T00:00:00Z",
          retires: "2026-11-21T03:11:04Z",
        },
        { id: 63, secret: secret(2).toString("base64"), signsFrom: "2026-11-21T00:00:00.250Z", retires: null },
      ],
    },
    undefined,
    2,
  )}\n`;
  const schedule = await readKeyFile(keyFile(text, 0o640));
  assert.deepEqual(schedule.keys, [
    {
      id: 1,
      secret: secret(1),
      signsFromMs: Date.UTC(2026, 10, 20),
      retiresMs: Date.UTC(2026, 10, 21, 3, 11, 4),
    },
    { id: 63, secret: secret(2), signsFromMs: Date.UTC(2026, 10, 21) + 250, retiresMs: undefined },
  ]);
  assert.equal(keyFileText(schedule), text);
});

test("a missing key file has a code of its own and says how to make one", async () => {
  const error = await readFailure(join(folder, "none.json"));
  assert.equal(error.code, "KEYS_FILE_MISSING");
  assert.match(error.message, /none\.json.*earshot keys new/);
});

test("a key file that others can use is refused", async () => {
  for (const mode of [0o604, 0o602, 0o601, 0o644, 0o666]) {
    const error = await readFailure(keyFile(newKeyFileText(), mode));
    assert.equal(error.code, "KEYS_FILE_MODE", mode.toString(8));
    assert.match(error.message, /keys\.json has mode 6\d\d.*chmod/);
  }
});

test("a folder is no key file", async () => {
  chmodSync(folder, 0o700);
  assert.equal((await readFailure(folder)).code, "KEYS_FILE_INVALID");
});

const GOOD = Buffer.alloc(32, 0xa5).toString("base64");
const FROM = "2026-11-21T00:00:00Z";
const LATER = "2026-11-22T00:00:00Z";
const key = { id: 0, secret: GOOD, signsFrom: FROM, retires: null };
const file = (...keys: readonly object[]) => JSON.stringify({ keys });

for (const [name, text, says] of [
  ["text that is not JSON", `{ "keys": [ { "id": 0, "secret": "${GOOD}" "retires": null } ] }`, /not JSON/],
  ["half of a file", file(key).slice(0, 60), /not JSON/],
  ["an empty file", "", /not JSON/],
  ["no keys", '{ "keys": [] }', /keys: expected at least one/],
  ["an array", "[]", /the file/],
  ["a missing secret", file({ ...key, secret: undefined }), /keys\.0\.secret/],
  ["a short secret", file({ ...key, secret: GOOD.slice(4) }), /keys\.0\.secret: .*32 bytes/],
  ["a secret in base64url", file({ ...key, secret: `${"_".repeat(43)}=` }), /keys\.0\.secret/],
  ["a secret with spaces", file({ ...key, secret: ` ${GOOD}` }), /keys\.0\.secret/],
  ["a secret with loose bits at its end", file({ ...key, secret: `${GOOD.slice(0, 42)}V=` }), /keys\.0\.secret/],
  ["an id past 63", file({ ...key, id: 64 }), /keys\.0\.id/],
  ["a negative id", file({ ...key, id: -1 }), /keys\.0\.id/],
  ["an id that is no integer", file({ ...key, id: 0.5 }), /keys\.0\.id/],
  ["an id that is a string", file({ ...key, id: "0" }), /keys\.0\.id/],
  ["signsFrom missing", file({ ...key, signsFrom: undefined }), /keys\.0\.signsFrom: expected a UTC date such as/],
  ["signsFrom null", file({ ...key, signsFrom: null }), /keys\.0\.signsFrom: expected a UTC date such as/],
  ["a date as a number", file({ ...key, signsFrom: 1_795_219_200_000 }), /keys\.0\.signsFrom: expected a UTC date/],
  ["a date without time", file({ ...key, signsFrom: "2026-11-21" }), /keys\.0\.signsFrom: expected a UTC date/],
  [
    "a date without zone",
    file({ ...key, signsFrom: "2026-11-21T00:00:00" }),
    /keys\.0\.signsFrom: expected a UTC date such as/,
  ],
  [
    "a date of another zone",
    file({ ...key, retires: "2026-11-21T00:00:00+01:00" }),
    /keys\.0\.retires: expected null or a UTC date/,
  ],
  ["a day that no month has", file({ ...key, retires: "2027-02-29T00:00:00Z" }), /keys\.0\.retires: expected null or/],
  ["retires missing", file({ ...key, retires: undefined }), /keys\.0\.retires: expected null or a UTC date such as/],
  ["a misspelled field", file({ ...key, retire: null }), /keys\.0: .*retire/],
  ["the bad key second", file(key, { ...key, id: 1, signsFrom: LATER, secret: "" }), /keys\.1\.secret/],
] as const) {
  test(`a key file with ${name} is refused, and the error names the file but no secret`, async () => {
    const error = await readFailure(keyFile(text));
    assert.equal(error.code, "KEYS_FILE_INVALID");
    assert.match(error.message, says);
    assertNamesFileOnly(error);
  });
}

for (const [name, text, code, says] of [
  [
    "two keys with one id",
    file(key, { ...key, signsFrom: LATER }),
    "KEYS_DUPLICATE_ID",
    /two keys have id 0: give the newer one an id/,
  ],
  [
    "two keys that begin to sign at one time",
    file(key, { ...key, id: 9 }),
    "KEYS_DATES",
    /keys 0 and 9 both sign from 2026-11-21T00:00:00Z.*a later "signsFrom"/,
  ],
  [
    "a key that retires as it begins to sign",
    file({ ...key, retires: FROM }),
    "KEYS_DATES",
    /key 0 .* retires at 2026-11-21T00:00:00Z.*correct one of the dates/,
  ],
  [
    "a key that retires before it begins to sign",
    file({ ...key, id: 3, signsFrom: LATER, retires: FROM }),
    "KEYS_DATES",
    /key 3 signs from 2026-11-22T00:00:00Z and retires at 2026-11-21T00:00:00Z/,
  ],
] as const) {
  test(`a key file with ${name} is refused as ${code}, and the error names the file but no secret`, async () => {
    const error = await readFailure(keyFile(text));
    assert.equal(error.code, code);
    assert.match(error.message, says);
    assertNamesFileOnly(error);
  });
}

function assertNamesFileOnly(error: EarshotError): void {
  assert.match(error.message, /keys\.json/);
  assert.ok(!error.message.includes(GOOD.slice(0, 8)), "the message quotes the secret");
  assert.equal(error.cause, undefined);
}
