import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { origin } from "../../bench/report/origin.ts";
import { Report } from "../../bench/report/part.ts";
import { type Result, readResult, writeResult } from "../../bench/report/result.ts";
import { median, spread, summarize } from "../../bench/report/summary.ts";
import { resultText, tableText } from "../../bench/report/text.ts";

function someResult(): Result {
  const report = new Report();
  const table = report.table("cost", "Cost per packet");
  table.add({ direction: "uplink", bytes: 1200 }, "Earshot native", "ns", [900, 1000, 1210]);
  table.add({ direction: "uplink", bytes: 1200 }, "nginx", "ns", [4000]);
  table.add({ direction: "downlink", bytes: 60 }, "Earshot native", "ns", [12.34]);
  report.missing({ what: "another side", why: "it is not installed", remedy: "Install it." });
  return {
    part: "pps",
    smoke: true,
    origin: origin("npm run bench:pps"),
    seconds: 1,
    method: "by looking",
    doesNotShow: ["a network card"],
    tables: report.tables,
    missing: report.allMissing,
  };
}

describe("summary", () => {
  test("takes the one in the middle, or the mean of two", () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1, 3, 2]), 2.5);
    assert.deepEqual(summarize([5, 1, 3]), { samples: [5, 1, 3], median: 3, least: 1, most: 5 });
  });

  test("gives the spread as the furthest sample's distance", () => {
    assert.equal(spread(summarize([90, 100, 130])), 0.3);
    assert.equal(spread(summarize([60, 100, 130])), 0.4);
    assert.equal(spread(summarize([0])), 0);
  });

  test("refuses to summarize nothing, and what is no number", () => {
    assert.throws(() => median([]), RangeError);
    assert.throws(() => median([1, Number.NaN]), RangeError);
    assert.throws(() => summarize([1, Number.POSITIVE_INFINITY]), RangeError);
  });
});

describe("a result", () => {
  test("is read back from its file as it was written", (t) => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-bench-report-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const result = someResult();
    const file = writeResult(path.join(folder, "new"), result);
    assert.deepEqual(readResult(path.join(folder, "new"), "pps"), result);
    assert.equal(JSON.parse(readFileSync(file, "utf8")).origin.node, process.version);
  });

  test("is not written without saying what it does not show, nor without figures", () => {
    const result = someResult();
    const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-bench-report-"));
    try {
      assert.throws(() => writeResult(folder, { ...result, doesNotShow: [] }), /doesNotShow/);
      assert.throws(() => writeResult(folder, { ...result, tables: [] }), /tables/);
      const [table] = result.tables;
      assert.throws(() => writeResult(folder, { ...result, tables: [{ ...table!, cells: [] }] }), /cells/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("is a table with conditions, sides, units and spreads", () => {
    assert.equal(
      tableText(someResult().tables[0]!),
      [
        "Cost per packet",
        "direction   bytes   Earshot native   nginx",
        "                                ns      ns",
        "uplink      1,200      1,000 ± 21%   4,000",
        "downlink    60                12.3       -",
      ].join("\n"),
    );
  });

  test("says what is missing, what it does not show, and that a smoke run says nothing", () => {
    const text = resultText(someResult());
    for (const line of [
      "NOT MEASURED: another side, because it is not installed. Install it.",
      "- a network card",
      "A SMOKE RUN: it shows that everything still works. Its figures say nothing.",
      "command  npm run bench:pps",
    ]) {
      assert.ok(text.split("\n").includes(line), line);
    }
  });
});
