/** Which conditions bench:pps measures, for which sides: a subset that takes two minutes, or the whole matrix. */
import type { Conditions } from "./measure.ts";
import { SIDES, type SideName } from "./sides.ts";

export interface Cell {
  readonly conditions: Conditions;
  readonly sides: readonly SideName[];
}

/** The conditions of the aims in docs/performance.md. */
export const USUAL: Conditions = { direction: "up", bytes: 120, flows: 1_000, transceivers: 1, workers: 1, rate: 0 };

const NATIVE: readonly SideName[] = ["floor", "classical native", "Earshot native"];
const FORWARDERS = SIDES.filter((side) => side !== "floor");
/** nginx and node:dgram open files or strings for each client: they are compared where that is not what is measured. */
const FEW_FLOWS = 1_000;
const RATES = [20_000, 100_000, 200_000];
/** Slower ones cannot keep up above this. */
const RATE_OF_ALL = 20_000;

const cell = (sides: readonly SideName[], change: Partial<Conditions> = {}): Cell => ({
  conditions: { ...USUAL, ...change },
  sides,
});

const steady = (): Cell[] =>
  RATES.map((rate) => cell(rate <= RATE_OF_ALL ? FORWARDERS : ["classical native", "Earshot native"], { rate }));

export function usualCells(): Cell[] {
  return [
    cell(SIDES),
    cell(FORWARDERS, { direction: "down" }),
    cell(FORWARDERS, { direction: "mixed" }),
    ...[16, 256].map((transceivers) => cell(["classical native", "Earshot native"], { transceivers })),
    ...[60, 400, 1_200].map((bytes) => cell(NATIVE, { bytes })),
    ...[100_000, 1_000_000].map((flows) => cell(["Earshot native"], { flows })),
    cell(["classical native", "Earshot native"], { workers: 2 }),
    ...steady(),
  ];
}

export function allCells(): Cell[] {
  const cells: Cell[] = [];
  for (const direction of ["up", "down", "mixed"] as const) {
    for (const transceivers of [1, 16, 256]) {
      for (const bytes of [60, 120, 400, 1_200]) {
        for (const flows of [1_000, 100_000, 1_000_000]) {
          for (const workers of [1, 2]) {
            const sides = SIDES.filter(
              (side) =>
                (side !== "floor" || (direction === "up" && transceivers === 1 && workers === 1)) &&
                (workers === 1 || side === "classical native" || side === "Earshot native") &&
                (flows === FEW_FLOWS || NATIVE.includes(side)),
            );
            cells.push(cell(sides, { direction, transceivers, bytes, flows, workers }));
          }
        }
      }
    }
  }
  return [...cells, ...steady()];
}

/** Enough to see that every side forwards both ways. */
export function smokeCells(): Cell[] {
  const flows = 50;
  return [
    cell(SIDES, { flows }),
    cell(FORWARDERS, { flows, direction: "mixed", transceivers: 2 }),
    cell(["classical native", "Earshot native"], { flows, workers: 2 }),
    cell(["Earshot native"], { flows, rate: 1_000 }),
  ];
}
