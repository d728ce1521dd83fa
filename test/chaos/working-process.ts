/** Which of a front's processes is the one that forwards. */
import { readdirSync, readFileSync } from "node:fs";
import type { EarshotProcess } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";

/** Resolves when there is one. Workers of the native engine have names; the js engine has a child and one that stands by. */
export function workingProcess(front: EarshotProcess, engine: "native" | "js"): Promise<number> {
  const find = async () => front.children().find((pid) => (engine === "js" ? true : hasWorkers(pid)));
  return eventually("a working process", find, (pid) => pid !== undefined) as Promise<number>;
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
