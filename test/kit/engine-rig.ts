/**
 * Owns an engine under test with everything around it: keys, a control loop, clients and transceivers on loopback. Every
 * wait is for counters or datagrams, and what a test expects of the counters it expects of all of them.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { WORKER_COUNTER, WORKER_COUNTERS, type WorkerCounterName } from "../../src/engine/counters.ts";
import type { Engine, EngineOptions, FlowInfo, Ingress, TransceiverEntry } from "../../src/engine/engine.ts";
import { type FleetKey, KeyRing } from "../../src/keys/key-ring.ts";
import { ControlLoop } from "./control-loop.ts";
import { bindingRequest, successResponse, tokenUfrag } from "./datagrams.ts";
import { FakeClient } from "./fake-client.ts";
import { FakeTransceiver, type TrunkTarget } from "./fake-transceiver.ts";
import { until } from "./until.ts";

export type MakeEngine = (options: EngineOptions) => Engine;
export type Counts = Partial<Record<WorkerCounterName, number>>;

export const CLUSTER = 7;
export const RELAY_ID = 0xabcdef;
export const RELAY_EPOCH = 1_800_000_000_123n;
export const FIRST_TRANSCEIVER_EPOCH = 1_700_000_000_456n;
const LOOPBACK: readonly Ingress[] = [{ id: 1, address: "127.0.0.1", port: 0 }];
/** Counters that keep their values this long have come to rest: a late one shows as a difference, not as a flake. */
const REST_MS = 5;

export function engineOptions(overrides: Partial<EngineOptions> = {}): EngineOptions {
  return {
    ingresses: LOOPBACK,
    trunk: { address: "127.0.0.1", port: 0 },
    lanes: overrides.workers ?? 1,
    workers: 1,
    cpus: [],
    gatherUs: 0,
    relayId: RELAY_ID,
    epoch: RELAY_EPOCH,
    cluster: CLUSTER,
    flowCapacity: 4_096,
    tentativeQuota: 1_024,
    receiveBufferBytes: 4 << 20,
    ...overrides,
  };
}

export const fleetKey = (id: number, signs = true): FleetKey => ({ id, secret: randomBytes(32), signs });

/** Runs `body` with a started engine, and takes everything down after it. */
export async function withRig(
  make: MakeEngine,
  overrides: Partial<EngineOptions>,
  body: (rig: EngineRig) => Promise<void>,
): Promise<void> {
  const rig = new EngineRig(make, engineOptions(overrides));
  try {
    await rig.engine.start(rig.control.onControl);
    await body(rig);
  } finally {
    await rig.close();
  }
}

export class EngineRig {
  readonly engine: Engine;
  readonly ring: KeyRing;
  readonly control: ControlLoop;
  readonly #options: EngineOptions;
  readonly #open: { close(): Promise<void> }[] = [];
  /** What the counters stood at when they were last looked at. */
  #before: Float64Array = new Float64Array(WORKER_COUNTERS.length);

  constructor(make: MakeEngine, options: EngineOptions, ring = new KeyRing([fleetKey(5)])) {
    this.#options = options;
    this.ring = ring;
    this.engine = make(options);
    this.engine.setKeys(ring);
    this.control = new ControlLoop(this.engine, ring);
  }

  /** Every lane's end of the trunk. */
  get lanes(): readonly TrunkTarget[] {
    const { relayId, epoch } = this.#options;
    return this.engine.trunkPorts.map((port, index) => ({
      senderId: ((relayId << 8) | (index + 1)) >>> 0,
      epoch,
      port,
    }));
  }

  async client(ingress = this.engine.ingresses[0]!, host = ingress.address): Promise<FakeClient> {
    const client = await FakeClient.open(ingress, host);
    this.#open.push(client);
    return client;
  }

  /** A transceiver that the engine and the control loop know. The same id again is its successor. */
  async transceiver(
    id = 1,
    epoch = FIRST_TRANSCEIVER_EPOCH,
    entry: Partial<TransceiverEntry> = {},
  ): Promise<FakeTransceiver> {
    const transceiver = await FakeTransceiver.open({
      id,
      epoch,
      cluster: CLUSTER,
      ring: this.ring,
      lanes: this.lanes,
    });
    this.#open.push(transceiver);
    transceiver.slot = this.engine.addTransceiver({ ...transceiver.entry, ...entry });
    this.control.slots.set(id, transceiver.slot);
    return transceiver;
  }

  ufrag(transceiver: FakeTransceiver): string {
    return tokenUfrag(this.ring.signing, transceiver);
  }

  /** A first request makes a flow, and `transceiver` has it. */
  async install(client: FakeClient, transceiver: FakeTransceiver, ufrag = this.ufrag(transceiver)): Promise<string> {
    const request = bindingRequest(ufrag);
    await client.send(request);
    await this.expect({ up_received: 1, up_missed: 1, up_reoffered: 1, up_forwarded: 1 });
    await this.arrived(transceiver, client, request);
    return ufrag;
  }

  /** The same, and `transceiver` answers it, which makes the flow assured. */
  async establish(client: FakeClient, transceiver: FakeTransceiver, ufrag = this.ufrag(transceiver)): Promise<string> {
    await this.install(client, transceiver, ufrag);
    await this.down(transceiver, client, successResponse());
    assert.equal(this.engine.flow(client.path)?.state, "assured");
    return ufrag;
  }

  /** Who may use a path. */
  claims(path: Buffer): Pick<FlowInfo, "state" | "owner" | "pending"> | undefined {
    const flow = this.engine.flow(path);
    return flow && { state: flow.state, owner: flow.owner, pending: flow.pending };
  }

  /** `client` sends, and `transceiver` has it next. */
  async up(client: FakeClient, transceiver: FakeTransceiver, ...datagrams: readonly Buffer[]): Promise<void> {
    for (const datagram of datagrams) {
      await client.send(datagram);
      await this.expect({ up_received: 1, up_forwarded: 1 });
      await this.arrived(transceiver, client, datagram);
    }
  }

  /** `transceiver` sends, and `client` has it next. */
  async down(transceiver: FakeTransceiver, client: FakeClient, ...datagrams: readonly Buffer[]): Promise<void> {
    for (const datagram of datagrams) {
      const before = client.received.length;
      await transceiver.data(client.path, datagram);
      await this.expect({ down_received: 1, down_accepted: 1, frame_received: 1, frame_forwarded: 1 });
      await until(
        () => client.received.length > before,
        () => "nothing came to the client",
      );
      assert.deepEqual(
        client.received.slice(before).map((received) => received.payload),
        [datagram],
      );
    }
  }

  /** The next frame at `transceiver` is this datagram from `client`, byte by byte; and it is the last. */
  async arrived(transceiver: FakeTransceiver, client: FakeClient, payload: Buffer): Promise<void> {
    await until(
      () => transceiver.frames.length > 0,
      () => "nothing came to the transceiver",
    );
    const frames = transceiver.frames
      .splice(0)
      .map((frame) => ({ kind: frame.kind, path: frame.path, payload: frame.payload }));
    assert.deepEqual(frames, [{ kind: 1, path: client.path, payload }]);
  }

  /** Waits until the counters have changed by exactly this since they were last expected, and nothing else by anything. */
  async expect(expected: Counts): Promise<void> {
    const wanted = WORKER_COUNTERS.map(({ name }) => expected[name] ?? 0);
    const isReached = () => this.#change().every((value, index) => value === wanted[index]);
    try {
      await until(isReached, () => "counters");
      await sleep(REST_MS);
    } catch {
      // What differs says more than that it was waited for.
    }
    assert.deepEqual(named(this.#change()), named(wanted));
    this.assertAddsUp();
    this.#before = this.#totals();
  }

  /** What has been counted since counters were last expected. */
  since(name: WorkerCounterName): number {
    return this.#change()[WORKER_COUNTER[name]]!;
  }

  /** The accounting equations of native/core/counters.def, over everything since the start. */
  assertAddsUp(): void {
    const imbalance = imbalances(this.#totals());
    assert.deepEqual(imbalance, { up: 0, down: 0, frame: 0 });
  }

  async close(): Promise<void> {
    await this.engine.stop();
    await Promise.all(this.#open.map((each) => each.close()));
  }

  #totals(): Float64Array {
    return totals(this.engine);
  }

  #change(): number[] {
    return Array.from(this.#totals(), (value, index) => value - this.#before[index]!);
  }
}

/** Over all workers. */
export function totals(engine: Engine): Float64Array {
  const sum = new Float64Array(WORKER_COUNTERS.length);
  for (const worker of engine.counters()) {
    for (let index = 0; index < sum.length; index += 1) sum[index]! += worker[index]!;
  }
  return sum;
}

/** By how much each stage does not add up; zeros at rest. */
export function imbalances(counts: Float64Array): { up: number; down: number; frame: number } {
  const value = (name: WorkerCounterName) => counts[WORKER_COUNTER[name]]!;
  const drops = (stage: string) =>
    WORKER_COUNTERS.reduce(
      (sum, { name }, index) => (name.startsWith(`${stage}_drop_`) ? sum + counts[index]! : sum),
      0,
    );
  const held = value("up_missed") - value("up_reoffered") + value("up_held") - value("up_released");
  return {
    up: value("up_received") - value("up_forwarded") - drops("up") - held,
    down: value("down_received") - value("down_accepted") - drops("down"),
    frame: value("frame_received") - value("frame_forwarded") - value("frame_control") - drops("frame"),
  };
}

/** The counters that are not zero. */
export function named(values: ArrayLike<number>): Counts {
  const counts: Counts = {};
  WORKER_COUNTERS.forEach(({ name }, index) => {
    if (values[index] !== 0) counts[name] = values[index]!;
  });
  return counts;
}
