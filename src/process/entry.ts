/** Where the entry of a child process is: next to this file, compiled as this file is. */
import type { ChildName } from "./messages.ts";

export function childEntry(name: ChildName): URL {
  // The source itself where Node.js runs TypeScript.
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`./${name}-child.${extension}`, import.meta.url);
}
