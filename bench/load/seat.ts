/** Where a program of a benchmark runs, and how urgently. */
export interface Seat {
  /** The one CPU that it may use; any if absent. */
  readonly cpu?: number | undefined;
  /** Before everything else on that CPU, as if it had a machine of its own. Needs root. */
  readonly realtime?: boolean | undefined;
  /** In the network namespace of the process with this id; in ours if absent. Needs root. */
  readonly networkOf?: number | undefined;
}

/** The command as it runs in another network. Its process is the command itself. */
export function inNetwork(networkOf: number | undefined, ...command: string[]): string[] {
  return networkOf === undefined ? command : ["nsenter", `--net=/proc/${networkOf}/ns/net`, "--", ...command];
}

/** The command with its CPU in front of it. */
export function seated(cpu: number | undefined, ...command: string[]): string[] {
  return cpu === undefined ? command : ["taskset", "--cpu-list", String(cpu), ...command];
}

/**
 * Not a realtime class: a Node process that waits for its own threads on one CPU would never let them run. Nearly all of the CPU
 * beside what is not so nice.
 */
const NICENESS = -20;

/** The command with its CPU and its priority in front of it, for programs that know nothing of priorities. */
export function seatedWith({ cpu, realtime }: Seat, ...command: string[]): string[] {
  return seated(cpu, ...(realtime === true ? ["nice", "-n", String(NICENESS), ...command] : command));
}
