/**
 * The whole benchmark: every part after the other, each a process of its own, then one picture of them. Results replace those of
 * before only if all parts have succeeded.
 *
 *   npm run bench [-- --out FOLDER] [--smoke]
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { RESULTS_FOLDER } from "./report/part.ts";
import { plotSvg } from "./report/plot.ts";
import { type PartName, readResult } from "./report/result.ts";

/** In the order of the picture's panels. */
const PARTS: readonly PartName[] = ["pps", "latency", "setup", "micro"];
const PLOT = "bench.svg";

const { values } = parseArgs({
  options: { out: { type: "string", default: RESULTS_FOLDER }, smoke: { type: "boolean", default: false } },
});

function runPart(part: PartName, folder: string): boolean {
  console.log(`\n== bench:${part}\n`);
  const program = fileURLToPath(new URL(`${part}.bench.js`, import.meta.url));
  const args = [program, "--out", folder, ...(values.smoke ? ["--smoke"] : [])];
  return spawnSync(process.execPath, args, { stdio: "inherit" }).status === 0;
}

/** On the same file system as the results, which are moved. */
mkdirSync(values.out, { recursive: true });
const folder = mkdtempSync(path.join(values.out, ".bench-"));
try {
  const startedMs = performance.now();
  const failed = PARTS.filter((part) => !runPart(part, folder));
  if (failed.length > 0) {
    console.error(`\nbench: failed: ${failed.join(", ")}; nothing was written`);
    process.exitCode = 1;
  } else {
    const results = PARTS.map((part) => readResult(folder, part));
    writeFileSync(path.join(folder, PLOT), await plotSvg(results, "npm run bench"));
    for (const name of readdirSync(folder)) renameSync(path.join(folder, name), path.join(values.out, name));
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    console.log(
      `\nbench: ${results.length} parts in ${seconds} s; results and ${PLOT} are in ${path.relative(process.cwd(), values.out)}`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
