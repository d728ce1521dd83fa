/**
 * The relay's working process dies at any moment, many times. Its successor has the same sockets and the same flows. Nobody else
 * helps: the owners are forgetful, there is no Redis, and clients send no checks.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { EstablishedResult } from "../../../bench/load/load-tools.ts";
import { ChaosRig } from "../rig.ts";
import { type ChaosOptions, finding, type Scenario, timed } from "../scenario.ts";
import { workingProcess } from "../working-process.ts";

/** Between two kills: a process that lived for a second is followed by the next one at once. */
const BETWEEN_MS = 1_500;
/** What a worker may have read and not sent. */
const BATCH = 256;
const WORKERS = 1;
/** 100,000 datagrams a second for 0.3 s, 832 bytes each (docs/deployment.md). */
export const RECEIVE_BUFFER = "32MiB";

async function killed(options: ChaosOptions, kills: number, engine: "native" | "js"): Promise<EstablishedResult> {
  return ChaosRig.with(options, { forgetful: true }, async (rig) => {
    const relay = await rig.startRelay({ engine, workers: WORKERS, receiveBuffer: RECEIVE_BUFFER });
    await rig.load(relay, { seconds: 0, setUp: true });
    const loading = rig.load(relay, { seconds: Math.ceil((kills * BETWEEN_MS) / 1_000) + 2 });
    for (let kill = 0; kill < kills; kill++) {
      await sleep(BETWEEN_MS);
      process.kill(await workingProcess(relay.process, engine), "SIGKILL");
    }
    return loading;
  });
}

export const workerKilled: Scenario = {
  name: "working process killed",
  short: true,
  async run(options) {
    const kills = options.short ? 3 : 20;
    const result = await killed(options, kills, "native");
    const most = kills * WORKERS * BATCH;
    const lost = `${result.lost} of ${result.sent} datagrams, ${result.ownKernelDrops} of them at the generator`;
    const control = await killed(options, 1, "js");
    return [
      finding(
        `flows lost in ${kills} kills: none`,
        `${result.silentFlows} of ${options.flows}`,
        result.silentFlows === 0,
      ),
      finding(
        `lost: a batch per kill and worker at most, so ${most}`,
        lost,
        result.lost - result.ownKernelDrops <= most,
      ),
      finding("misrouted: none", `${result.strange}`, result.strange === 0),
      timed(options, "longest gap of a flow, at most 300 ms", result.gapMs.max, 300),
      finding(
        "control: sockets and table of the process's own: flows are lost",
        `${control.silentFlows} of ${options.flows}`,
        control.silentFlows === options.flows,
      ),
    ];
  },
};
