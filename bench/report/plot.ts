/** Draws the results of a whole benchmark as one SVG: a panel for each part that was measured. Every axis begins at zero. */
import vega from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { commitText, machineLine } from "./origin.ts";
import { type Panel, panelsOf } from "./panels.ts";
import type { Result } from "./result.ts";

const FONT = "Helvetica, Arial, sans-serif";
const INK = "#222222";
const FAINT = "#6b6b6b";
const PANEL_WIDTH = 440;
const BAR_STEP = 19;
/** Room for the names of sides, so that all panels begin at the same place. */
const SIDES_WIDTH = 145;
/** Room for the label behind the longest bar. */
const REACH = 1.42;

/** Told apart by eyes of every kind (Okabe and Ito), and the same side has the same colour in every panel. */
const COLOURS: Readonly<Record<string, string>> = {
  "Earshot native": "#0072b2",
  "Earshot JS": "#56b4e9",
  "classical native": "#e69f00",
  "classical JS": "#cc79a7",
  nginx: "#009e73",
  floor: "#999999",
  native: "#0072b2",
  "native, batch": "#004c77",
  JS: "#56b4e9",
  first: "#0072b2",
  again: "#999999",
};
const OTHER_COLOUR = "#7f5539";

export async function plotSvg(results: readonly Result[], command: string): Promise<string> {
  const spec = compile(wholeSpec(results, command)).spec;
  return new vega.View(vega.parse(spec), { renderer: "none" }).toSVG();
}

function wholeSpec(results: readonly Result[], command: string): TopLevelSpec {
  const [first] = results;
  if (first === undefined) throw new RangeError("expected at least one result");
  const { origin } = first;
  const panels = results.flatMap(panelsOf).map(panelSpec);
  const left = panels.filter((_, i) => i % 2 === 0);
  const right = panels.filter((_, i) => i % 2 === 1);
  const smoke = results.some(({ smoke }) => smoke) ? ["A SMOKE RUN: these figures say nothing."] : [];
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v5.json",
    background: "white",
    padding: 24,
    title: {
      text: "Earshot: what a packet costs, and how long it takes",
      subtitle: [
        ...smoke,
        `${machineLine(origin)} · ${origin.kernel} · Node ${origin.node} · commit ${commitText(origin)} · ${origin.date.slice(0, 10)}`,
        `${command} · all on loopback, one thread forwards · medians of several rounds; the thin line goes from the least to the most of them`,
      ],
      anchor: "start",
      fontSize: 20,
      subtitleFontSize: 12,
      subtitleColor: FAINT,
      subtitlePadding: 6,
      offset: 24,
    },
    hconcat: [left, right].filter((column) => column.length > 0).map((column) => ({ vconcat: column, spacing: 34 })),
    // By the plots' own sizes: those of texts are guesses without a browser. A column of panels has none, so it is all spacing.
    bounds: "flush",
    spacing: SIDES_WIDTH + PANEL_WIDTH + 60,
    config: {
      font: FONT,
      view: { stroke: null },
      axis: { labelColor: INK, titleColor: FAINT, gridColor: "#ececec", labelFontSize: 11, titleFontSize: 11 },
      title: { color: INK },
      header: { labelColor: INK },
    },
  } as TopLevelSpec;
}

function panelSpec(panel: Panel): object {
  const groups = [...new Set(panel.bars.map(({ group }) => group))];
  const { title: text, subtitle } = panel;
  return {
    title: {
      ...{ text, subtitle, anchor: "start", fontSize: 15, subtitleFontSize: 11, subtitleColor: FAINT },
      ...{ subtitlePadding: 4, offset: 12 },
    },
    vconcat: groups.map((group, i) => groupSpec(panel, group, i === groups.length - 1)),
    spacing: panel.ownScales ? 14 : 8,
  };
}

/** Bars that stand together, with an axis below them if it is theirs or they are the panel's last. */
function groupSpec({ bars, unit, ownScales }: Panel, group: string, last: boolean): object {
  const own = bars.filter((bar) => bar.group === group);
  const longest = Math.max(1, ...(ownScales ? own : bars).map(({ end }) => end));
  // Where all sides are over their limit there is nothing to measure with it.
  const hasScale = (ownScales || last) && own.some(({ value }) => value !== undefined);
  const axis = { labels: hasScale, grid: hasScale || !ownScales, title: hasScale ? unit : null };
  const y = {
    ...{ field: "side", type: "nominal", sort: own.map(({ side }) => side), title: null },
    axis: {
      ticks: false,
      domain: false,
      labelPadding: 6,
      labelLimit: 0,
      minExtent: SIDES_WIDTH,
      maxExtent: SIDES_WIDTH,
    },
  };
  const x = (field: string) => ({
    ...{ field, type: "quantitative", scale: { domain: [0, REACH * longest], nice: false } },
    axis: { ...axis, tickCount: 5, format: ",~r", domain: false, ticks: false },
  });
  const fill = { field: "colour", type: "nominal", scale: null };
  const bar = { type: "bar", height: { band: 0.74 } };
  return {
    title: {
      text: group,
      anchor: "start",
      fontSize: 12,
      fontWeight: "bold",
      offset: 4,
      dx: -SIDES_WIDTH,
      frame: "group",
    },
    data: { values: own.map((bar) => ({ ...bar, colour: COLOURS[bar.paint ?? bar.side] ?? OTHER_COLOUR })) },
    width: PANEL_WIDTH,
    height: { step: BAR_STEP },
    encoding: { y },
    layer: [
      { mark: { ...bar, opacity: 0.35 }, encoding: { x: x("far"), fill } },
      { mark: bar, encoding: { x: x("value"), fill } },
      { mark: { type: "rule", color: INK, strokeWidth: 1 }, encoding: { x: x("least"), x2: { field: "most" } } },
      {
        mark: { type: "text", align: "left", dx: 6, fontSize: 11, color: INK },
        encoding: { x: x("end"), text: { field: "label" } },
      },
    ],
  };
}
