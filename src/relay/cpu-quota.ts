/**
 * Whether a cgroup limits the CPU time of this process: workers that may use a CPU only for a part of each period stand still
 * for the rest of it, and packets with them. Reads the system; warns, and changes nothing.
 */
import { readFileSync } from "node:fs";
import path from "node:path";

export type ReadText = (file: string) => string | undefined;

const ROOT = "/sys/fs/cgroup";
/** Where distributions mount the cpu controller of cgroup v1. */
const V1_MOUNTS = ["cpu,cpuacct", "cpu"] as const;

function fromDisk(file: string): string | undefined {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return undefined;
  }
}

/** CPUs' worth of time that this process may use, by the tightest limit above it; undefined where nothing limits it. */
export function cpuQuota(readText: ReadText = fromDisk): number | undefined {
  const lines = readText("/proc/self/cgroup")?.trim().split("\n") ?? [];
  const limits = lines.flatMap((line) => {
    // id:controllers:path; cgroup v2 has id 0 and no controllers.
    const [, controllers = "", own = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === "") return upwards(own).map((folder) => v2Limit(readText(path.join(ROOT, folder, "cpu.max"))));
    if (!controllers.split(",").includes("cpu")) return [];
    return V1_MOUNTS.flatMap((mount) =>
      upwards(own).map((folder) => v1Limit(path.join(ROOT, mount, folder), readText)),
    );
  });
  const known = limits.filter((limit) => limit !== undefined);
  return known.length > 0 ? Math.min(...known) : undefined;
}

/** What to say at start if `workers` busy workers and the control plane would be throttled; undefined if they would not. */
export function quotaWarning(workers: number, readText: ReadText = fromDisk): string | undefined {
  const quota = cpuQuota(readText);
  const wanted = workers + 1;
  if (quota === undefined || quota >= wanted) return undefined;
  return `a cgroup limits this process to ${quota} CPUs (cpu.max), and ${workers} busy workers with the control plane use up to ${wanted}: when that is used up the kernel stops them all for the rest of its period, and packets wait. Raise the limit, or run fewer workers`;
}

/** /a/b -> /a/b, /a, /. A limit of any of them holds. Inside a container the path may be of outside: what is missing is passed over. */
function upwards(folder: string): string[] {
  const above = path.dirname(folder);
  return above === folder ? [folder] : [folder, ...upwards(above)];
}

function v2Limit(text: string | undefined): number | undefined {
  const [, quota, period] = /^(\d+) (\d+)/.exec(text ?? "") ?? [];
  return quota === undefined ? undefined : Number(quota) / Number(period);
}

function v1Limit(folder: string, readText: ReadText): number | undefined {
  const quota = Number(readText(path.join(folder, "cpu.cfs_quota_us")) ?? -1);
  const period = Number(readText(path.join(folder, "cpu.cfs_period_us")) ?? 0);
  return quota > 0 && period > 0 ? quota / period : undefined;
}
