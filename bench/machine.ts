/** What every benchmark prints above its figures: without it they say nothing to anybody else. */
import { execFileSync } from "node:child_process";
import os from "node:os";

export function machineText(): string {
  const cpus = os.cpus();
  return [
    `machine  ${cpus.length} x ${cpus[0]?.model.trim() ?? "unknown CPU"}, ${Math.round(os.totalmem() / 2 ** 30)} GiB`,
    `kernel   ${os.type()} ${os.release()} ${os.arch()}`,
    `node     ${process.version} (V8 ${process.versions.v8})`,
    `commit   ${commit()}`,
  ].join("\n");
}

/** With a mark where the files are not those of the commit. */
function commit(): string {
  try {
    return git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain") === "" ? "" : " with local changes");
  } catch {
    return "unknown: not a git checkout";
  }
}

function git(...args: string[]): string {
  return execFileSync("git", args, {
    cwd: import.meta.dirname,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}
