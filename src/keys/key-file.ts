/**
 * The file that holds the fleet keys, and new keys. The only part of the rooms of pure codecs that touches a disk or
 * draws random bytes. No message of it may hold a secret.
 */
import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { z } from "zod";
import { EarshotError } from "../earshot-error.ts";
import { FLEET_KEY_BYTES, type FleetKey, KEY_ID_MAX, KeyRing } from "./key-ring.ts";

/** Read, write or execute by anybody. */
const MODE_OTHERS = 0o007;
const HOW_TO_MAKE = "make one with: earshot keys new --out keys.json";

const SECRET = z
  .string()
  .refine((text) => secretBytes(text) !== undefined, `expected the base64 of ${FLEET_KEY_BYTES} bytes`);
const KEY_FILE = z.strictObject({
  keys: z
    .array(z.strictObject({ id: z.int().min(0).max(KEY_ID_MAX), secret: SECRET, signs: z.boolean() }))
    .min(1, "expected at least one key"),
});

/** Throws an `EarshotError`: KEYS_FILE_MISSING, KEYS_FILE_MODE or KEYS_FILE_INVALID. */
export function readKeyFile(file: string): KeyRing {
  const parsed = KEY_FILE.safeParse(parseJson(file, readPrivate(file)));
  if (!parsed.success) throw invalid(file, describe(parsed.error));
  const keys = parsed.data.keys.map(({ id, secret, signs }): FleetKey => ({ id, secret: secretBytes(secret)!, signs }));
  try {
    return new KeyRing(keys);
  } catch (error) {
    if (error instanceof EarshotError) throw invalid(file, error.message);
    throw error;
  }
}

/** The text of a key file with one new key, which signs. */
export function newKeyFileText(): string {
  const secret = randomBytes(FLEET_KEY_BYTES).toString("base64");
  return `${JSON.stringify({ keys: [{ id: 0, secret, signs: true }] }, undefined, 2)}\n`;
}

/** A new key that lives as long as this process and its children. */
export function randomKeyRing(): KeyRing {
  return new KeyRing([{ id: 0, secret: randomBytes(FLEET_KEY_BYTES), signs: true }]);
}

function readPrivate(file: string): string {
  let descriptor: number;
  try {
    descriptor = openSync(file, "r");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") {
      throw new EarshotError("KEYS_FILE_MISSING", `expected a key file at ${file}, found none: ${HOW_TO_MAKE}`);
    }
    throw invalid(file, `it cannot be opened (${code})`);
  }
  try {
    // Of the open file, so that it is the one that is read.
    const { mode } = fstatSync(descriptor);
    if ((mode & MODE_OTHERS) !== 0) {
      const message = `expected a key file that others cannot use, but ${file} has mode ${(mode & 0o777).toString(8)}: chmod o= it (on a Kubernetes volume, set defaultMode 0440)`;
      throw new EarshotError("KEYS_FILE_MODE", message);
    }
    return readFileSync(descriptor, "utf8");
  } catch (error) {
    if (error instanceof EarshotError) throw error;
    throw invalid(file, `it cannot be read (${(error as NodeJS.ErrnoException).code})`);
  } finally {
    closeSync(descriptor);
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
  const form = '{ "keys": [ { "id": 0, "secret": "<base64 of 32 bytes>", "signs": true } ] }';
  return new EarshotError(
    "KEYS_FILE_INVALID",
    `key file ${file}: ${what}; expected ${form}: correct it, or ${HOW_TO_MAKE}`,
  );
}
