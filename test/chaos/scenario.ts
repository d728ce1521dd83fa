/** What a scenario is: something that goes wrong while calls are on, and what it cost them. Its report is for people. */

export interface Finding {
  /** What is aimed at. */
  readonly aim: string;
  readonly measured: string;
  readonly ok: boolean;
}

export interface ChaosOptions {
  /** Few flows and seconds, for every change; figures are then reported and not judged: other work shares the machine. */
  readonly short: boolean;
  readonly flows: number;
  /** Datagrams per second of each flow. */
  readonly rate: number;
}

export interface Scenario {
  readonly name: string;
  /** Whether it is part of the short form. */
  readonly short: boolean;
  run(options: ChaosOptions): Promise<readonly Finding[]>;
}

/** A finding that is right or wrong on every machine. */
export const finding = (aim: string, measured: string, ok: boolean): Finding => ({ aim, measured, ok });

/** A time, which is judged in the long form only. */
export function timed(options: ChaosOptions, aim: string, measuredMs: number, mostMs: number): Finding {
  return { aim, measured: `${measuredMs.toFixed(1)} ms`, ok: options.short || measuredMs <= mostMs };
}

export interface Report {
  readonly scenario: string;
  readonly findings: readonly Finding[];
}

/** One line for each finding: verdict, scenario, aim, what was measured. */
export function reportText(reports: readonly Report[]): string {
  const rows = reports.flatMap(({ scenario, findings }) =>
    findings.map(({ aim, measured, ok }, i) => [ok ? "ok" : "FAIL", i === 0 ? scenario : "", aim, measured]),
  );
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd())
    .join("\n");
}
