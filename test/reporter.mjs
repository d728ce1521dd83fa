/**
 * What `node --test` prints under test/run.mjs: one line for each file, everything about a failure, nothing about what
 * passed but its lines that start with `shown: `. Writes its totals as JSON to the file named by EARSHOT_TEST_TOTALS.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { inspect } from "node:util";

/** Node 20 reports a file as a test of its own when it fails as a whole, or when nothing in it was a test. */
const isFile = (data) => path.resolve(data.name) === data.file;

/** A parent fails with its children, which are reported by themselves. */
const isOnlyParent = (data) => data.details.type === "suite" || data.details.error?.failureType === "subtestsFailed";

function isFailure(data) {
  return (
    data.details.error !== undefined && data.details.error.failureType !== "subtestsFailed" && data.todo === undefined
  );
}

function describe(data, parents) {
  const title = [...parents, data.name].join(" > ");
  const error = data.details.error;
  if (error === undefined) return `  FAIL ${title}\n    a test file without a test\n`;
  const text = typeof error.cause === "object" ? inspect(error.cause) : String(error.cause ?? error.message);
  return `  FAIL ${title}\n${text.replace(/^/gm, "    ")}\n`;
}

function describeFile(file) {
  const { name, first, passed, failed, ms } = file;
  const relative = path.relative(process.cwd(), name).replace(/^dist\/(.*)\.js$/, "$1.ts");
  // Tests that several files share belong to none of them; their first title tells the runs apart.
  const title = isTestFile(relative) ? relative : `${relative}, ${first}`;
  const line = `  ${failed > 0 ? "FAIL" : "ok  "} ${title} (${passed} passed, ${(ms / 1000).toFixed(1)} s)\n`;
  const output = file.output === "" ? "" : `${file.output.trimEnd().replace(/^(?=.)/gm, "    | ")}\n`;
  if (failed > 0) return line + file.skips + file.failures + output;
  return line + file.skips + file.output.replace(/^(?!shown: ).*\n?/gm, "").replace(/^shown: /gm, "    ");
}

const isTestFile = (name) => name.includes(".test.");

/** Nested tests stay with the one above them, wherever they are written; a test of a shared file starts a run of its own. */
function isOtherFile(type, data, file) {
  if (data.nesting > 0) return false;
  return data.file !== file.name || (type === "test:start" && !isTestFile(data.file));
}

const newFile = ({ file, name }) => ({
  ...{ name: file, first: name, passed: 0, failed: 0, ms: 0 },
  ...{ parents: [], skips: "", failures: "", output: "" },
});

/** Events of these types come file by file, however many files run at once. */
const ORDERED = new Set(["test:start", "test:pass", "test:fail", "test:stdout", "test:stderr"]);

export default async function* report(source) {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  let file;
  for await (const { type, data: given } of source) {
    if (given.file === undefined || !ORDERED.has(type)) continue;
    // Node 22 gives some of them relative.
    const data = { ...given, file: path.resolve(given.file) };
    if (file === undefined || isOtherFile(type, data, file)) {
      if (file !== undefined) yield describeFile(file);
      file = newFile(data);
    }
    if (type === "test:start") {
      file.parents[data.nesting] = data.name;
    } else if (type === "test:stdout" || type === "test:stderr") {
      file.output += data.message;
    } else {
      count(type, data, file, totals);
    }
  }
  if (file !== undefined) yield describeFile(file);
  writeFileSync(process.env.EARSHOT_TEST_TOTALS, JSON.stringify(totals));
}

function count(type, data, file, totals) {
  if (data.nesting === 0) file.ms += data.details.duration_ms;
  const isEmptyFile = type === "test:pass" && isFile(data);
  if (isEmptyFile || isFailure(data)) {
    totals.failed += 1;
    file.failed += 1;
    file.failures += describe(data, file.parents.slice(0, data.nesting));
  } else if (data.skip !== undefined || data.todo !== undefined) {
    totals.skipped += 1;
    file.skips += `    skipped: ${data.name}\n`;
  } else if (type === "test:pass" && !isOnlyParent(data)) {
    totals.passed += 1;
    file.passed += 1;
  }
}
