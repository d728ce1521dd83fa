/**
 * Runs one part of the benchmark as a program: reads its options, lets it measure, prints its tables and writes its result.
 *
 *   node dist/bench/<part>.bench.js [--smoke] [--out FOLDER] [options of the part]
 *
 * A part that throws writes nothing and fails.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { packageRoot } from "../../src/package-root.ts";
import { origin } from "./origin.ts";
import { type Cell, type Missing, type PartName, type Result, type Table, writeResult } from "./result.ts";
import { summarize } from "./summary.ts";
import { resultText } from "./text.ts";

export const RESULTS_FOLDER = fileURLToPath(new URL("bench/results", packageRoot));
/** Where figures that say nothing do not replace any that do. */
const SMOKE_FOLDER = fileURLToPath(new URL("build/bench-smoke", packageRoot));

export interface Part {
  readonly name: PartName;
  /** How it measures, in a sentence or three. */
  readonly method: string;
  readonly doesNotShow: readonly string[];
  /** Its own, beside `--smoke` and `--out`: each takes a value, and has a default. */
  readonly options?: Readonly<Record<string, string>>;
}

export interface PartRun {
  /** Everything in a few seconds. */
  readonly smoke: boolean;
  readonly options: Readonly<Record<string, string>>;
}

/** What a part puts its figures into. Tables and rows are printed in the order in which they are first named. */
export class Report {
  readonly #tables: { name: string; title: string; cells: Cell[] }[] = [];
  readonly #missing: Missing[] = [];

  /** @param name is for the plot, `title` for readers. */
  table(name: string, title: string): ReportTable {
    const table = { name, title, cells: [] as Cell[] };
    this.#tables.push(table);
    return {
      add: (row, column, unit, samples) => {
        const { median, least, most } = summarize(samples);
        table.cells.push({ row: { ...row }, column, unit, samples: [...samples], median, least, most });
      },
    };
  }

  /** Something that this machine has not got. */
  missing(missing: Missing): void {
    this.#missing.push(missing);
  }

  /** What is going on, for who waits. */
  progress(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  get tables(): Table[] {
    return this.#tables;
  }

  get allMissing(): Missing[] {
    return this.#missing;
  }
}

export interface ReportTable {
  /** One sample for each run, each a figure in `unit`. */
  add(row: Cell["row"], column: string, unit: string, samples: readonly number[]): void;
}

export async function runPart(part: Part, measure: (report: Report, run: PartRun) => Promise<void>): Promise<void> {
  const { smoke, out, options } = readOptions(part);
  const report = new Report();
  const from = origin(command(part));
  const startedMs = performance.now();
  await measure(report, { smoke, options });
  const result: Result = {
    part: part.name,
    smoke,
    origin: from,
    seconds: (performance.now() - startedMs) / 1000,
    method: part.method,
    doesNotShow: [...part.doesNotShow],
    tables: report.tables,
    missing: report.allMissing,
  };
  const file = writeResult(out ?? (smoke ? SMOKE_FOLDER : RESULTS_FOLDER), result);
  console.log(resultText(result));
  // Whoever has named a folder may move the result from there.
  if (out === undefined) console.log(`\nwritten to ${path.relative(process.cwd(), file)}`);
}

function readOptions({ options: own = {} }: Part): PartRun & { readonly out: string | undefined } {
  const { values } = parseArgs({
    options: {
      smoke: { type: "boolean", default: false },
      out: { type: "string" },
      ...Object.fromEntries(
        Object.entries(own).map(([name, otherwise]) => [name, { type: "string" as const, default: otherwise }]),
      ),
    },
  });
  const { smoke, out, ...options } = values as { smoke: boolean; out?: string } & Record<string, string>;
  return { smoke, out, options };
}

/** What measures the same again; where the result goes is not part of it. */
function command({ name }: Part): string {
  const args = process.argv.slice(2);
  const at = args.indexOf("--out");
  if (at >= 0) args.splice(at, 2);
  return ["npm run", `bench:${name}`, ...(args.length > 0 ? ["--", ...args] : [])].join(" ");
}
