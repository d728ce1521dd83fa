/** The relay is upgraded again and again while calls are on: nobody may notice. */
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../../kit/eventually.ts";
import { ChaosRig } from "../rig.ts";
import { finding, type Scenario, timed } from "../scenario.ts";
import { workingProcess } from "../working-process.ts";
import { RECEIVE_BUFFER } from "./worker-killed.ts";

/** Each loads a process, which takes most of this. */
const UPGRADE_WITHIN_MS = 4_000;
const BETWEEN_MS = 300;

export const upgrade: Scenario = {
  name: "upgrade",
  short: true,
  run(options) {
    const upgrades = options.short ? 3 : 20;
    return ChaosRig.with(options, { forgetful: true }, async (rig) => {
      const relay = await rig.startRelay({ receiveBuffer: RECEIVE_BUFFER });
      await rig.load(relay, { seconds: 0, setUp: true });
      let over = false;
      const results: Awaited<ReturnType<typeof rig.load>>[] = [];
      const loading = (async () => {
        while (!over) results.push(await rig.load(relay, { seconds: options.short ? 4 : 10 }));
      })();
      const pids = new Set<number>([await workingProcess(relay.process, "native")]);
      for (let n = 0; n < upgrades; n++) {
        relay.process.signal("SIGUSR2");
        const pid = await eventually(
          "another working process",
          () => workingProcess(relay.process, "native"),
          (found) => !pids.has(found),
          UPGRADE_WITHIN_MS,
        );
        pids.add(pid);
        await sleep(BETWEEN_MS);
      }
      over = true;
      await loading;
      const sum = (of: (result: (typeof results)[number]) => number) =>
        results.reduce((all, each) => all + of(each), 0);
      const [sent, lost, strange] = [sum((each) => each.sent), sum((each) => each.lost), sum((each) => each.strange)];
      const drops = sum((each) => each.ownKernelDrops);
      return [
        finding(
          `datagrams lost in ${upgrades} upgrades: none`,
          `${lost} of ${sent}, ${drops} of them at the generator`,
          lost === drops,
        ),
        finding("misrouted: none", `${strange}`, strange === 0),
        finding("duplicates: none", `${sum((each) => each.duplicates)}`, sum((each) => each.duplicates) === 0),
        timed(
          options,
          "longest gap of a flow, at most 300 ms",
          Math.max(...results.map(({ gapMs }) => gapMs.max)),
          300,
        ),
      ];
    });
  },
};
