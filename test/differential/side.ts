/**
 * Owns one engine of a comparison, with its own transceivers. Clients are shared: both engines see the same path bytes,
 * and a client tells replies apart by the port that they come from.
 */

import { WORKER_COUNTER, type WorkerCounterName } from "../../src/engine/counters.ts";
import {
  CONTROL_KIND,
  type ControlRecord,
  type Engine,
  type EngineOptions,
  type FlowInfo,
  type HoldVerdict,
  type Slot,
} from "../../src/engine/engine.ts";
import type { KeyRing } from "../../src/keys/key-ring.ts";
import { ControlLoop } from "../kit/control-loop.ts";
import { CLUSTER, engineOptions, FIRST_TRANSCEIVER_EPOCH, imbalances, named, totals } from "../kit/engine-rig.ts";
import type { FakeClient } from "../kit/fake-client.ts";
import { FakeTransceiver } from "../kit/fake-transceiver.ts";
import { until } from "../kit/until.ts";

/** Longer than the test. */
const LONG_MS = 600_000;

/** What one engine has done since it was last asked; if the two differ, one is wrong. */
export interface Outcome {
  readonly counters: Partial<Record<WorkerCounterName, number>>;
  /** What came to each transceiver, in order. */
  readonly up: readonly (readonly string[])[];
  /** What came to each client, in order. */
  readonly down: readonly (readonly string[])[];
  readonly control: readonly string[];
  readonly flows: readonly string[];
}

export class Side {
  readonly engine: Engine;
  readonly transceivers: FakeTransceiver[] = [];
  readonly #control: ControlLoop;
  /** Datagrams that the test has given it: from clients, from transceivers. */
  #sentUp = 0;
  #sentDown = 0;
  #holds = false;
  #offered = 0;
  /** Datagrams that have come out of it. */
  #arrivedUp = 0;
  #arrivedDown = 0;

  private constructor(engine: Engine, ring: KeyRing) {
    this.engine = engine;
    this.#control = new ControlLoop(engine, ring);
    this.#control.hold();
  }

  static async start(make: (options: EngineOptions) => Engine, ring: KeyRing, transceivers: number): Promise<Side> {
    const options = engineOptions();
    const engine = make(options);
    engine.setKeys(ring);
    const side = new Side(engine, ring);
    await engine.start(side.#control.onControl);
    const lane = { senderId: ((options.relayId << 8) | 1) >>> 0, epoch: options.epoch, port: engine.trunkPorts[0]! };
    for (let id = 1; id <= transceivers; id += 1) {
      const transceiver = await FakeTransceiver.open({
        id,
        epoch: FIRST_TRANSCEIVER_EPOCH,
        cluster: CLUSTER,
        ring,
        lanes: [lane],
      });
      transceiver.slot = engine.addTransceiver(transceiver.entry);
      side.transceivers.push(transceiver);
    }
    return side;
  }

  get port(): number {
    return this.engine.ingresses[0]!.port;
  }

  slot(transceiver: number): Slot {
    return this.transceivers[transceiver]!.slot;
  }

  async up(client: FakeClient, datagram: Buffer): Promise<void> {
    this.#sentUp += 1;
    await client.sendTo(this.port, datagram);
  }

  async down(datagram: Buffer): Promise<void> {
    this.#sentDown += 1;
    await this.transceivers[0]!.sendRaw([datagram]);
  }

  offer(record: ControlRecord): boolean {
    this.#offered += 1;
    return this.engine.offer(record);
  }

  /** Only while it rests, and until `release`. */
  hold(): void {
    this.#holds = true;
    this.engine.hold(LONG_MS);
  }

  settle(record: ControlRecord, verdict: HoldVerdict): boolean {
    return this.engine.settle(record.worker, record.path, verdict);
  }

  release(): void {
    this.#holds = false;
    this.engine.hold(0);
  }

  takeControl(): ControlRecord[] {
    return this.#control.take();
  }

  /** To be asked at rest. Forgets what has arrived at the transceivers. */
  outcome(clients: readonly FakeClient[], control: readonly ControlRecord[]): Outcome {
    return {
      counters: named(totals(this.engine)),
      up: this.transceivers.map((transceiver) => {
        const frames = transceiver.frames.splice(0);
        this.#arrivedUp += frames.length;
        return frames.map(({ kind, path, payload }) => `${kind} ${path.toString("hex")} ${payload.toString("hex")}`);
      }),
      down: clients.map((client) => {
        const own = client.received.filter((datagram) => datagram.port === this.port);
        this.#arrivedDown += own.length;
        return own.map((datagram) => datagram.payload.toString("hex"));
      }),
      // How often an unknown path is told of depends on when its datagrams come, and they come to each engine by itself.
      control: control
        .filter(({ kind }) => kind !== CONTROL_KIND.unknownPath)
        .map(({ kind, slot, path, payload }) => `${kind} ${slot} ${path.toString("hex")} ${payload.toString("hex")}`),
      flows: clients.map((client) => describeFlow(this.engine.flow(client.path))),
    };
  }

  /** Waits until every datagram has been counted to its end, and what was forwarded has arrived. */
  async rest(clients: readonly FakeClient[]): Promise<void> {
    const atRest = () => {
      const counts = totals(this.engine);
      const value = (name: WorkerCounterName) => counts[WORKER_COUNTER[name]]!;
      const { up, down, frame } = imbalances(counts);
      const frames = this.transceivers.reduce((sum, transceiver) => sum + transceiver.frames.length, 0);
      const replies = clients.reduce(
        (sum, each) => sum + each.received.filter(({ port }) => port === this.port).length,
        0,
      );
      return (
        value("up_received") === this.#sentUp &&
        value("down_received") === this.#sentDown &&
        up === 0 &&
        value("up_reoffered") === this.#offered &&
        (this.#holds || value("up_held") === value("up_released")) &&
        down === 0 &&
        frame === 0 &&
        this.#arrivedUp + frames === value("up_forwarded") + value("up_copied") &&
        this.#arrivedDown + replies === value("frame_forwarded")
      );
    };
    await until(atRest, () => `the ${this.engine.kind} engine does not come to rest: ${this.#describe()}`);
  }

  async close(): Promise<void> {
    await this.engine.stop();
    await Promise.all(this.transceivers.map((transceiver) => transceiver.close()));
  }

  #describe(): string {
    return JSON.stringify({ sentUp: this.#sentUp, sentDown: this.#sentDown, ...named(totals(this.engine)) });
  }
}

function describeFlow(flow: FlowInfo | undefined): string {
  return flow ? `${flow.state} ${flow.owner} ${flow.pending ?? "-"}` : "none";
}
