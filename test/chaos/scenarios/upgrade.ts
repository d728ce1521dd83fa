/** The relay is upgraded again and again while calls are on: nobody may notice. */
import { ChaosRig } from "../rig.ts";
import { finding, type Scenario, timed } from "../scenario.ts";
import { upgradeRelay } from "../working-process.ts";
import { RECEIVE_BUFFER } from "./worker-killed.ts";

/** What waits in the kernel while processes change is late, not lost. */
export const MISSING_MS = 20_000;

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
        while (!over) results.push(await rig.load(relay, { seconds: options.short ? 4 : 10, missingMs: MISSING_MS }));
      })();
      try {
        for (let n = 0; n < upgrades; n++) await upgradeRelay(relay.process);
      } finally {
        over = true;
        await loading;
      }
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
