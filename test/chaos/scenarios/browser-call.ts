/**
 * One call of a real browser, through everything that can become of relays: the same connection all the time, and what its user
 * hears of it, from getStats(). That a call goes on proves nothing about what has helped it, so each time that is said too.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../../kit/eventually.ts";
import { RedisServer } from "../../kit/redis-server.ts";
import { type ChaosOptions, type Finding, finding, type Scenario, timed } from "../scenario.ts";
import { Site } from "../site.ts";
import { type Cost, SiteCall } from "../site-call.ts";
import { workingProcess } from "../working-process.ts";

const OFTEN = 10;
/** Between two of them: a process that lived for a second is followed by the next one at once. */
const BETWEEN_MS = 1_500;
const PATIENCE_MS = 60_000;
/** Of a call that sends 50 a second. The browser stops sending when checks have been lost for some seconds. */
const DROPPED = 10;
/** Owners take a relay for gone after 1.5 s, and look four times a second. */
const OWNERS_WITHIN_MS = 2_500;

export const browserCall: Scenario = {
  name: "a browser's call",
  short: true,
  run: (options) =>
    Site.with(async (site) => {
      const redis = await RedisServer.startOn(site.redis);
      try {
        return await SiteCall.with(site, async (call) => {
          await call.begin({ redis: redis.url });
          return [
            ...(await onOneHost(options, call)),
            ...(await takenOver(options, call)),
            ...(await controls(options, call)),
          ];
        });
      } finally {
        await redis.close();
      }
    }),
};

const said = ({ gapMs, concealedMs, lost }: Cost): string =>
  `silent for ${gapMs.toFixed(0)} ms, ${concealedMs.toFixed(0)} ms of sound made up, ${lost} packets lost`;

interface Unaided extends Cost {
  /** Questions of the relay and checks that it could not place, afterwards. */
  readonly aids: number;
}

/** What happens to the call leaves it at this relay, which knows it without anybody's help. */
async function unaided(call: SiteCall, relay: 0 | 1, what: () => Promise<void>): Promise<Unaided> {
  const cost = await call.survives(what);
  const aids = await eventually(
    "the relay's counters",
    async () => {
      const metrics = await call.relays[relay]!.metrics();
      return metrics.sum("earshot_relay_up_missed_total") + metrics.sum("earshot_relay_unknown_asked_total");
    },
    () => true,
    PATIENCE_MS,
  );
  return { ...cost, aids };
}

/** What it costs at most when `what` happens again and again; each time the call goes on, or this throws. */
async function most(times: number, what: () => Promise<Unaided>): Promise<Unaided> {
  const costs: Unaided[] = [];
  for (let n = 0; n < times; n++) {
    if (n > 0) await sleep(BETWEEN_MS);
    costs.push(await what());
  }
  const greatest = (of: (cost: Unaided) => number) => Math.max(...costs.map(of));
  return {
    gapMs: greatest(({ gapMs }) => gapMs),
    concealedMs: greatest(({ concealedMs }) => concealedMs),
    lost: greatest(({ lost }) => lost),
    aids: greatest(({ aids }) => aids),
  };
}

/** The same where no check of the browser reaches a relay until it is over. */
async function unchecked(call: SiteCall, what: () => Promise<void>): Promise<Cost> {
  await call.checked();
  call.site.dropChecks();
  const cost = await call.survives(what);
  call.site.passChecks();
  return cost;
}

/** The control: nobody helps, so this relay drops all that comes; only then a check may pass. */
async function byCheck(call: SiteCall, relay: 0 | 1, what: () => Promise<void>): Promise<Cost> {
  const { site } = call;
  site.silenceOwners();
  const cost = await unchecked(call, async () => {
    await what();
    await eventually(
      "a relay that has no flow for the call",
      async () => (await call.relays[relay]!.metrics()).sum("earshot_relay_up_drop_no_flow_total"),
      (dropped) => dropped >= DROPPED,
      PATIENCE_MS,
    );
    site.passChecks();
  });
  site.askOwners();
  return cost;
}

async function exchanged(call: SiteCall, engine: "native" | "js", bring: (pid: number) => void): Promise<void> {
  const relay = call.relays[0]!;
  const before = await workingProcess(relay, engine);
  bring(before);
  await eventually(
    "another working process",
    () => workingProcess(relay, engine),
    (pid) => pid !== before,
    PATIENCE_MS,
  );
}

const killed = (call: SiteCall, engine: "native" | "js") => () =>
  exchanged(call, engine, (pid) => process.kill(pid, "SIGKILL"));

async function onOneHost(options: ChaosOptions, call: SiteCall): Promise<readonly Finding[]> {
  const times = options.short ? 1 : OFTEN;
  const often = times === 1 ? "once" : `${times} times`;
  const kill = await most(times, () => unaided(call, 0, killed(call, "native")));
  const upgrading = () => exchanged(call, "native", () => call.relays[0]!.signal("SIGUSR2"));
  const upgrade = await most(times, () => unaided(call, 0, upgrading));
  return [
    finding(`goes on by the table alone, relay process killed ${often}`, said(kill), kill.aids === 0),
    timed(options, "  silent for 300 ms at most", kill.gapMs, 300),
    finding(`goes on by the table alone, upgraded ${often}`, said(upgrade), upgrade.aids === 0),
    timed(options, "  silent for 300 ms at most", upgrade.gapMs, 300),
  ];
}

async function takenOver(options: ChaosOptions, call: SiteCall): Promise<readonly Finding[]> {
  await eventually(
    "the call's flow at the second relay",
    async () => (await call.relays[1]!.metrics()).sum("earshot_relay_redis_restored_total"),
    (restored) => restored > 0,
    PATIENCE_MS,
  );
  const byRedis = await unaided(call, 1, () => call.hostDies(0));
  await call.replaceHost(0);
  const byOwner = await unchecked(call, () => call.hostDies(1));
  return [
    finding("goes on at another relay, by Redis alone", said(byRedis), byRedis.aids === 0),
    timed(options, "  silent for 1 s at most", byRedis.gapMs, 1_000),
    finding("goes on at another relay, by its owner alone", said(byOwner), true),
    timed(options, "  silent until the owner misses the relay", byOwner.gapMs, OWNERS_WITHIN_MS),
  ];
}

async function controls(options: ChaosOptions, call: SiteCall): Promise<readonly Finding[]> {
  await call.replaceHost(1);
  const forgotten = await byCheck(call, 1, () => call.hostDies(0));
  const findings = [
    finding("control: nobody remembers: nothing is heard before a check has passed", said(forgotten), true),
  ];
  if (options.short) return findings;
  await call.replaceHost(0, { engine: "js" });
  await call.survives(async () => call.site.allTo(0));
  const lost = await byCheck(call, 0, killed(call, "js"));
  return [...findings, finding("control: a process with a table of its own is killed: the same", said(lost), true)];
}
