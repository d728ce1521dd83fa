/** Which of a front's processes is the one that forwards. */
import { readdirSync, readFileSync } from "node:fs";
import type { EarshotProcess } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";

/** Each loads a process, which takes most of this; a machine that is busy takes several seconds. */
export const UPGRADE_WITHIN_MS = 30_000;

/** Resolves when there is one. Workers of the native engine have names; the js engine has a child and one that stands by. */
export function workingProcess(front: EarshotProcess, engine: "native" | "js"): Promise<number> {
  const find = async () => front.children().find((pid) => (engine === "js" ? true : hasWorkers(pid)));
  return eventually("a working process", find, (pid) => pid !== undefined) as Promise<number>;
}

/** Resolves when another one than `before` forwards, with the native engine. */
export const nextWorkingProcess = (front: EarshotProcess, before: number): Promise<number> =>
  eventually(
    "another working process",
    () => workingProcess(front, "native"),
    (pid) => pid !== before,
    UPGRADE_WITHIN_MS,
  );

/** Has the relay exchanged for one of the code on disk. Resolves when that forwards and will not be given up any more. */
export async function upgradeRelay(front: EarshotProcess): Promise<void> {
  const before = await workingProcess(front, "native");
  front.signal("SIGUSR2");
  await nextWorkingProcess(front, before);
  await eventually(
    "the end of the old process",
    async () => front.children(),
    (pids) => !pids.includes(before),
    UPGRADE_WITHIN_MS,
  );
}

function hasWorkers(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).some((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/comm`, "latin1").startsWith("earshot-w"),
    );
  } catch {
    return false; // it has just ended
  }
}
