/**
 * The benchmark's parts still work: each runs in its shortest form, and its result has the figures that it is run for. What the
 * figures are is not looked at: nothing here knows how busy the machine is.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { missingRival, RIVALS } from "../../bench/forwarders/rivals.ts";
import { missingSide, SIDES } from "../../bench/pps/sides.ts";
import { type PartName, type Result, readResult } from "../../bench/report/result.ts";

interface Expected {
  /** Columns of each table, by the table's name. */
  readonly tables: Readonly<Record<string, readonly string[]>>;
  /** Columns whose figures may be zero or less. */
  readonly mayBeNothing?: readonly string[];
  readonly missing?: readonly string[];
}

/** Those that this machine has. */
const rivals = RIVALS.filter((kind) => missingRival(kind) === undefined);
const missingRivals = RIVALS.flatMap((kind) => missingRival(kind)?.what ?? []);

const PARTS: Readonly<Partial<Record<PartName, Expected>>> = {
  micro: { tables: { micro: ["JS", "native", "native, 256 prefetched"] } },
  dtls: { tables: { srtp: ["werift", "addon"], handshake: ["client and server"] } },
  preload: { tables: { preload: ["took", "CPU", "longest hold"] } },
  admission: { tables: { admission: ["median", "p99", "rate"] } },
  setup: {
    tables: {
      "first-packet": ["p50", "p99", "not answered"],
      "new-flows": ["new flows", "p50", "p99", "the same again"],
    },
    mayBeNothing: ["not answered"],
  },
  pps: {
    tables: {
      cost: SIDES.filter((side) => missingSide(side) === undefined),
      rate: SIDES.filter((side) => missingSide(side) === undefined),
      frames: ["frames"],
      steady: ["Earshot native"],
    },
    missing: SIDES.flatMap((side) => missingSide(side)?.what ?? []),
  },
  transceiver: {
    tables: {
      cost: [
        "CPU",
        "CPU per echo",
        "echo p50",
        "echo p99",
        "echo p99.9",
        "loop delay p50",
        "loop delay p99",
        "echoed",
        "stale",
        "kernel drops",
        "frames per datagram down",
      ],
      "set-up": ["offer to DTLS p50", "offer to DTLS p99", "offer to echo p50", "offer to echo p99"],
      memory: ["RSS", "heap and buffers", "RSS per call", "heap and buffers per call"],
    },
    // With so few calls a collection in between may outweigh what they hold.
    mayBeNothing: ["stale", "kernel drops", "RSS per call", "heap and buffers per call"],
  },
  latency: {
    tables: {
      added: ["p50", "p99", "lost"],
      "round-trip": ["p50", "p99", "lost", "sent", "latest sending"],
    },
    mayBeNothing: ["lost", "added"],
    missing: missingRivals,
  },
};

async function run(part: PartName, folder: string): Promise<Result> {
  const program = fileURLToPath(new URL(`../../bench/${part}.bench.js`, import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [program, "--smoke", "--out", folder]);
  assert.match(stdout, /A SMOKE RUN/);
  return readResult(folder, part);
}

for (const [name, expected] of Object.entries(PARTS)) {
  const part = name as PartName;
  test(`bench:${part} measures what it says`, async (t) => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-bench-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const result = await run(part, folder);
    assert.equal(result.part, part);
    assert.equal(result.smoke, true);
    assert.equal(result.origin.command, `npm run bench:${part} -- --smoke`);
    assert.deepEqual(
      result.missing.map(({ what }) => what),
      expected.missing ?? [],
    );
    const tables = result.tables.map(({ name, cells }) => [name, [...new Set(cells.map(({ column }) => column))]]);
    assert.deepEqual(Object.fromEntries(tables), expected.tables);
    for (const { name, cells } of result.tables) {
      for (const { row, column, median } of cells) {
        const mayBeNothing = [name, column].some((each) => expected.mayBeNothing?.includes(each));
        assert.ok(mayBeNothing || median > 0, `${name} ${JSON.stringify(row)} ${column}: ${median}`);
      }
    }
    if (part === "latency") assert.deepEqual(through(result, "round-trip"), ["direct", ...rivals, "Earshot native"]);
  });
}

function through(result: Result, table: string): unknown[] {
  const cells = result.tables.find(({ name }) => name === table)!.cells;
  return [...new Set(cells.map(({ row }) => row.through))];
}
