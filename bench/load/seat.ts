/** Where a program of a benchmark runs, and how urgently. */
export interface Seat {
  /** The one CPU that it may use; any if absent. */
  readonly cpu?: number | undefined;
  /** Before everything else on that CPU, as if it had a machine of its own. Needs root. */
  readonly realtime?: boolean | undefined;
}

/** The command with its CPU in front of it. */
export function seated(cpu: number | undefined, ...command: string[]): string[] {
  return cpu === undefined ? command : ["taskset", "--cpu-list", String(cpu), ...command];
}
