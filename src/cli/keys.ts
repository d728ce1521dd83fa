/** `earshot keys new`: makes fleet keys. Never overwrites any, since that would cut off every call made with them. */
import { writeFileSync } from "node:fs";
import { EarshotError } from "../earshot-error.ts";
import { newKeyFileText } from "../keys/key-file.ts";

/** Only its owner may read it. */
const KEY_FILE_MODE = 0o600;

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
        `${file} exists and is not overwritten. Choose another name with --out`,
      );
    }
    throw new EarshotError("KEYS_FILE_WRITE", `${file} cannot be written: ${message}. Choose another place with --out`);
  }
  return `${file}: one new key, id 0, which signs. Give this file to every relay and transceiver, and to nobody else.\n`;
}
