/** What configuration needs to know about this machine. Reads the system; decides nothing. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import type { Machine } from "./schema.ts";
import { cpuList } from "./values.ts";

export function thisMachine(): Machine {
  return { parallelism: availableParallelism(), allowedCpus: allowedCpus() };
}

/** The CPUs of this process's cpuset, from /proc; undefined where that cannot be read. */
function allowedCpus(): readonly number[] | undefined {
  try {
    const line = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "latin1"));
    return cpuList.parse(line?.[1]);
  } catch {
    return undefined;
  }
}
