/**
 * Two relay hosts with one address behind a router that changes its mind: which relay gets a flow is not the flow's to say, and
 * any of them can serve any. Every host is a network namespace; the load goes on meanwhile.
 */
import type { EstablishedResult } from "../../../bench/load/load-tools.ts";
import { eventually } from "../../kit/eventually.ts";
import { RedisServer } from "../../kit/redis-server.ts";
import { type ChaosRelay, ChaosRig, type LoadOptions } from "../rig.ts";
import { type ChaosOptions, type Finding, finding, type Scenario } from "../scenario.ts";
import { Site } from "../site.ts";
import { unplaced } from "./redis.ts";
import { RECEIVE_BUFFER } from "./worker-killed.ts";

/** Of a load. Whether a flow forwards is asked of its last second. */
const SECONDS = 1.6;
/** Owners take a relay for gone after 1.5 s, and look every second. */
const SECONDS_WITH_OWNERS = 3.5;
const LINGER_MS = 200;
const JUDGED_MS = 1_000;
/** As browsers check (libwebrtc), and in the short form oftener. */
const CHECK_MS = 2_500;
const SHORT_CHECK_MS = 300;
/** For what a load was too short to show. */
const AGAIN_SECONDS = 1.2;
const BACK_WITHIN_MS = 60_000;

const metric = async (relay: ChaosRelay, name: string) => (await relay.process.metrics()).sum(`earshot_relay_${name}`);

/** A process that is short of CPU answers its front too late for a scrape now and then. */
const unplacedAt = (relay: ChaosRelay): Promise<number> =>
  eventually(
    "the relay's counters",
    async () => unplaced(await relay.process.metrics()),
    () => true,
    BACK_WITHIN_MS,
  );

/** Both relays of a site, the load on them, and what it has seen in all. */
class Reshuffled {
  readonly site: Site;
  readonly rig: ChaosRig;
  readonly relays: ChaosRelay[] = [];
  readonly findings: Finding[] = [];
  readonly #options: ChaosOptions;
  #strange = 0;
  #elsewhere = 0;
  #received = 0;

  constructor(site: Site, rig: ChaosRig, options: ChaosOptions) {
    this.site = site;
    this.rig = rig;
    this.#options = options;
  }

  static with(
    options: ChaosOptions,
    forgetful: boolean,
    body: (scene: Reshuffled) => Promise<void>,
  ): Promise<readonly Finding[]> {
    return Site.with((site) =>
      ChaosRig.with(options, { forgetful, site }, async (rig) => {
        const scene = new Reshuffled(site, rig, options);
        await body(scene);
        return [...scene.findings, ...scene.#totals()];
      }),
    );
  }

  /** Relay `index` on its host, in the place of the one before if there was one. */
  async startRelay(index: 0 | 1, settings: Readonly<Record<string, unknown>> = {}): Promise<void> {
    this.relays[index] = await this.rig.startRelay(settings, this.site.relays[index]);
  }

  async load(options: LoadOptions): Promise<EstablishedResult> {
    const result = await this.rig.load(this.relays[0]!, { lingerMs: LINGER_MS, ...options });
    this.#strange += result.strange;
    this.#elsewhere += result.elsewhere;
    this.#received += result.received;
    return result;
  }

  /** While the load is on, `event` happens: every flow has to forward again afterwards. */
  async survives(what: string, event: () => Promise<void> | void, load: Partial<LoadOptions> = {}): Promise<void> {
    const before = await this.#forwarded();
    const loading = this.load({ seconds: SECONDS, ...load });
    await eventually(
      "the load",
      () => this.#forwarded(),
      (now) => now >= before + this.#options.flows,
      BACK_WITHIN_MS,
    );
    await event();
    const happenedMs = performance.now();
    const during = await loading;
    const showsIt = performance.now() - happenedMs > JUDGED_MS + LINGER_MS;
    const after =
      showsIt && during.silentFlows === 0
        ? during
        : await eventually(
            what,
            () => this.load({ ...load, seconds: AGAIN_SECONDS }),
            ({ silentFlows }) => silentFlows === 0,
            BACK_WITHIN_MS,
          ).catch(() => during);
    const { flows } = this.#options;
    const gap = after === during ? `longest gap ${during.gapMs.max.toFixed(0)} ms` : "in another load after it";
    this.findings.push(
      finding(
        `${what}: every flow forwards again`,
        `${flows - after.silentFlows} of ${flows}, ${gap}, ${during.lost} of ${during.sent} lost or late`,
        after.silentFlows === 0,
      ),
    );
  }

  /** SIGKILL of all that runs on it, and its link is down: the router sees that. */
  async hostDies(index: 0 | 1): Promise<void> {
    await this.relays[index]!.process.kill();
    this.site.relays[index].unplug();
  }

  /** Of the relays that answer. */
  async each(name: string): Promise<readonly number[]> {
    return Promise.all(this.relays.map((relay) => metric(relay, name).catch(() => 0)));
  }

  async #forwarded(): Promise<number> {
    const counts = await this.each("up_forwarded_total");
    return counts.reduce((sum, count) => sum + count, 0);
  }

  #totals(): readonly Finding[] {
    const of = `of ${this.#received}`;
    return [
      finding("misrouted: none", `${this.#strange} ${of}`, this.#strange === 0),
      finding(
        "answers from another address than the shared one: none",
        `${this.#elsewhere} ${of}`,
        this.#elsewhere === 0,
      ),
    ];
  }
}

export const reshuffledWithRedis: Scenario = {
  name: "relays behind one address, Redis up",
  short: true,
  run(options) {
    return Reshuffled.with(options, true, async (scene) => {
      const { site } = scene;
      const redis = await RedisServer.startOn(site.redis);
      try {
        const settings = { redis: redis.url, receiveBuffer: RECEIVE_BUFFER };
        await Promise.all([scene.startRelay(0, settings), scene.startRelay(1, settings)]);
        site.spread([0, 1]);
        await scene.load({ seconds: 0, setUp: true });
        const restored = await eventually(
          "every flow at the relay that it is not at",
          () => scene.each("redis_restored_total"),
          ([first, second]) => first! + second! >= options.flows,
          BACK_WITHIN_MS,
        );
        scene.findings.push(
          finding(
            "spread by the router, and each relay has the other's flows by Redis",
            restored.join(" and "),
            restored.every((count) => count > 0),
          ),
        );
        await scene.survives("each to the relay that it was not at", () => site.spread([1, 0]));
        if (!options.short) {
          await scene.survives("all to the second relay", () => site.allTo(1));
          await scene.survives("all back to the first", () => site.allTo(0));
          await scene.survives("half of the clients' network to the second", () => site.upperHalfTo(1));
          await scene.survives("spread again", () => site.spread([0, 1]));
        }
        let missed = 0;
        await scene.survives("the second relay's host dies", async () => {
          missed += await unplacedAt(scene.relays[1]!);
          await scene.hostDies(1);
        });
        missed += await unplacedAt(scene.relays[0]!);
        scene.findings.push(finding("datagrams for which a relay had no flow: none", `${missed}`, missed === 0));
      } finally {
        await redis.close();
      }
    });
  },
};

export const reshuffledWithoutRedis: Scenario = {
  name: "relays behind one address, no Redis",
  short: true,
  run(options) {
    return Reshuffled.with(options, false, async (scene) => {
      const { site } = scene;
      const checkMs = options.short ? SHORT_CHECK_MS : CHECK_MS;
      const seconds = SECONDS + (2 * checkMs) / 1_000;
      site.allTo(1);
      const settings = { receiveBuffer: RECEIVE_BUFFER };
      await Promise.all([scene.startRelay(0, settings), scene.startRelay(1, settings)]);
      await scene.load({ seconds: 0, setUp: true });
      await scene.survives("the host of the relay that has them all dies", () => scene.hostDies(1), {
        seconds: SECONDS_WITH_OWNERS,
      });
      site.relays[1].plug();
      site.upperHalfTo(0);
      await scene.startRelay(1, settings);
      const silent = await scene.load({ seconds: AGAIN_SECONDS });
      scene.findings.push(
        finding(
          "control: half are at a relay that knows nothing, and nobody checks",
          `${silent.silentFlows} of ${options.flows} silent`,
          silent.silentFlows > 0 && silent.silentFlows < options.flows,
        ),
      );
      await scene.survives("by the next check", () => {}, { seconds, checkMs });
      if (options.short) return;
      await scene.survives("the halves change places", () => site.upperHalfTo(1), { seconds, checkMs });
      await scene.survives("all to the second relay", () => site.allTo(1), { seconds, checkMs });
      await scene.survives("spread over both", () => site.spread([0, 1]), { seconds, checkMs });
    });
  },
};
