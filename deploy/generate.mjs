// Owns what is derived from one declaration: src/engine/counters.ts and docs/metrics.md from native/core/counters.def,
// src/transceiver/trunk-counters.ts from native/core/trunk_end_counters.def, docs/config.md from the schema of settings.
// The same input always gives the same bytes.
//
//   node deploy/generate.mjs           writes the files that differ
//   node deploy/generate.mjs --check   writes nothing; exits 1 and names the files that differ

import { existsSync, readFileSync, writeFileSync } from "node:fs";

const ROOT = new URL("../", import.meta.url);
const DEFINITION = "native/core/counters.def";
const TRUNK_DEFINITION = "native/core/trunk_end_counters.def";
const LINE_WIDTH = 120;

/** Reads the definition: its equations, and its counters under the stage comment that they follow. */
function readDefinition(text) {
  const stages = [];
  const equations = [];
  let inEquations = false;
  for (const [index, line] of text.split("\n").entries()) {
    const counter = /^(WORKER|CONTROL)\(([a-z_]+), "([^"\\]+)"\)$/.exec(line);
    const stage = /^\/\/ ([a-z][a-z ]*[a-z])(?:: (.+))?$/.exec(line);
    const equation = /^\/\/ {3,}\S/.test(line);
    if (counter) {
      const current = stages.at(-1);
      if (!current) throw new Error(`${DEFINITION}:${index + 1}: a counter before the first stage comment`);
      current.counters.push({ by: counter[1], name: counter[2], help: counter[3] });
    } else if (inEquations && equation) {
      equations.push(line.slice(5));
    } else if (line.includes("At quiescence:")) {
      inEquations = true;
    } else if (line === "") {
      inEquations = false;
    } else if (equations.length > 0 && stage) {
      stages.push({ name: stage[1], help: stage[2] ?? "", counters: [] });
    } else if (!line.startsWith("//")) {
      throw new Error(`${DEFINITION}:${index + 1}: expected WORKER(name, "help"), CONTROL(name, "help") or a comment`);
    }
  }
  if (equations.length === 0) throw new Error(`${DEFINITION}: no equations after "At quiescence:"`);
  const names = stages.flatMap((stage) => stage.counters.map((counter) => counter.name));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice) throw new Error(`${DEFINITION}: ${twice} is declared twice`);
  return { stages, equations };
}

/** Reads the definition of the trunk's counters: a list of names with their help. */
function readTrunkDefinition(text) {
  return text.split("\n").flatMap((line, index) => {
    if (line === "" || line.startsWith("//")) return [];
    const counter = /^COUNT\(([a-z_]+), "([^"\\]+)"\)$/.exec(line);
    if (!counter) throw new Error(`${TRUNK_DEFINITION}:${index + 1}: expected COUNT(name, "help") or a comment`);
    return [{ name: counter[1], help: counter[2] }];
  });
}

function trunkTypescript(counters) {
  const help = counters.map(({ name, help }) => {
    const row = `  ${name}: ${JSON.stringify(help)},`;
    return row.length <= LINE_WIDTH ? row : `  ${name}:\n    ${JSON.stringify(help)},`;
  });
  const names = counters.map(({ name }) => `  ${JSON.stringify(name)},`);
  return `// Generated from ${TRUNK_DEFINITION} by deploy/generate.mjs; edit that, then run it.

export const TRUNK_COUNTER_HELP = {\n${help.join("\n")}\n} as const;

/** In the order in which the native end counts. */
export const TRUNK_COUNTERS = [\n${names.join("\n")}\n] as const satisfies readonly (keyof typeof TRUNK_COUNTER_HELP)[];
`;
}

function typescriptList(name, counters) {
  const rows = counters.map((counter) => {
    const fields = [`name: ${JSON.stringify(counter.name)}`, `help: ${JSON.stringify(counter.help)}`];
    const row = `  { ${fields.join(", ")} },`;
    return row.length <= LINE_WIDTH ? row : `  {\n    ${fields.join(",\n    ")},\n  },`;
  });
  return `export const ${name} = [\n${rows.join("\n")}\n] as const satisfies readonly Counter[];\n`;
}

function typescriptIndex(name, type, counters) {
  const rows = counters.map((counter, index) => `  ${counter.name}: ${index},`);
  return `export const ${name} = {\n${rows.join("\n")}\n} as const satisfies Record<${type}, number>;\n`;
}

function typescript({ stages }) {
  const all = stages.flatMap((stage) => stage.counters);
  const worker = all.filter((counter) => counter.by === "WORKER");
  const control = all.filter((counter) => counter.by === "CONTROL");
  return [
    `// Generated from ${DEFINITION} by deploy/generate.mjs; edit that, then run it.\n`,
    `export interface Counter {
  readonly name: string;
  readonly help: string;
}\n`,
    "/** Counted by a worker, one value per worker, in the order of an engine's `counters()`. */",
    typescriptList("WORKER_COUNTERS", worker),
    "/** Counted by the control plane. */",
    typescriptList("CONTROL_COUNTERS", control),
    `export type WorkerCounterName = (typeof WORKER_COUNTERS)[number]["name"];`,
    `export type ControlCounterName = (typeof CONTROL_COUNTERS)[number]["name"];\n`,
    "/** Where each counter stands in WORKER_COUNTERS. */",
    typescriptIndex("WORKER_COUNTER", "WorkerCounterName", worker),
    "/** Where each counter stands in CONTROL_COUNTERS. */",
    typescriptIndex("CONTROL_COUNTER", "ControlCounterName", control),
  ].join("\n");
}

function markdown({ stages, equations }) {
  const sections = stages.map((stage) => {
    const title = stage.name[0].toUpperCase() + stage.name.slice(1);
    const rows = stage.counters.map(
      ({ by, name, help }) =>
        `| \`earshot_relay_${name}_total\` | ${by === "WORKER" ? "`worker`" : ""} | ${help.replaceAll("|", "\\|")} |`,
    );
    const intro = stage.help ? `${stage.help[0].toUpperCase()}${stage.help.slice(1)}.\n\n` : "";
    return `## ${title}\n\n${intro}| metric | labels | counts |\n| --- | --- | --- |\n${rows.join("\n")}\n`;
  });
  return `<!-- Generated from ${DEFINITION} by deploy/generate.mjs; edit that, then run it. -->

# Metrics

\`/metrics\` gives these and a few gauges beside them, each with its help. The metrics of the front process begin with
\`earshot_front_\`.

# The relay's packet counters

Counters in the order of a packet's way. The prefix of a name is its stage, and at each stage every packet ends in exactly
one counter. Those with the label \`worker\` are counted by the data plane, one value per worker (from 1); the others by the
control plane.

When nothing is under way, these hold for the sum over all workers, so what is missing is what to look for. In them a
counter is called by its short name: \`up_received\` is \`earshot_relay_up_received_total\`.

\`\`\`
${equations.join("\n")}
\`\`\`

\`held\` are the binding requests that wait for the control plane's decision, and what is held soon after a start while Redis is asked for its path.

${sections.join("\n")}`;
}

function transceiverMarkdown(help) {
  const rows = Object.entries(help).map(
    ([name, text]) => `| \`earshot_transceiver_${name}_total\` | ${text.replaceAll("|", "\\|")} |`,
  );
  return `# The transceiver's counters

The prefix is the stage. When nothing is under way:

\`\`\`
trunk_received = trunk_accepted + every trunk_drop_*
frame_received = frame_data + frame_unknown_path + frame_ping
frame_data     = client_request_answered + client_request_refused + client_response_accepted + client_delivered
                 + every client_drop_*
\`\`\`

| metric | counts |
| --- | --- |
${rows.join("\n")}
| \`earshot_transceiver_trunk_kernel_drops_total\` | datagrams that the kernel dropped because the trunk's receive buffer was full; not among the received |
| \`earshot_transceiver_calls_ended_total\` | calls that have ended, by \`reason\` |
`;
}

function redisMarkdown({ REDIS_GAUGES, REDIS_COUNTERS, REDIS_REJECTED_HELP }) {
  const row = (name, help) => `| \`earshot_relay_redis_${name}\` | ${help.replaceAll("|", "\\|")} |`;
  const rows = [
    ...Object.entries(REDIS_GAUGES).map(([name, { help }]) => row(name, help)),
    ...Object.entries(REDIS_COUNTERS).map(([name, { help }]) => row(`${name}_total`, help)),
    row("rejected_total", REDIS_REJECTED_HELP),
  ];
  return `# The relay and Redis

Only where \`redis\` is set ([recovery.md](recovery.md)).

| metric | what |
| --- | --- |
${rows.join("\n")}
`;
}

const definition = readDefinition(readFileSync(new URL(DEFINITION, ROOT), "utf8"));

/** What is made of compiled code, once there is some: `npm run build:ts` first. */
async function compiled() {
  const load = (file) => import(new URL(`dist/src/${file}`, ROOT));
  const [{ renderConfigDocs }, { COUNTER_HELP }, redis] = await Promise.all([
    load("config/docs.js"),
    load("transceiver/counters.js"),
    load("redis/redis-metrics.js"),
  ]);
  const metrics = [markdown(definition), redisMarkdown(redis), transceiverMarkdown(COUNTER_HELP)].join("\n");
  return { "docs/config.md": renderConfigDocs(), "docs/metrics.md": metrics };
}

const COUNTERS_FILE = "src/engine/counters.ts";
const outputs = {
  [COUNTERS_FILE]: typescript(definition),
  "src/transceiver/trunk-counters.ts": trunkTypescript(
    readTrunkDefinition(readFileSync(new URL(TRUNK_DEFINITION, ROOT), "utf8")),
  ),
  ...(existsSync(new URL("dist/src", ROOT)) && (await compiled())),
};
if (!("docs/metrics.md" in outputs)) console.error('docs need compiled code: run "npm run build:ts", then this again');

function current(file) {
  try {
    return readFileSync(new URL(file, ROOT), "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

const stale = Object.entries(outputs).filter(([file, text]) => current(file) !== text);
if (process.argv.includes("--check")) {
  for (const [file] of stale) console.error(`${file} is out of date: run "node deploy/generate.mjs"`);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  for (const [file, text] of stale) writeFileSync(new URL(file, ROOT), text);
}
