/** A result as text for a terminal. */
import { originText } from "./origin.ts";
import type { Cell, Result, Table } from "./result.ts";
import { spread } from "./summary.ts";

export function resultText(result: Result): string {
  const blocks = [originText(result.origin), ...result.tables.map(tableText)];
  for (const { what, why, remedy } of result.missing) blocks.push(`NOT MEASURED: ${what}, because ${why}. ${remedy}`);
  blocks.push(`How: ${result.method}`);
  blocks.push(["What it does not show:", ...result.doesNotShow.map((line) => `- ${line}`)].join("\n"));
  if (result.smoke) blocks.push("A SMOKE RUN: it shows that everything still works. Its figures say nothing.");
  return blocks.join("\n\n");
}

/**
 * Conditions to the left, a column for each side. Where a figure is the median of several, `±` says how far the furthest of
 * them lay from it.
 */
export function tableText({ title, cells }: Table): string {
  const keys = unique(cells.flatMap(({ row }) => Object.keys(row)));
  const columns = unique(cells.map(({ column }) => column));
  const rows = new Map<string, Cell[]>();
  for (const cell of cells) {
    const key = JSON.stringify(keys.map((key) => cell.row[key]));
    rows.set(key, [...(rows.get(key) ?? []), cell]);
  }
  const units = new Map(
    columns.map((column) => [column, unique(cells.filter((cell) => cell.column === column).map(({ unit }) => unit))]),
  );
  const lines = [
    [...keys, ...columns],
    [
      ...keys.map(() => ""),
      ...columns.map((column) => (units.get(column)!.length === 1 ? units.get(column)![0]! : "")),
    ],
  ];
  for (const all of rows.values()) {
    const conditions = keys.map((key) => conditionText(all[0]!.row[key]));
    const figures = columns.map((column) => {
      const cell = all.find((cell) => cell.column === column);
      if (cell === undefined) return "-";
      return units.get(column)!.length === 1 ? figureText(cell) : `${figureText(cell)} ${cell.unit}`;
    });
    lines.push([...conditions, ...figures]);
  }
  const widths = lines[0]!.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  const texts = lines.map((line) =>
    line.map((text, i) => (i < keys.length ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join("   "),
  );
  return [title, ...texts.map((line) => line.trimEnd())].join("\n");
}

function figureText(cell: Cell): string {
  if (cell.samples.length === 1) return numberText(cell.median);
  return `${numberText(cell.median)} ±${`${(100 * spread(cell)).toFixed(0)}%`.padStart(4)}`;
}

/** Three digits, or all that stand before the point. */
export function numberText(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function conditionText(value: string | number | undefined): string {
  return typeof value === "number" ? value.toLocaleString("en") : (value ?? "");
}

const unique = <Item>(items: readonly Item[]): Item[] => [...new Set(items)];
