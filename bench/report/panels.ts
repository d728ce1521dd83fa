/** Which figures of each part's result are drawn, and how they are labelled. Finds tables by their names. */
import type { Cell, Result, Table } from "./result.ts";
import { numberText } from "./text.ts";

export interface Bar {
  /** Bars of a group stand together. */
  readonly group: string;
  readonly side: string;
  /** Whose colour it has, if not its own side's. */
  readonly paint?: string;
  /** The solid bar; none where there is nothing to draw. */
  readonly value?: number;
  /** The light bar behind it. */
  readonly far?: number;
  /** Of the solid bar's figure. */
  readonly least?: number;
  readonly most?: number;
  /** Where the label begins. */
  readonly end: number;
  readonly label: string;
}

export interface Panel {
  readonly title: string;
  readonly subtitle: string;
  readonly unit: string;
  readonly bars: readonly Bar[];
  /** Each group has an axis of its own; otherwise all bars can be compared. */
  readonly ownScales: boolean;
}

/** A side that loses more is over its limit: what it did not lose has waited in a full queue, and says nothing of its speed. */
const OVER_LIMIT_PERCENT = 1;

const EARSHOT = "Earshot native";
const LOOKUP = "flow lookup: ";

const DRAWN: Readonly<Record<Result["part"], (tables: ReadonlyMap<string, Table>) => Panel[]>> = {
  pps: (tables) => [costPanel(table(tables, "cost")), steadyPanel(table(tables, "steady"))],
  latency: (tables) => [addedPanel(table(tables, "added"))],
  setup: (tables) => [firstPacketPanel(table(tables, "first-packet")), newFlowsPanel(table(tables, "new-flows"))],
  micro: (tables) => [lookupPanel(table(tables, "micro"))],
  admission: () => [],
  transceiver: () => [],
  dtls: () => [],
  preload: () => [],
};

export function panelsOf({ part, tables }: Result): Panel[] {
  const panels = DRAWN[part](new Map(tables.map((table) => [table.name, table])));
  return panels.filter(({ bars }) => bars.length > 0);
}

function table(tables: ReadonlyMap<string, Table>, name: string): Table {
  const found = tables.get(name);
  if (found === undefined) throw new RangeError(`expected a table "${name}", got ${[...tables.keys()].join(", ")}`);
  return found;
}

/** Of many cells those of the aims; the others are in the tables. */
const USUAL = { bytes: 120, flows: 1_000, transceivers: 1, workers: 1 };

function costPanel({ cells }: Table): Panel {
  const usual = cells.filter(({ row }) => Object.entries(USUAL).every(([name, value]) => row[name] === value));
  return {
    title: "CPU time to forward a packet of a backlog",
    subtitle: "120 bytes, 1,000 flows, one transceiver, one worker. Shorter is better",
    unit: "nanoseconds",
    bars: usual.map((cell) => bar(String(cell.row.direction), cell.column, cell)),
    ownScales: false,
  };
}

function steadyPanel({ cells }: Table): Panel {
  return {
    title: "CPU time to forward a packet under a steady load",
    subtitle: "Uplink, 120 bytes, 1,000 flows. Shorter is better",
    unit: "nanoseconds",
    bars: cells.map((cell) =>
      bar(`${Number(cell.row["packets/s"]).toLocaleString("en")} packets/s`, cell.column, cell),
    ),
    ownScales: false,
  };
}

function addedPanel({ cells }: Table): Panel {
  const bars = pairs(cells).map(({ row, p50, p99, of }): Bar => {
    const group = `${Number(row["packets/s"]).toLocaleString("en")} packets/s`;
    const side = String(row.through);
    const lost = of("lost")!.median;
    if (lost > OVER_LIMIT_PERCENT) return { group, side, end: 0, label: `over its limit: ${numberText(lost)} % lost` };
    return quantileBar(group, side, p50, p99);
  });
  return {
    title: "Added round trip, against the direct path",
    subtitle:
      "Solid: p50. Light: p99. Behind each bar both figures. Each rate has a scale of its own. Shorter is better",
    unit: "microseconds",
    bars,
    ownScales: true,
  };
}

function firstPacketPanel({ cells }: Table): Panel {
  const bars = pairs(cells).map(({ row, p50, p99 }) =>
    quantileBar(`${Number(row["new flows/s"]).toLocaleString("en")} new flows/s`, sideOf(row.packet), p50, p99),
  );
  return {
    title: "A Binding request until its answer is back, through Earshot native",
    subtitle: "first: it sets its flow up; again: its flow is there. Solid: p50. Light: p99. Shorter is better",
    unit: "microseconds",
    bars,
    ownScales: true,
  };
}

const sideOf = (packet: string | number | undefined): string =>
  String(packet).startsWith("first") ? "first" : "again";

function newFlowsPanel({ cells }: Table): Panel {
  const bars = cells
    .filter(({ column }) => column === "new flows")
    .map((cell) => ({ ...bar("Requests under way", `${cell.row["requests under way"]}`, cell), paint: EARSHOT }));
  return {
    title: "New flows a second, as fast as clients are let in",
    subtitle: "Through Earshot native, one control plane. Longer is better",
    unit: "flows per second",
    bars,
    ownScales: false,
  };
}

function lookupPanel({ cells }: Table): Panel {
  const bars = cells
    .filter(({ row }) => String(row.call).startsWith(LOOKUP))
    .map((cell) =>
      bar(String(cell.row.call).slice(LOOKUP.length), cell.column.replace(/, \d+ prefetched$/, ", batch"), cell),
    );
  return {
    title: "Finding a flow in a full table",
    subtitle: "batch: many lookups prefetched together, as a worker does. Shorter is better",
    unit: "nanoseconds",
    bars,
    ownScales: false,
  };
}

function bar(group: string, side: string, { median, least, most }: Cell): Bar {
  return { group, side, value: median, least, most, end: most, label: numberText(median) };
}

/** The difference of two medians may be a little less than nothing: it is drawn as nothing, and labelled as it is. */
function quantileBar(group: string, side: string, p50: Cell, p99: Cell): Bar {
  const label = `${numberText(p50.median)}  ·  ${numberText(p99.median)}`;
  const [value, least, most, far] = [p50.median, p50.least, p50.most, p99.median].map((each) => Math.max(0, each));
  return { group, side, value: value!, least: least!, most: most!, far: far!, end: Math.max(far!, most!), label };
}

interface Pair {
  readonly row: Cell["row"];
  readonly p50: Cell;
  readonly p99: Cell;
  readonly of: (column: string) => Cell | undefined;
}

/** Rows that have both quantiles. */
function pairs(cells: readonly Cell[]): Pair[] {
  const rows = new Map<string, Cell[]>();
  for (const cell of cells) {
    const key = JSON.stringify(cell.row);
    rows.set(key, [...(rows.get(key) ?? []), cell]);
  }
  return [...rows.values()].flatMap((all) => {
    const of = (column: string) => all.find((cell) => cell.column === column);
    const [p50, p99] = [of("p50"), of("p99")];
    return p50 === undefined || p99 === undefined ? [] : [{ row: p50.row, p50, p99, of }];
  });
}
