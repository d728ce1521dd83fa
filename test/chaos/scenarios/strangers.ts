/** Somebody else is suddenly where a transceiver or a client was. */
import { ChaosRig } from "../rig.ts";
import { finding, type Scenario } from "../scenario.ts";

const SECONDS = 2;
/** Of the clients, before and after their NAT has given them another. */
const [BEFORE, AFTER] = [40_000, 40_001];
const CHECK_MS = 500;

export const transceiverReplaced: Scenario = {
  name: "transceiver killed and replaced under its id",
  short: true,
  run: (options) =>
    ChaosRig.with(options, {}, async (rig) => {
      const relay = await rig.startRelay();
      await rig.load(relay, { seconds: 1, setUp: true });
      await rig.replaceTransceiver();
      const old = await rig.load(relay, { seconds: SECONDS, checkMs: CHECK_MS }, rig.flowsOf(0));
      const counts = await rig.echo.counts();
      const metrics = await relay.process.metrics();
      const fresh = await rig.load(relay, { seconds: SECONDS, setUp: true });
      const dropped = ["up_drop_no_flow", "miss_drop_transceiver"].reduce(
        (sum, name) => sum + metrics.sum(`earshot_relay_${name}_total`),
        0,
      );
      return [
        finding(
          "packets of old calls that reached the new process: none",
          `${counts.frames - counts.pings}`,
          counts.frames === counts.pings,
        ),
        finding(
          "and they are dropped and counted",
          `${dropped} of ${old.sent + old.checksSent}`,
          old.received === 0 && dropped > 0,
        ),
        finding(
          "new calls are served",
          `${options.flows - fresh.silentFlows} of ${options.flows}`,
          fresh.silentFlows === 0,
        ),
      ];
    }),
};

export const rebound: Scenario = {
  name: "NAT rebinding",
  short: true,
  run: (options) =>
    ChaosRig.with(options, {}, async (rig) => {
      const relay = await rig.startRelay();
      await rig.load(relay, { seconds: 1, setUp: true, clientPort: BEFORE });
      const silent = await rig.load(relay, { seconds: 1, clientPort: AFTER });
      const checked = await rig.load(relay, { seconds: SECONDS, clientPort: AFTER, checkMs: CHECK_MS });
      return [
        finding(
          "media resumes on the first authenticated check",
          `${options.flows - checked.silentFlows} of ${options.flows}`,
          checked.silentFlows === 0,
        ),
        finding("control: without a check it does not", `${silent.received} datagrams`, silent.received === 0),
      ];
    }),
};
