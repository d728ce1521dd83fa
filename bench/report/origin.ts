/** Where a figure comes from. Every benchmark says it: without it a figure says nothing to anybody else. */
import { execFileSync } from "node:child_process";
import os from "node:os";
import { z } from "zod";

export const originSchema = z.strictObject({
  cpu: z.string(),
  cores: z.int().positive(),
  memoryGiB: z.number().positive(),
  /** What else the machine was doing before: the load of the last minute. Well above 0 spoils most figures. */
  loadBefore: z.number(),
  kernel: z.string(),
  node: z.string(),
  commit: z.string(),
  /** The files were not those of the commit. */
  dirty: z.boolean(),
  /** From the root of the project. */
  command: z.string(),
  date: z.iso.datetime(),
});
export type Origin = z.infer<typeof originSchema>;

export function origin(command: string): Origin {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? "unknown",
    cores: cpus.length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    loadBefore: os.loadavg()[0] ?? 0,
    kernel: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    ...commit(),
    command,
    date: new Date().toISOString(),
  };
}

export function originText(origin: Origin): string {
  return [
    `machine  ${machineLine(origin)}; load before ${origin.loadBefore.toFixed(2)}`,
    `kernel   ${origin.kernel}`,
    `node     ${origin.node}`,
    `commit   ${commitText(origin)}`,
    `command  ${origin.command}`,
    `date     ${origin.date}`,
  ].join("\n");
}

export function machineLine({ cpu, cores, memoryGiB }: Origin): string {
  return `${cores} x ${cpu}, ${memoryGiB} GiB`;
}

export function commitText({ commit, dirty }: Origin): string {
  return dirty ? `${commit} with local changes` : commit;
}

function commit(): { commit: string; dirty: boolean } {
  try {
    return { commit: git("rev-parse", "--short=12", "HEAD"), dirty: git("status", "--porcelain") !== "" };
  } catch {
    return { commit: "unknown: not a git checkout", dirty: true };
  }
}

function git(...args: string[]): string {
  return execFileSync("git", args, {
    cwd: import.meta.dirname,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}
