/** Owns third-party STUN inputs: read from the corpora next to the project where they are, and nothing where not. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../../../shared/corpora/stun", import.meta.url));

/** Every file as one datagram; of a CSV every field that is base64 and long enough for a STUN header. */
export function stunCorpus(): readonly Buffer[] {
  if (!existsSync(FOLDER)) return [];
  const files = readdirSync(FOLDER, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.flatMap((entry) => {
    const bytes = readFileSync(path.join(entry.parentPath, entry.name));
    return entry.name.endsWith(".csv") ? csvFields(bytes.toString("latin1")) : [bytes];
  });
}

function csvFields(text: string): Buffer[] {
  const fields = text.split(/[\s,]+/).filter((field) => /^[A-Za-z0-9+/]{27,}={0,2}$/.test(field));
  return fields.map((field) => Buffer.from(field, "base64"));
}
