/**
 * The file that holds the fleet keys, read; and new keys. With `key-file-change.ts` the only part of the rooms of pure
 * codecs that touches a disk or draws random bytes. No message of it may hold a secret.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { z } from "zod";
import { EarshotError } from "../earshot-error.ts";
import { FLEET_KEY_BYTES, KEY_ID_MAX, KeyRing } from "./key-ring.ts";
import { type DatedKey, dateText, KeySchedule } from "./key-schedule.ts";

/** Read, write or execute by anybody. */
const MODE_OTHERS = 0o007;
const HOW_TO_MAKE = "make one with: earshot keys new --out keys.json";
/** A new key signs from this long ago, so that a machine whose clock is behind the maker's can use it at once. */
const CLOCK_SLACK_MS = 3_600_000;

const SECRET = z
  .string()
  .refine((text) => secretBytes(text) !== undefined, `expected the base64 of ${FLEET_KEY_BYTES} bytes`)
  .transform((text) => secretBytes(text)!);
const DATE = z.iso.datetime("expected a UTC date such as 2026-11-21T00:00:00Z").transform(Date.parse);
const KEY_FILE = z.strictObject({
  keys: z
    .array(
      z.strictObject({
        id: z.int().min(0).max(KEY_ID_MAX),
        secret: SECRET,
        signsFrom: DATE,
        retires: z.union([z.null(), DATE], "expected null or a UTC date such as 2026-11-21T00:00:00Z"),
      }),
    )
    .min(1, "expected at least one key"),
});

/** Throws an `EarshotError`: KEYS_FILE_MISSING, KEYS_FILE_MODE, KEYS_FILE_INVALID, or one of `KeySchedule`'s. */
export async function readKeyFile(file: string): Promise<KeySchedule> {
  const parsed = KEY_FILE.safeParse(parseJson(file, await readPrivate(file)));
  if (!parsed.success) throw invalid(file, describe(parsed.error));
  const keys = parsed.data.keys.map(
    ({ id, secret, signsFrom, retires }): DatedKey => ({
      id,
      secret,
      signsFromMs: signsFrom,
      retiresMs: retires ?? undefined,
    }),
  );
  return namingFile(file, () => new KeySchedule(keys));
}

/** Runs what judges the keys of a file; its errors then say which file. */
export function namingFile<T>(file: string, judge: () => T): T {
  try {
    return judge();
  } catch (error) {
    if (error instanceof EarshotError) throw new EarshotError(error.code, `key file ${file}: ${error.message}`);
    throw error;
  }
}

export function keyFileText({ keys }: KeySchedule): string {
  const entries = keys.map(({ id, secret, signsFromMs, retiresMs }) => ({
    id,
    secret: secret.toString("base64"),
    signsFrom: dateText(signsFromMs),
    retires: retiresMs === undefined ? null : dateText(retiresMs),
  }));
  return `${JSON.stringify({ keys: entries }, undefined, 2)}\n`;
}

/** The text of a key file with one new key, which signs. */
export function newKeyFileText(nowMs = Date.now()): string {
  const signsFromMs = Math.floor((nowMs - CLOCK_SLACK_MS) / 1000) * 1000;
  return keyFileText(new KeySchedule([{ id: 0, secret: newSecret(), signsFromMs, retiresMs: undefined }]));
}

export function newSecret(): Buffer {
  return randomBytes(FLEET_KEY_BYTES);
}

/** A new key that lives as long as this process and its children. */
export function randomKeyRing(): KeyRing {
  return new KeyRing([{ id: 0, secret: newSecret(), signs: true }]);
}

async function readPrivate(file: string): Promise<string> {
  const handle = await openKeyFile(file);
  try {
    // Of the open file, so that it is the one that is read.
    const { mode } = await handle.stat();
    if ((mode & MODE_OTHERS) !== 0) {
      const message = `expected a key file that others cannot use, but ${file} has mode ${(mode & 0o777).toString(8)}: chmod o= it (on a Kubernetes volume, set defaultMode 0440)`;
      throw new EarshotError("KEYS_FILE_MODE", message);
    }
    return await handle.readFile("utf8");
  } catch (error) {
    if (error instanceof EarshotError) throw error;
    throw invalid(file, `it cannot be read (${(error as NodeJS.ErrnoException).code})`);
  } finally {
    await handle.close();
  }
}

async function openKeyFile(file: string): Promise<FileHandle> {
  try {
    return await open(file, "r");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") {
      throw new EarshotError("KEYS_FILE_MISSING", `expected a key file at ${file}, found none: ${HOW_TO_MAKE}`);
    }
    throw invalid(file, `it cannot be opened (${code})`);
  }
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // JSON's own message quotes the text, and this ends up in logs.
    throw invalid(file, "it is not JSON");
  }
}

/** The bytes of a secret, or undefined if it is not exactly their canonical base64. */
function secretBytes(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.length === FLEET_KEY_BYTES && bytes.toString("base64") === text ? bytes : undefined;
}

function describe(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `${path.join(".") || "the file"}: ${message}`).join("; ");
}

function invalid(file: string, what: string): EarshotError {
  const form =
    '{ "keys": [ { "id": 0, "secret": "<base64 of 32 bytes>", "signsFrom": "2026-11-21T00:00:00Z", "retires": null } ] }';
  return new EarshotError(
    "KEYS_FILE_INVALID",
    `key file ${file}: ${what}; expected ${form}: correct it, or ${HOW_TO_MAKE}`,
  );
}
