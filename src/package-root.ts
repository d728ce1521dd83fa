/** Where this package is installed: the nearest folder above this file that has a package.json. */
import { existsSync, readFileSync } from "node:fs";

export const packageRoot: URL = find(new URL("./", import.meta.url));

export function packageVersion(): string {
  return (JSON.parse(readFileSync(new URL("package.json", packageRoot), "utf8")) as { version: string }).version;
}

function find(folder: URL): URL {
  if (existsSync(new URL("package.json", folder))) return folder;
  const parent = new URL("../", folder);
  if (parent.href === folder.href) throw new Error(`no package.json above ${import.meta.url}`);
  return find(parent);
}
