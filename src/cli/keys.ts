/** `earshot keys`: makes, rotates and lists fleet keys. Never overwrites some that are in use, never prints a secret of a file. */
import { writeFileSync } from "node:fs";
import { EarshotError } from "../earshot-error.ts";
import { newKeyFileText, newSecret, readKeyFile } from "../keys/key-file.ts";
import { changeKeyFile, KEY_FILE_MODE } from "../keys/key-file-change.ts";
import { keyFingerprint } from "../keys/key-ring.ts";
import { dateText } from "../keys/key-schedule.ts";
import { rotateKeys } from "../keys/rotation.ts";

/** Writes a new key file, or gives its text back for stdout. Throws KEYS_FILE_EXISTS and KEYS_FILE_WRITE. */
export function newKeys(file: string | undefined): string {
  const text = newKeyFileText();
  if (file === undefined) return text;
  try {
    writeFileSync(file, text, { flag: "wx", mode: KEY_FILE_MODE });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") {
      throw new EarshotError(
        "KEYS_FILE_EXISTS",
        `${file} exists and is not overwritten. Choose another name with --out; for a new key in it: earshot keys rotate`,
      );
    }
    throw new EarshotError("KEYS_FILE_WRITE", `${file} cannot be written: ${message}. Choose another place with --out`);
  }
  return `${file}: one new key, id 0, which signs. Give this file to every relay and transceiver, and to nobody else.\n`;
}

/** Rotates the keys of a file, and says what comes of it when. Throws as `changeKeyFile` and `rotateKeys` do. */
export async function rotateKeyFile(
  file: string,
  { signsIn, maxCallSeconds }: { readonly signsIn: number; readonly maxCallSeconds: number },
  nowMs: number,
): Promise<string> {
  const secret = newSecret();
  const wish = { nowMs, signsInMs: signsIn * 1000, longestCallMs: maxCallSeconds * 1000, secret };
  const { added, retiring, dropped } = await changeKeyFile(file, (before) => rotateKeys(before, wish));
  const lines = [`${file}: new key ${added.id}, which signs from ${dateText(added.signsFromMs)}`];
  for (const { id, retiresMs } of retiring) lines.push(`key ${id} verifies until ${dateText(retiresMs!)}`);
  for (const { id } of dropped) lines.push(`key ${id} is gone, and its id is free`);
  lines.push("Give this file to every relay and transceiver before the new key signs. None needs a restart.");
  return `${lines.join("\n")}\n`;
}

/** A table for people, or one JSON object. */
export async function listKeys(file: string, json: boolean, nowMs: number): Promise<string> {
  const schedule = await readKeyFile(file);
  const keys = schedule.keys.map((key) => ({
    id: key.id,
    state: schedule.stateAt(key, nowMs),
    signsFrom: dateText(key.signsFromMs),
    retires: key.retiresMs === undefined ? null : dateText(key.retiresMs),
    fingerprint: keyFingerprint(key.secret),
  }));
  if (json) return `${JSON.stringify({ keys })}\n`;
  const rows = keys.map(({ id, state, signsFrom, retires, fingerprint }) => [
    `${id}`,
    state,
    signsFrom,
    retires ?? "no date",
    fingerprint,
  ]);
  return table([["id", "state", "signs from", "retires", "fingerprint"], ...rows]);
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ");
  return rows.map((row) => `${line(row).trimEnd()}\n`).join("");
}
