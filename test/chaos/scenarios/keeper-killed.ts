/** The front is killed: nothing of it may go on without it, or the next one could not have its ports. */
import { readFileSync } from "node:fs";
import { eventually } from "../../kit/eventually.ts";
import { ChaosRig } from "../rig.ts";
import { finding, type Scenario, timed } from "../scenario.ts";

export const keeperKilled: Scenario = {
  name: "front killed",
  short: true,
  run(options) {
    return ChaosRig.with(options, { forgetful: true }, async (rig) => {
      const relay = await rig.startRelay();
      const children = await eventually(
        "a relay and one that stands by",
        async () => relay.process.children(),
        ({ length }) => length === 2,
      );
      const began = performance.now();
      await relay.process.kill();
      await eventually(
        "the end of the relays",
        async () => children.filter(runs),
        ({ length }) => length === 0,
      );
      const tookMs = performance.now() - began;
      // Nothing but a process that has ended lets go of a port.
      const { banner } = (await rig.startRelay({ listen: `127.0.0.1:${relay.port}` })).process;
      const ingresses = /Ingresses +(\S+)/.exec(banner)?.[1] ?? "none";
      return [
        timed(options, "its relay processes end with it, within 1 s", tookMs, 1_000),
        finding("the next front has its port", ingresses, ingresses === `127.0.0.1:${relay.port}`),
      ];
    });
  },
};

function runs(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
