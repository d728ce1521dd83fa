import assert from "node:assert/strict";
import { test } from "node:test";
import { origin } from "../../bench/report/origin.ts";
import { Report } from "../../bench/report/part.ts";
import { plotSvg } from "../../bench/report/plot.ts";
import type { Result } from "../../bench/report/result.ts";

function latency(): Result {
  const report = new Report();
  const table = report.table("added", "Added round trip");
  const add = (side: string, p50: number, p99: number, lost: number) => {
    const row = { "packets/s": 20_000, through: side };
    table.add(row, "p50", "us", [p50, p50 + 1, p50 + 2]);
    table.add(row, "p99", "us", [p99]);
    table.add(row, "lost", "%", [lost]);
  };
  add("classical JS", 90_000, 400_000, 48);
  add("Earshot native", 20, 100, 0);
  return {
    part: "latency",
    smoke: false,
    origin: origin("npm run bench:latency"),
    seconds: 1,
    method: "by looking",
    doesNotShow: ["a network card"],
    tables: report.tables,
    missing: [],
  };
}

test("the picture names machine and command, labels its bars, and draws none for a side that is over its limit", async () => {
  const result = latency();
  const svg = await plotSvg([result], "npm run bench");
  assert.match(svg, /^<svg /);
  assert.ok(svg.includes(result.origin.kernel));
  assert.ok(svg.includes("npm run bench · "));
  assert.ok(svg.includes(">21.0  ·  100<") || svg.includes(">21.0 · 100<"), "medians of p50 and p99");
  assert.ok(svg.includes("over its limit: 48.0 % lost"));
  assert.ok(!/>400,000</.test(svg), "no axis reaches as far as what was left of the side that lost");
  assert.ok(!svg.includes("SMOKE"));
});

test("a picture of smoke runs says so", async () => {
  const svg = await plotSvg([{ ...latency(), smoke: true }], "npm run bench -- --smoke");
  assert.ok(svg.includes("A SMOKE RUN: these figures say nothing."));
});

test("a result without the table that is drawn is refused", async () => {
  const result = latency();
  await assert.rejects(plotSvg([{ ...result, part: "setup" }], "npm run bench"), /expected a table "first-packet"/);
});
