/**
 * Owns the whole system on loopback in one process: a real relay, real transceivers, and a tap on each one's trunk. Clients
 * reach the transceivers by the relay alone.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { randomKeyRing } from "../../src/keys/key-file.ts";
import type { KeyRing } from "../../src/keys/key-ring.ts";
import { Relay } from "../../src/relay/relay.ts";
import { Transceiver } from "../../src/transceiver/transceiver.ts";
import { eventually } from "./eventually.ts";
import { credentialsOf, type IceSession } from "./ice-checks.ts";
import { Metrics } from "./metrics.ts";
import { TrunkTap } from "./trunk-tap.ts";
import { until } from "./until.ts";
import { WeriftClient, type WeriftClientOptions } from "./werift-client.ts";

export const CLUSTER = 3;
/** What nothing has been heard of for so long, over loopback, has not been sent. */
const QUIET_MS = 300;
const logger = pino({ level: "silent" });

export interface Place {
  readonly id: number;
  readonly epoch: bigint;
  readonly transceiver: Transceiver;
  readonly tap: TrunkTap;
}

export class System {
  readonly keys: KeyRing = randomKeyRing();
  readonly relay: Relay;
  readonly places: Place[] = [];
  readonly #clients: WeriftClient[] = [];

  private constructor(engine: "native" | "js") {
    this.relay = new Relay({
      listen: [{ id: 1, address: "127.0.0.1", port: 0 }],
      trunk: { address: "127.0.0.1", port: 0 },
      engine,
      lanes: 1,
      workers: 1,
      cpus: [],
      gatherUs: 0,
      keys: this.keys,
      cluster: CLUSTER,
      flowCapacity: 1_024,
      receiveBufferBytes: 4 << 20,
      logger,
    });
  }

  static async open(options: { transceivers?: number; engine?: "native" | "js" } = {}): Promise<System> {
    const { transceivers = 1, engine = "native" } = options;
    const system = new System(engine);
    await system.relay.start();
    for (let id = 1; id <= transceivers; id += 1) {
      const tap = await TrunkTap.open();
      system.places.push(await system.#place(id, tap));
    }
    system.relay.setDirectory(system.places.map(({ id, tap }) => ({ id, address: "127.0.0.1", port: tap.port })));
    await system.knows(transceivers);
    return system;
  }

  /** Of the relay's ingress. */
  get port(): number {
    return this.relay.ingresses[0]!.port;
  }

  /** Waits until the relay has heard so many transceivers. */
  async knows(transceivers: number): Promise<void> {
    const live = async () => (await this.relayMetrics()).sum("earshot_relay_transceivers", 'state="live"');
    await eventually("transceivers that answer pings", live, (count) => count === transceivers);
  }

  /** The transceiver behind this place stops, and another process of the same id takes over. */
  async replace(index: number): Promise<Place> {
    const { id, tap, transceiver } = this.places[index]!;
    await transceiver.stop();
    const place = await this.#place(id, tap);
    this.places[index] = place;
    return place;
  }

  /** A client whose call is on. */
  async call(index = 0, options: WeriftClientOptions = {}): Promise<WeriftClient> {
    const client = new WeriftClient(options);
    this.#clients.push(client);
    const { answerSdp } = await this.places[index]!.transceiver.createCall(await client.offer());
    await client.accept(answerSdp);
    await client.connected();
    return client;
  }

  /** A call that was offered and answered, and whose client does nothing by itself. */
  async session(index = 0): Promise<IceSession> {
    const client = new WeriftClient({ audio: false });
    this.#clients.push(client);
    const offer = await client.offer();
    const { answerSdp } = await this.places[index]!.transceiver.createCall(offer);
    return { ours: credentialsOf(answerSdp), theirs: credentialsOf(offer) };
  }

  async relayMetrics(): Promise<Metrics> {
    return new Metrics(await this.relay.registry.metrics());
  }
  async metrics(index = 0): Promise<Metrics> {
    return new Metrics(await this.places[index]!.transceiver.registry.metrics());
  }
  async relayCount(name: string): Promise<number> {
    return (await this.relayMetrics()).sum(`earshot_relay_${name}_total`);
  }
  async count(name: string, index = 0): Promise<number> {
    return (await this.metrics(index)).sum(`earshot_transceiver_${name}_total`);
  }

  /** Until the relay has read so many client datagrams in all, and decided on each. */
  async read(received: number): Promise<void> {
    await eventually(
      `${received} datagrams at the relay`,
      () => this.relayMetrics(),
      (metrics) =>
        metrics.sum("earshot_relay_up_received_total") >= received && metrics.sum("earshot_relay_held") === 0,
    );
  }

  /** The same, and what came of them has arrived where it would. */
  async quiet(received: number): Promise<void> {
    await this.read(received);
    await sleep(QUIET_MS);
  }

  async close(): Promise<void> {
    for (const client of this.#clients) await client.close();
    for (const { transceiver } of this.places) await transceiver.stop();
    await this.relay.stop();
    for (const { tap } of this.places) await tap.close();
  }

  async #place(id: number, tap: TrunkTap): Promise<Place> {
    const epoch = BigInt(Date.now());
    const transceiver = new Transceiver({
      id,
      cluster: CLUSTER,
      epoch,
      keys: this.keys,
      trunk: { address: "127.0.0.1", port: 0 },
      advertise: [{ address: "127.0.0.1", port: this.port }],
      maxCallMs: 3_600_000,
      limits: { maxCalls: 10 },
      logger,
    });
    tap.passTo((await transceiver.start()).port);
    return { id, epoch, transceiver, tap };
  }
}

/** Audio goes to and fro: what the client sends from now on comes back. */
export async function echoes(client: WeriftClient, mark: string): Promise<void> {
  client.sendAudio({ payload: Buffer.from(mark), timestamp: client.received.length * 960 });
  await until(
    () => client.received.some(({ payload }) => payload.toString() === mark),
    () => `no echo of "${mark}"`,
  );
}

/** Where the relay sees this client. */
export function addressOf(client: WeriftClient): { host: string; port: number } {
  const { host, port } = client.connection.iceTransports[0]!.connection.nominated!.localCandidate;
  return { host, port };
}
