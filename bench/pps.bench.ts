/**
 * What forwarding a datagram costs, and how many a core forwards: Earshot against what is written straight down, what operators
 * run, and the mere reading of datagrams.
 *
 *   npm run bench:pps -- [--matrix usual|full] [--only WORDS] [--runs 3] [--rounds 6]
 *
 * `--only` measures the cells whose line of progress holds all of its words: `--only "up 120 B"`, `--only Earshot`.
 */
import { availableParallelism } from "node:os";
import { buildLoadTools } from "./load/load-tools.ts";
import { allCells, type Cell, smokeCells, USUAL, usualCells } from "./pps/cells.ts";
import { buildPpsTools, type Conditions, type Measured, measure } from "./pps/measure.ts";
import { missingSide, SIDES, type SideName } from "./pps/sides.ts";
import { type Report, type ReportTable, runPart } from "./report/part.ts";
import { summarize } from "./report/summary.ts";

const ROW_DIRECTION = { up: "uplink", down: "downlink", mixed: "mixed" } as const;

type Samples = Map<string, { readonly cell: Cell; readonly bySide: Map<SideName, Measured[]> }>;

const key = (conditions: Conditions): string => JSON.stringify(conditions);

function describe(side: SideName, { direction, bytes, flows, transceivers, workers, rate }: Conditions): string {
  const load = rate === 0 ? "backlog" : `${rate} packets/s`;
  return `${side}, ${direction}, ${bytes} B, ${flows} flows, ${transceivers} transceivers, ${workers} workers, ${load}`;
}

function row({ direction, bytes, flows, transceivers, workers }: Conditions): Record<string, string | number> {
  return { direction: ROW_DIRECTION[direction], bytes, flows, transceivers, workers };
}

/** Each run takes every cell, and the sides in turns: what disturbs one disturbs its rivals too. */
async function measureAll(cells: readonly Cell[], runs: number, rounds: number, report: Report): Promise<Samples> {
  const samples: Samples = new Map(
    cells.map((cell) => [key(cell.conditions), { cell, bySide: new Map(cell.sides.map((side) => [side, []])) }]),
  );
  for (let run = 0; run < runs; run++) {
    for (const { cell, bySide } of samples.values()) {
      const sides = run % 2 === 0 ? cell.sides : [...cell.sides].reverse();
      for (const side of sides) {
        const measured = await measure(side, cell.conditions, rounds);
        bySide.get(side)!.push(measured);
        report.progress(
          `${run + 1}/${runs} ${measured.nsPerPacket.toFixed(0).padStart(6)} ns  ${describe(side, cell.conditions)}`,
        );
      }
    }
  }
  return samples;
}

function addTables(samples: Samples, report: Report): void {
  const tables = new Map<string, ReportTable>();
  const table = (name: string, title: string): ReportTable => {
    if (!tables.has(name)) tables.set(name, report.table(name, title));
    return tables.get(name)!;
  };
  for (const { cell, bySide } of samples.values()) {
    const { conditions } = cell;
    for (const [side, measured] of bySide) {
      const ns = measured.map((each) => each.nsPerPacket);
      if (conditions.rate > 0) {
        const title = "CPU time per packet under a steady load, uplink, 120 bytes, 1,000 flows";
        table("steady", title).add({ "packets/s": conditions.rate }, side, "ns", ns);
        continue;
      }
      table("cost", "CPU time per packet, from a backlog").add(row(conditions), side, "ns", ns);
      const perSecond = measured.map((each) => 1e9 / each.busiestNsPerPacket);
      table("rate", "Packets per second from a backlog, one core for each worker").add(
        row(conditions),
        side,
        "packets/s",
        perSecond,
      );
    }
    const earshot = bySide.get("Earshot native") ?? [];
    const frames = earshot.flatMap((each) => each.framesPerDatagram ?? []);
    if (frames.length === 0) continue;
    const where = { ...row(conditions), "packets/s": conditions.rate === 0 ? "backlog" : String(conditions.rate) };
    table("frames", "Earshot native: frames in a trunk datagram, uplink").add(where, "frames", "frames", frames);
  }
}

interface Aim {
  readonly what: string;
  /** Undefined where a cell was not measured. */
  readonly of: readonly [SideName, Partial<Conditions>];
  readonly to: readonly [SideName, Partial<Conditions>];
  readonly figure: "nsPerPacket" | "busiestNsPerPacket";
  readonly aim: string;
}

const US: SideName = "Earshot native";
const BOTH = { workers: 2 } as const;
const DOWN = { direction: "down" } as const;
const AIMS: readonly Aim[] = [
  {
    what: "uplink: classical JS / Earshot",
    of: ["classical JS", {}],
    to: [US, {}],
    figure: "nsPerPacket",
    aim: ">= 10",
  },
  {
    what: "uplink: classical native / Earshot",
    of: ["classical native", {}],
    to: [US, {}],
    figure: "nsPerPacket",
    aim: ">= 3",
  },
  {
    what: "steady 200k/s: Earshot / classical native",
    of: [US, { rate: 200_000 }],
    to: ["classical native", { rate: 200_000 }],
    figure: "nsPerPacket",
    aim: "<= 0.5",
  },
  { what: "uplink: Earshot / receive floor", of: [US, {}], to: ["floor", {}], figure: "nsPerPacket", aim: "<= 1.7" },
  {
    what: "downlink: classical JS / Earshot",
    of: ["classical JS", DOWN],
    to: [US, DOWN],
    figure: "nsPerPacket",
    aim: ">= 3.5",
  },
  {
    what: "downlink: classical native / Earshot",
    of: ["classical native", DOWN],
    to: [US, DOWN],
    figure: "nsPerPacket",
    aim: ">= 1",
  },
  {
    what: "uplink: 1M flows / 1k flows",
    of: [US, { flows: 1_000_000 }],
    to: [US, {}],
    figure: "nsPerPacket",
    aim: "<= 1.3",
  },
  { what: "uplink: one worker / two, time", of: [US, {}], to: [US, BOTH], figure: "busiestNsPerPacket", aim: ">= 1.8" },
];

function addAims(samples: Samples, report: Report): void {
  const figures = ([side, change]: Aim["of"], figure: Aim["figure"]): number[] | undefined =>
    samples
      .get(key({ ...USUAL, ...change }))
      ?.bySide.get(side)
      ?.map((each) => each[figure]);
  const rows = AIMS.flatMap(({ what, of, to, figure, aim }) => {
    const [above, below] = [figures(of, figure), figures(to, figure)];
    // Of the same run each, so that what slowed the machine down is in both.
    return above && below ? [{ what, aim, ratios: above.map((value, run) => value / below[run]!) }] : [];
  });
  const bytes = [...samples.values()]
    .filter(({ cell }) => cell.conditions.flows >= 100_000)
    .flatMap(({ bySide }) => (bySide.get(US) ?? []).flatMap((each) => each.bytesPerFlow ?? []));
  if (rows.length === 0 && bytes.length === 0) return;
  const table = report.table("aims", "Against the aims");
  for (const { what, aim, ratios } of rows) table.add({ what, aim }, "measured", "x", ratios);
  if (bytes.length > 0) {
    table.add({ what: "memory per flow, indexes included", aim: "<= 192 B" }, "measured", "B", [summarize(bytes).most]);
  }
}

await runPart(
  {
    name: "pps",
    method:
      "each cell is a process of its own, sides in turns. Backlog: the forwarder is stopped, its socket filled with up to 6,000 datagrams " +
      "of shuffled flows by a raw socket, and let go; the figure is the CPU time of its threads until nothing is left, over the " +
      "packets (a run is the median of its rounds). Steady: datagrams one by one at the rate from another CPU. Behind, and at the " +
      "clients, are sockets that are never read, the same for all. The forwarder runs with realtime priority. Everything that " +
      "was sent must have been forwarded",
    doesNotShow: [
      "a network card, its driver and its interrupts: everything is loopback, where sending includes the receiver's half of the kernel",
      "latency, which is bench:latency's",
      "new flows, which are bench:setup's, and the control plane: every flow is there from the start",
      "forwarders that sleep: a backlog is a forwarder at its limit",
      "that rivals check anything: they trust every datagram, Earshot authenticates its trunk and who may send where",
    ],
    options: { matrix: "usual", only: "", runs: "3", rounds: "6" },
  },
  async (report, { smoke, options }) => {
    buildLoadTools();
    buildPpsTools();
    const words = options.only!.split(/\s+/);
    const cpus = availableParallelism();
    for (const side of SIDES) {
      const missing = missingSide(side);
      if (missing !== undefined) report.missing(missing);
    }
    const wanted = smoke ? smokeCells() : options.matrix === "full" ? allCells() : usualCells();
    const cells = wanted.flatMap(({ conditions, sides }) => {
      // The driver of a steady load takes a CPU of its own.
      if (Math.max(conditions.workers, conditions.rate > 0 ? 2 : 1) > cpus) return [];
      const here = sides.filter(
        (side) => missingSide(side) === undefined && words.every((word) => describe(side, conditions).includes(word)),
      );
      return here.length > 0 ? [{ conditions, sides: here }] : [];
    });
    if (cpus < 2) {
      report.missing({
        what: "two workers, and steady loads",
        why: "there is one CPU",
        remedy: "Take a machine with two",
      });
    }
    const samples = await measureAll(
      cells,
      smoke ? 1 : Number(options.runs),
      smoke ? 1 : Number(options.rounds),
      report,
    );
    addTables(samples, report);
    addAims(samples, report);
  },
);
