/** A relay's host is gone, and another relay gets its traffic, with nothing to know the flows from but their owners. */
import { setTimeout as sleep } from "node:timers/promises";
import type { EstablishedResult } from "../../../bench/load/load-tools.ts";
import { ChaosRig } from "../rig.ts";
import { type ChaosOptions, finding, type Scenario, timed } from "../scenario.ts";

/** As browsers check (libwebrtc). */
const CHECK_MS = 2_500;
const KILL_MS = 500;
/** A router or load balancer takes that long to notice; owners need half of it (docs/recovery.md). */
const MOVE_MS = 3_500;
const SECONDS = 5;
/** Long enough for the last flow to have sent its check. */
const CHECKED_SECONDS = 7;

async function moved(
  options: ChaosOptions,
  { forgetful, checkMs }: { forgetful: boolean; checkMs?: number },
): Promise<EstablishedResult> {
  return ChaosRig.with(options, { forgetful }, async (rig) => {
    const first = await rig.startRelay();
    const second = await rig.startRelay();
    await rig.load(first, { seconds: 0, setUp: true });
    const move = { moveAfterMs: MOVE_MS, moveToPort: second.port };
    const loading = rig.load(
      first,
      checkMs === undefined ? { ...move, seconds: SECONDS } : { ...move, seconds: CHECKED_SECONDS, checkMs },
    );
    await sleep(KILL_MS);
    await first.process.kill();
    return loading;
  });
}

export const relayGoneWithoutRedis: Scenario = {
  name: "relay host gone, no Redis",
  short: false,
  async run(options) {
    const answered = (result: EstablishedResult) => `${options.flows - result.unansweredFlows} of ${options.flows}`;
    const remembered = await moved(options, { forgetful: false });
    const forgotten = await moved(options, { forgetful: true });
    const findings = [
      finding("flows back through their owners", answered(remembered), remembered.unansweredFlows === 0),
      timed(options, "from a flow's first datagram there, at most 1 s", remembered.movedMs.max, 1_000),
      finding("control: owners that forget, no checks: no flow", answered(forgotten), forgotten.unansweredFlows > 0),
    ];
    if (options.short) return findings;
    const checked = await moved(options, { forgetful: true, checkMs: CHECK_MS });
    return [
      ...findings,
      finding("control: owners that forget: by the next check", answered(checked), checked.unansweredFlows === 0),
      timed(options, "  which takes at most a check's interval", checked.movedMs.max, CHECK_MS + 500),
    ];
  },
};
