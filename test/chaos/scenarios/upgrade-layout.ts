/**
 * The relay is upgraded to a version that lays its flow table out differently, and back again, while calls are on: nobody may
 * notice. Nobody else could help: the owners are forgetful, there is no Redis, and clients send no checks.
 */
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../../kit/eventually.ts";
import { buildOtherAddon, InstalledPackage, ownAddon } from "../other-version.ts";
import { type ChaosRelay, ChaosRig } from "../rig.ts";
import { type ChaosOptions, type Finding, finding, type Scenario } from "../scenario.ts";
import { nextWorkingProcess, UPGRADE_WITHIN_MS, upgradeRelay, workingProcess } from "../working-process.ts";
import { MISSING_MS } from "./upgrade.ts";
import { RECEIVE_BUFFER } from "./worker-killed.ts";

const KILLS = 16;
/** How much later than the one before each is killed: a new process is loaded after some 200 ms, and serves soon after that. */
const KILL_STEP_MS = 40;
/** As JavaScript has it once it is compiled. */
const HEALTHY = "return this.#running && this.#directory.counts().live > 0;";

interface Stage {
  readonly rig: ChaosRig;
  readonly relay: ChaosRelay;
  readonly installed: InstalledPackage;
  readonly other: string;
}

/** A relay of an installed package with calls on it, and an addon of another layout for that package. */
const withRelay = (options: ChaosOptions, body: (stage: Stage) => Promise<readonly Finding[]>) =>
  ChaosRig.with(options, { forgetful: true }, async (rig) => {
    const other = await buildOtherAddon(path.join(rig.folder, "other"), options);
    const installed = new InstalledPackage(path.join(rig.folder, "package"));
    const relay = await rig.startRelay({ receiveBuffer: RECEIVE_BUFFER }, undefined, installed.program);
    await rig.load(relay, { seconds: 0, setUp: true });
    return body({ rig, relay, installed, other });
  });

async function upgradeTo(addon: string, { relay, installed }: Stage): Promise<void> {
  installed.install(addon);
  await upgradeRelay(relay.process);
}

async function upgraded(options: ChaosOptions, stage: Stage): Promise<readonly Finding[]> {
  const { rig, relay } = stage;
  const turns = options.short ? 1 : 10;
  let over = false;
  const results: Awaited<ReturnType<typeof rig.load>>[] = [];
  const loading = (async () => {
    while (!over) results.push(await rig.load(relay, { seconds: 2, missingMs: MISSING_MS }));
  })();
  try {
    for (let turn = 0; turn < turns; turn++) for (const addon of [stage.other, ownAddon]) await upgradeTo(addon, stage);
  } finally {
    over = true;
    await loading;
  }
  const sum = (of: (result: (typeof results)[number]) => number) => results.reduce((all, each) => all + of(each), 0);
  const [sent, lost, strange] = [sum((each) => each.sent), sum((each) => each.lost), sum((each) => each.strange)];
  const drops = sum((each) => each.ownKernelDrops);
  const duplicates = sum((each) => each.duplicates);
  return [
    finding(
      `datagrams lost in ${2 * turns} upgrades to another layout: none`,
      `${lost} of ${sent}, ${drops} of them at the generator`,
      lost === drops,
    ),
    finding("misrouted: none", `${strange}`, strange === 0),
    finding("duplicates: none", `${duplicates}`, duplicates === 0),
  ];
}

/** The new process dies at any moment of its upgrade, before its time, in the midst of it, or after it. */
async function killedMeanwhile({ rig, relay, installed, other }: Stage, flows: number): Promise<readonly Finding[]> {
  for (let kill = 0; kill < KILLS; kill++) {
    const before = new Set(relay.process.children());
    installed.install(kill % 2 === 0 ? other : ownAddon);
    relay.process.signal("SIGUSR2");
    const candidate = await eventually(
      "a process of the new version",
      async () => relay.process.children().find((pid) => !before.has(pid)),
      (pid) => pid !== undefined,
      UPGRADE_WITHIN_MS,
    );
    await sleep(kill * KILL_STEP_MS);
    process.kill(candidate!, "SIGKILL");
    // Nobody stands by before the upgrade has come to its end.
    await eventually(
      "a process that works and one that stands by",
      async () => relay.process.children(),
      (pids) => pids.length === 2 && !pids.includes(candidate!),
      UPGRADE_WITHIN_MS,
    );
    await workingProcess(relay.process, "native");
  }
  const { silentFlows } = await rig.load(relay, { seconds: 2 });
  return [
    finding(
      `the new process killed in the midst of ${KILLS} upgrades: no flow is lost`,
      `${silentFlows} of ${flows} flows silent`,
      silentFlows === 0,
    ),
  ];
}

/** The new version takes the flows over, and does not become healthy. */
async function givenUp({ rig, relay, installed, other }: Stage, flows: number): Promise<readonly Finding[]> {
  const before = await workingProcess(relay.process, "native");
  installed.change("relay/relay.js", HEALTHY, "return false;");
  installed.install(other);
  relay.process.signal("SIGUSR2");
  const candidate = await nextWorkingProcess(relay.process, before);
  const after = await nextWorkingProcess(relay.process, candidate);
  const { silentFlows } = await rig.load(relay, { seconds: 2 });
  return [
    finding(
      "a new version that is not healthy: the old process goes on, with every flow",
      `${after === before ? "the same" : "another"} process, ${silentFlows} of ${flows} flows silent`,
      after === before && silentFlows === 0,
    ),
  ];
}

/** The new version is on disk, and comes to serve without an upgrade: nobody has handed anything over. */
async function control({ rig, relay, installed, other }: Stage, flows: number): Promise<readonly Finding[]> {
  const before = await workingProcess(relay.process, "native");
  installed.install(other);
  for (const pid of relay.process.children()) process.kill(pid, "SIGKILL");
  await nextWorkingProcess(relay.process, before);
  const { silentFlows } = await rig.load(relay, { seconds: 2 });
  return [
    finding(
      "control: killed instead, so that nothing is handed over: flows are lost",
      `${silentFlows} of ${flows}`,
      silentFlows === flows,
    ),
  ];
}

export const upgradeLayout: Scenario = {
  name: "upgrade to another table layout",
  short: true,
  run(options) {
    return withRelay(options, async (stage) => {
      const findings = [...(await upgraded(options, stage))];
      if (!options.short) {
        findings.push(...(await killedMeanwhile(stage, options.flows)));
        await upgradeTo(ownAddon, stage);
        findings.push(...(await givenUp(stage, options.flows)));
      }
      return [...findings, ...(await control(stage, options.flows))];
    });
  },
};
