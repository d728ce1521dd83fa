/** Reads a configuration file: YAML, of which JSON is a part. Knows nothing of the settings in it. */
import { LineCounter, parseDocument } from "yaml";
import { EarshotError } from "../earshot-error.ts";

/** The file's settings by key, as YAML gives them. Throws CONFIG_FILE_MISSING and CONFIG_FILE_INVALID. */
export function readSettings(file: string, readText: (file: string) => string): Record<string, unknown> {
  const lineCounter = new LineCounter();
  const document = parseDocument(textOf(file, readText), { lineCounter, prettyErrors: false });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) {
    const { line, col } = lineCounter.linePos(problem.pos[0]);
    throw new EarshotError(
      "CONFIG_FILE_INVALID",
      `${file}, line ${line}, column ${col}: not valid YAML: ${problem.message.split("\n")[0]}. Correct that line`,
    );
  }
  const settings: unknown = document.toJS();
  if (settings === null) return {};
  if (typeof settings !== "object" || Array.isArray(settings)) {
    throw new EarshotError(
      "CONFIG_FILE_INVALID",
      `${file}: expected settings as "key: value" lines, got ${Array.isArray(settings) ? "a list" : `one ${typeof settings}`}. Example: http: 127.0.0.1:8080`,
    );
  }
  return settings as Record<string, unknown>;
}

function textOf(file: string, readText: (file: string) => string): string {
  try {
    return readText(file);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new EarshotError(
      "CONFIG_FILE_MISSING",
      `${file} cannot be read (${reason}). Check the name given with --config or EARSHOT_CONFIG`,
      { cause: error },
    );
  }
}
