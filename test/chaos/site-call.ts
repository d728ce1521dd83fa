/**
 * One call of a real browser on a site: Chromium on the client's host, its page from a transceiver of the program's own, and
 * audio by way of the site's shared address. Owns what is heard of it, and how it is told.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { stringify } from "yaml";
import { type Chromium, launchChromium, type Tab } from "../kit/browsers.ts";
import { CallPage } from "../kit/call-page.ts";
import { EarshotProcess, runEarshot } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { joined, tone, wav } from "../kit/tone.ts";
import { type Site, TRUNK_PORT, VIP, VIP_PORT } from "./site.ts";

const TRANSCEIVER = 7;
/** Like syllables, because browsers take a steady tone for noise and remove it. */
const SYLLABLES_HERTZ = [300, 500, 400, 600];
const SYLLABLE_MS = 150;
const PAUSE_MS = 100;
const SAMPLE_RATE = 48_000;
/** Mean energy per second: 20 dB below the loudest that there is. Browsers adjust loudness all the time. */
const AUDIBLE = 0.01;
/** Half a second's worth. */
const PACKETS = 25;
const PATIENCE_MS = 60_000;

export interface Heard {
  readonly packets: number;
  readonly lost: number;
  readonly seconds: number;
  /** As getStats() has it: the square of the loudness, times seconds. */
  readonly energy: number;
  /** Seconds of sound that the browser has made up. */
  readonly concealed: number;
  readonly longestGapMs: number;
  readonly checksAnswered: number;
  readonly connections: number;
  readonly states: readonly string[];
}

/** What something cost the caller. */
export interface Cost {
  readonly gapMs: number;
  readonly concealedMs: number;
  readonly lost: number;
}

export class SiteCall {
  readonly site: Site;
  readonly relays: EarshotProcess[] = [];
  readonly #folder: string;
  readonly #started: EarshotProcess[] = [];
  #browser: Chromium | undefined;
  #tab: Tab | undefined;

  private constructor(site: Site, folder: string) {
    this.site = site;
    this.#folder = folder;
  }

  static async with<Result>(site: Site, body: (call: SiteCall) => Promise<Result>): Promise<Result> {
    const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-call-"));
    const call = new SiteCall(site, folder);
    try {
      return await body(call);
    } finally {
      await call.#browser?.close();
      await Promise.all(call.#started.map((process) => process.kill()));
      rmSync(folder, { recursive: true });
    }
  }

  /** Relay `index` on its host, in the place of the one before if there was one; ready when this resolves. */
  async startRelay(index: 0 | 1, settings: Readonly<Record<string, unknown>> = {}): Promise<EarshotProcess> {
    const host = this.site.relays[index];
    const relay = await this.#start("relay", host, {
      listen: `${VIP}:${VIP_PORT}`,
      trunk: `${host.address}:0`,
      workers: 1,
      directory: [{ id: TRANSCEIVER, address: this.site.transceiver.address, port: TRUNK_PORT }],
      ...settings,
    });
    this.relays[index] = relay;
    await eventually(
      "a relay that is ready",
      () => fetch(`${relay.url}/readyz`),
      ({ status }) => status === 200,
      PATIENCE_MS,
    );
    return relay;
  }

  /** All flows stay at the other relay, and here comes a new one, which knows nothing of them. */
  async replaceHost(index: 0 | 1, settings: Readonly<Record<string, unknown>> = {}): Promise<EarshotProcess> {
    this.site.allTo(index === 0 ? 1 : 0);
    await this.relays[index]?.kill();
    this.site.relays[index].plug();
    return this.startRelay(index, settings);
  }

  /** SIGKILL of all that runs on it, and its link is down: the router sees that. */
  async hostDies(index: 0 | 1): Promise<void> {
    await this.relays[index]!.kill();
    this.site.relays[index].unplug();
  }

  /** Both relays are there, with these settings; the call is on by way of the first, and tones are heard. */
  async begin(relay: Readonly<Record<string, unknown>>): Promise<void> {
    const { transceiver, client } = this.site;
    runEarshot("keys", "new", "--out", this.#keys);
    const starting = this.#start("transceiver", transceiver, {
      id: TRANSCEIVER,
      trunk: `${transceiver.address}:${TRUNK_PORT}`,
      advertise: `${VIP}:${VIP_PORT}`,
    });
    const [service] = await Promise.all([starting, this.startRelay(0, relay), this.startRelay(1, relay)]);
    const microphone = path.join(this.#folder, "tone.wav");
    const pause = new Int16Array((PAUSE_MS * SAMPLE_RATE) / 1_000);
    const syllables = SYLLABLES_HERTZ.flatMap((hertz) => [tone(hertz, SYLLABLE_MS, SAMPLE_RATE), pause]);
    writeFileSync(microphone, wav(joined(syllables), SAMPLE_RATE));
    this.#browser = await launchChromium({ microphone, elsewhere: { networkOf: client.pid, origin: service.url } });
    this.#tab = await this.#browser.open(service.url);
    const page = new CallPage(this.#tab);
    await page.call();
    await this.#tab.evaluate("ear.listen()");
    await eventually(
      "the call is heard",
      () => this.heard(),
      ({ packets }) => packets > 0,
      PATIENCE_MS,
    );
    await this.#further();
  }

  heard(anew = false): Promise<Heard> {
    return this.#tab!.evaluate(`ear.heard(${anew})`);
  }

  /** Does `what` to the call, which then has to go on and be heard, on the same connection. Fails if it does not. */
  async survives(what: () => Promise<void>): Promise<Cost> {
    const before = await this.heard(true);
    await what();
    const after = await this.#further();
    if (after.connections !== 1) throw new Error(`the page has made ${after.connections} connections`);
    if (after.states.includes("failed")) throw new Error(`the connection has failed: ${after.states.join(", ")}`);
    return {
      gapMs: after.longestGapMs,
      // What was made up and then turns out to be there after all is taken back.
      concealedMs: Math.max(0, 1_000 * (after.concealed - before.concealed)),
      lost: after.lost - before.lost,
    };
  }

  /** Waits until the browser has had an answer to a check: without one for some seconds it sends nothing any more. */
  async checked(): Promise<void> {
    const { checksAnswered: before } = await this.heard();
    await eventually(
      "a check that is answered",
      () => this.heard(),
      ({ checksAnswered }) => checksAnswered > before,
      PATIENCE_MS,
    );
  }

  /** When half a second's packets more have come, with sound in them. */
  async #further(): Promise<Heard> {
    let from = await this.heard();
    return eventually(
      "audio that goes on, and is heard",
      async () => {
        const now = await this.heard();
        if (now.packets < from.packets + PACKETS) throw new Error(`${now.packets} packets, ${now.states.join(", ")}`);
        const loudness = (now.energy - from.energy) / (now.seconds - from.seconds);
        from = now;
        if (loudness < AUDIBLE) throw new Error(`silence after ${now.packets} packets`);
        return now;
      },
      () => true,
      PATIENCE_MS,
    );
  }

  get #keys(): string {
    return path.join(this.#folder, "keys.json");
  }

  async #start(
    command: "relay" | "transceiver",
    host: { readonly address: string; readonly pid: number },
    settings: Readonly<Record<string, unknown>>,
  ): Promise<EarshotProcess> {
    const file = path.join(this.#folder, `${host.pid}-${this.#started.length}.yaml`);
    writeFileSync(file, stringify({ http: `${host.address}:0`, logLevel: "error", keys: this.#keys, ...settings }));
    const process = await EarshotProcess.startOn(host.pid, command, "--config", file);
    this.#started.push(process);
    return process;
  }
}
