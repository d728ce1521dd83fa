/**
 * The result of a part of the benchmark: what was measured, where, how, and what it does not show. Written by programs only;
 * a result is never edited by hand.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { originSchema } from "./origin.ts";

export const PARTS = ["micro", "pps", "latency", "setup", "admission", "transceiver", "dtls", "preload"] as const;
export type PartName = (typeof PARTS)[number];

const cellSchema = z.strictObject({
  /** The conditions, in the order in which they are printed: `{ direction: "uplink", bytes: 120 }`. */
  row: z.record(z.string(), z.union([z.string(), z.number()])),
  /** Mostly a side: `Earshot native`. */
  column: z.string(),
  /** `ns`, `us`, `packets/s`, `frames`, ... */
  unit: z.string(),
  samples: z.array(z.number()).min(1),
  median: z.number(),
  least: z.number(),
  most: z.number(),
});

const tableSchema = z.strictObject({
  /** For programs: the plot finds a table by it. */
  name: z.string(),
  title: z.string(),
  cells: z.array(cellSchema).min(1),
});

const missingSchema = z.strictObject({
  what: z.string(),
  why: z.string(),
  /** The command, or the sentence, that changes it. */
  remedy: z.string(),
});

export const resultSchema = z.strictObject({
  part: z.enum(PARTS),
  /** A run of seconds that shows that everything still works; its figures say nothing. */
  smoke: z.boolean(),
  origin: originSchema,
  seconds: z.number().positive(),
  method: z.string(),
  doesNotShow: z.array(z.string()).min(1),
  tables: z.array(tableSchema).min(1),
  /** What would have been measured on another machine. */
  missing: z.array(missingSchema),
});

export type Result = z.infer<typeof resultSchema>;
export type Table = z.infer<typeof tableSchema>;
export type Cell = z.infer<typeof cellSchema>;
export type Missing = z.infer<typeof missingSchema>;

/** Returns the file, which is `<part>.json` in the folder. */
export function writeResult(folder: string, result: Result): string {
  const file = path.join(folder, `${result.part}.json`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, `${JSON.stringify(resultSchema.parse(result), undefined, 1)}\n`);
  return file;
}

export function readResult(folder: string, part: PartName): Result {
  return resultSchema.parse(JSON.parse(readFileSync(path.join(folder, `${part}.json`), "utf8")));
}
