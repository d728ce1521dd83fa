/**
 * Everything that can die, dies under load, and this says what it cost. Needs root, redis-server, Chromium, ip and nft;
 * `npm run setup -- --tests` installs them. All of it is on loopback, or between network namespaces that this makes beside
 * its own.
 *
 *   npm run chaos                     every scenario, 2,000 flows of 50 datagrams a second
 *   npm run chaos -- --short          the short form that tests run: fewer flows, and times are reported, not judged
 *   npm run chaos -- --only NAME      scenarios whose name has NAME in it; --flows N and --rate N change the load
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { origin, originText } from "../../bench/report/origin.ts";
import { useOwnNetwork } from "../kit/network.ts";
import { type ChaosOptions, type Report, reportText } from "./scenario.ts";
import { SCENARIOS } from "./scenarios.ts";

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    only: { type: "string" },
    flows: { type: "string" },
    rate: { type: "string", default: "50" },
    inside: { type: "boolean", default: false },
  },
});
const options: ChaosOptions = {
  short: values.short,
  flows: Number(values.flows ?? (values.short ? 200 : 2_000)),
  rate: Number(values.rate),
};

const chosen = SCENARIOS.filter(({ name, short }) =>
  values.only === undefined ? short || !values.short : name.includes(values.only),
);
if (chosen.length === 0) {
  console.error(`no scenario is called ${values.only}; there are: ${SCENARIOS.map(({ name }) => name).join("; ")}`);
  process.exit(2);
}

if (values.inside) {
  await runAll();
} else {
  if (process.getuid?.() !== 0) throw new Error("npm run chaos makes network namespaces: run it as root");
  // Scenarios with several hosts set up routes, which nothing else on this machine may see.
  const command = ["--net", process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2), "--inside"];
  const { error, status } = spawnSync("unshare", command, { stdio: "inherit" });
  if (error !== undefined) throw error;
  process.exitCode = status ?? 1;
}

async function runAll(): Promise<void> {
  const args = process.argv.slice(2).filter((arg) => arg !== "--inside");
  console.log(originText(origin(`npm run chaos -- ${args.join(" ")}`.trim())));
  console.log(`load     ${options.flows} flows x ${options.rate}/s${options.short ? ", short form" : ""}\n`);
  useOwnNetwork();
  const reports: Report[] = [];
  for (const { name, run } of chosen) {
    let report: Report;
    try {
      report = { scenario: name, findings: await run(options) };
    } catch (error) {
      report = { scenario: name, findings: [{ aim: "runs to its end", measured: String(error), ok: false }] };
    }
    reports.push(report);
    console.log(reportText([report]));
  }
  const failed = reports.flatMap(({ findings }) => findings).filter(({ ok }) => !ok).length;
  console.log(`\n${failed === 0 ? "all aims reached" : `${failed} aims missed`}`);
  process.exitCode = failed === 0 ? 0 : 1;
}
