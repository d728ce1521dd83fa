/**
 * A copy of the package as it is installed, and an addon for it whose flow table is laid out differently, as that of a later
 * version might be: only what depends on the layout is compiled again, by the very commands of the addon's own build.
 */
import { spawn } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/package-root.ts";
import type { ChaosOptions } from "./scenario.ts";

const at = (...parts: string[]): string => path.join(fileURLToPath(packageRoot), ...parts);
const ADDON = "build/Release/earshot.node";
const OBJECTS = "Release/obj.target/earshot/native/";

type Change = readonly [file: string, before: string, after: string];

/** Flows and their checks lie elsewhere: one file to compile. */
const ELSEWHERE: readonly Change[] = [
  ["core/kept_memory.cc", "kLayoutVersion = 1;", "kLayoutVersion = 2;"],
  ["core/kept_memory.cc", "shape.lanes * kSenderBytes;", "shape.lanes * kSenderBytes + 65'536;"],
];
/** Besides, larger flows with another order of fields, and finer ticks: most of the core. */
const LARGER: readonly Change[] = [
  [
    "core/flow.h",
    "  uint64_t owner_ufrags[2];\n  uint64_t pending_ufrags[2];\n",
    "  uint64_t added[8] = {};\n  uint64_t pending_ufrags[2];\n  uint64_t owner_ufrags[2];\n",
  ],
  ["core/flow.h", "sizeof(Flow) == 64", "sizeof(Flow) == 128"],
  ["core/flow.h", "kTickShift = 8;", "kTickShift = 6;"],
];

export class InstalledPackage {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(path.join(folder, "build/Release"), { recursive: true });
    for (const part of ["package.json", "dist/src", ADDON]) {
      cpSync(at(part), path.join(folder, part), { recursive: true });
    }
    symlinkSync(at("node_modules"), path.join(folder, "node_modules"));
  }

  get program(): string {
    return path.join(this.#folder, "dist/src/cli/main.js");
  }

  /** Another version is installed; processes that run go on with theirs. */
  install(addon: string): void {
    const file = path.join(this.#folder, ADDON);
    copyFileSync(addon, `${file}.new`);
    renameSync(`${file}.new`, file);
  }

  /** A file of the new version that differs. */
  change(file: string, before: string, after: string): void {
    replaceIn(path.join(this.#folder, "dist/src", file), before, after);
  }
}

/** The addon of this very version. */
export const ownAddon: string = at(ADDON);

/** Its twin of another layout, made in `folder`; in the short form it differs in less. Resolves with the file. */
export async function buildOtherAddon(folder: string, { short }: Pick<ChaosOptions, "short">): Promise<string> {
  const sources = path.join(folder, "native");
  cpSync(at("native"), sources, { recursive: true });
  const changes = short ? ELSEWHERE : [...ELSEWHERE, ...LARGER];
  for (const [file, before, after] of changes) replaceIn(path.join(sources, file), before, after);

  const units = readdirSync(at("build", OBJECTS), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".o"))
    .map((name) => name.slice(0, -2));
  const objects = await Promise.all(
    units.map(async (unit) => {
      const rules = readFileSync(at("build/Release/.deps", OBJECTS, `${unit}.o.d`), "utf8");
      const own = at("build", OBJECTS, `${unit}.o`);
      if (!changes.some(([file]) => rules.includes(file))) return own;
      const object = path.join(folder, `${path.basename(unit)}.o`);
      const command = /^cmd_\S+ := (.*)$/m.exec(rules)![1]!;
      const parts = { "../native/": `${sources}/`, [`${OBJECTS}${unit}.o`]: object };
      const compiled = Object.entries(parts).reduce((text, [from, to]) => text.replace(from, to), command);
      // The compiler's time, not the addon's, counts here.
      await shell(`${compiled.replaceAll("-O3", "-O0").replace(/-MMD -MF \S+/, "")}`);
      return object;
    }),
  );
  const addon = path.join(folder, "other.node");
  await shell(`\${CXX:-g++} -shared -pthread -o ${addon} ${objects.join(" ")}`);
  return addon;
}

/** In the folder of the addon's build. */
function shell(command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("sh", ["-c", command], { cwd: at("build"), stdio: ["ignore", "inherit", "inherit"] });
    child.once("error", reject);
    child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`failed with ${code}: ${command}`))));
  });
}

function replaceIn(file: string, before: string, after: string): void {
  const text = readFileSync(file, "utf8");
  if (!text.includes(before))
    throw new Error(`${file} has no ${JSON.stringify(before)} any more: say here how it is now`);
  writeFileSync(file, text.replace(before, after));
}
