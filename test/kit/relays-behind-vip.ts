/**
 * Owns several relays behind one address, one transceiver with a tap on its trunk, and calls by way of them, all in this
 * process. Which relay a client's datagrams go to, and which of them are lost, is the test's to say.
 */
import { pino } from "pino";
import { randomKeyRing } from "../../src/keys/key-file.ts";
import { Relay, type RelayOptions } from "../../src/relay/relay.ts";
import { Transceiver } from "../../src/transceiver/transceiver.ts";
import { Metrics } from "./metrics.ts";
import { echoes } from "./system.ts";
import { TrunkTap } from "./trunk-tap.ts";
import { until } from "./until.ts";
import { Vip } from "./vip.ts";
import { WeriftClient, type WeriftClientOptions } from "./werift-client.ts";

export const CLUSTER = 3;
const TRANSCEIVER = 12;
const LOOPBACK = { address: "127.0.0.1", port: 0 };
const logger = pino({ level: "silent" });

export class RelaysBehindVip {
  readonly keys = randomKeyRing();
  readonly vip: Vip;
  readonly tap: TrunkTap;
  readonly relays: Relay[] = [];
  readonly clients: WeriftClient[] = [];
  transceiver!: Transceiver;
  epoch = 0n;

  private constructor(vip: Vip, tap: TrunkTap) {
    this.vip = vip;
    this.tap = tap;
  }

  /** No relay yet. */
  static async open(): Promise<RelaysBehindVip> {
    const scene = new RelaysBehindVip(await Vip.open(), await TrunkTap.open());
    await scene.#startTransceiver();
    return scene;
  }

  /** One more relay, which knows the transceiver. All have the same ingress id. */
  async relay(options: Partial<RelayOptions> = {}): Promise<Relay> {
    const relay = new Relay({
      listen: [{ id: 1, ...LOOPBACK }],
      trunk: LOOPBACK,
      engine: "native",
      lanes: 1,
      workers: 1,
      cpus: [],
      gatherUs: 0,
      keys: this.keys,
      cluster: CLUSTER,
      flowCapacity: 1_024,
      receiveBufferBytes: 1 << 20,
      logger,
      ...options,
    });
    await relay.start();
    this.relays.push(relay);
    this.vip.relays = [...this.vip.relays, relay.ingresses[0]!.port];
    relay.setDirectory([{ id: TRANSCEIVER, address: "127.0.0.1", port: this.tap.port }]);
    await until(
      () => relay.ready(),
      () => "the relay does not find the transceiver",
    );
    return relay;
  }

  /** A call that is on, with a word said. */
  async call(
    options: WeriftClientOptions = { data: false },
  ): Promise<{ readonly client: WeriftClient; readonly id: string }> {
    const client = new WeriftClient(options);
    this.clients.push(client);
    const { answerSdp, callId } = await this.transceiver.createCall(await client.offer());
    await client.accept(answerSdp);
    await client.connected();
    await echoes(client, "the first word");
    return { client, id: callId };
  }

  /** Another process of the same id takes over. */
  async replaceTransceiver(): Promise<void> {
    await this.transceiver.stop();
    await this.#startTransceiver();
  }

  async metrics(relay: number): Promise<Metrics> {
    return new Metrics(await this.relays[relay]!.registry.metrics());
  }

  async close(): Promise<void> {
    for (const client of this.clients) await client.close();
    await this.transceiver.stop();
    for (const relay of this.relays) await relay.stop();
    await this.tap.close();
    await this.vip.close();
  }

  async #startTransceiver(): Promise<void> {
    this.epoch = BigInt(Date.now());
    this.transceiver = new Transceiver({
      id: TRANSCEIVER,
      cluster: CLUSTER,
      epoch: this.epoch,
      keys: this.keys,
      trunk: LOOPBACK,
      advertise: [{ address: "127.0.0.1", port: this.vip.port }],
      maxCallMs: 3_600_000,
      limits: { maxCalls: 20 },
      logger,
    });
    this.tap.passTo((await this.transceiver.start()).port);
  }
}

/** Opens the scene, and closes it after the test. */
export async function relaysBehindVip(context: { after(close: () => Promise<void>): void }): Promise<RelaysBehindVip> {
  const scene = await RelaysBehindVip.open();
  context.after(() => scene.close());
  return scene;
}
