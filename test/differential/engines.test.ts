/**
 * Both engines get the same datagrams and the same decisions; they must count, forward and remember the same. Each round
 * sends a batch, waits until both are at rest, compares, and then changes the flows before the next.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { WORKER_COUNTERS, type WorkerCounterName } from "../../src/engine/counters.ts";
import { CONTROL_KIND, type ControlRecord } from "../../src/engine/engine.ts";
import { JsEngine } from "../../src/engine/js/js-engine.ts";
import { NativeEngine } from "../../src/engine/native/native-engine.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import {
  bindingRequest,
  dtlsLike,
  errorResponse,
  indication,
  rtpLike,
  stunMessage,
  successResponse,
  tokenUfrag,
} from "../kit/datagrams.ts";
import { CLUSTER, FIRST_TRANSCEIVER_EPOCH, fleetKey, totals } from "../kit/engine-rig.ts";
import { FakeClient } from "../kit/fake-client.ts";
import { mutated, Random, withStunLength } from "../kit/mutations.ts";
import { stunCorpus } from "../kit/stun-corpus.ts";
import { rawFrame } from "../kit/trunk-datagrams.ts";
import { Side } from "./side.ts";

const SEED = 20_260_501;
const ROUNDS = 120;
const UP_PER_ROUND = 60;
const DOWN_PER_ROUND = 30;
const ACTIONS_PER_ROUND = 4;
/** Every so many rounds the engines hold what they cannot place. */
const HOLD_EVERY = 2;
const CLIENTS = 6;
const TRANSCEIVERS = 4;
/** More than one for each transceiver, so that ICE restarts and strangers happen. */
const UFRAGS_PER_TRANSCEIVER = 3;
/** These rounds each retire a transceiver, the last one first. */
const RETIRE_IN_ROUNDS: readonly number[] = [40, 80];

/** These take other sources, full queues, time or an unwilling kernel: test/conformance reaches them. */
const NOT_REACHED: readonly WorkerCounterName[] = [
  "up_drop_source",
  "up_drop_miss_full",
  "up_drop_hold_full",
  "up_drop_hold_stale",
  "up_drop_send",
  "frame_drop_control_full",
  "frame_drop_send",
];

interface Ufrag {
  readonly text: string;
  /** Its transceiver's place in `transceivers`. */
  readonly of: number;
}

class Comparison {
  readonly random = new Random(SEED);
  readonly sides: readonly [Side, Side];
  readonly clients: readonly FakeClient[];
  readonly ufrags: readonly Ufrag[];
  readonly uplinkSeeds: readonly Buffer[];
  readonly payloads: readonly Buffer[];
  /** Far enough from 0 for the old ones that are tried. */
  #sequence = 2_000n;
  #live = TRANSCEIVERS;

  constructor(sides: readonly [Side, Side], clients: readonly FakeClient[], ring: KeyRing) {
    this.sides = sides;
    this.clients = clients;
    this.ufrags = Array.from({ length: TRANSCEIVERS * UFRAGS_PER_TRANSCEIVER }, (_, index) => {
      const of = index % TRANSCEIVERS;
      const fields = { id: of + 1, epoch: FIRST_TRANSCEIVER_EPOCH, cluster: CLUSTER };
      return { text: tokenUfrag(ring.signing, fields), of };
    });
    const stranger = new KeyRing([fleetKey(ring.signing.id)]);
    const foreign = tokenUfrag(stranger.signing, { id: 1, epoch: FIRST_TRANSCEIVER_EPOCH, cluster: CLUSTER });
    this.payloads = [
      ...[1, 13, 64, 600, 1_472].flatMap((size) => [dtlsLike(size), rtpLike(size)]),
      successResponse(),
      successResponse(),
      errorResponse(),
      indication(),
      stunMessage(0, 3),
      bindingRequest("client:of a transceiver"),
    ];
    this.uplinkSeeds = [
      ...this.ufrags.map(({ text }) => bindingRequest(text, { password: "a password of no matter" })),
      bindingRequest(foreign),
      bindingRequest("short"),
      ...this.payloads,
      rtpLike(2_048),
      rtpLike(2_049),
      ...stunCorpus(),
    ];
  }

  /** One client datagram: a third as they should be. */
  uplink(): Buffer {
    const seed = this.random.pick(this.uplinkSeeds);
    if (this.random.chance(33)) return seed;
    const bytes = mutated(this.random, seed, this.uplinkSeeds);
    return this.random.chance(50) ? withStunLength(bytes) : bytes;
  }

  /** One trunk datagram: frames as they should be or not, in a datagram that is right or not. */
  downlink(): Buffer {
    let frames: Buffer = Buffer.concat(Array.from({ length: 1 + this.random.below(5) }, () => this.#frame()));
    if (this.random.chance(30)) frames = mutated(this.random, frames, this.payloads);
    const from = this.sides[0].transceivers[this.random.below(TRANSCEIVERS)]!;
    const datagram = from.sealRaw(frames, this.#nextSequence(), this.#header());
    return this.random.chance(10) ? mutated(this.random, datagram, this.payloads) : datagram;
  }

  #frame(): Buffer {
    const { path } = this.random.pick(this.clients);
    if (this.random.chance(80)) return rawFrame(FRAME_KIND.data, path, this.random.pick(this.payloads));
    const ufrag = Buffer.from(this.random.pick(this.ufrags).text);
    return this.random.pick([
      () => rawFrame(FRAME_KIND.promote, path, ufrag),
      () => rawFrame(FRAME_KIND.flowEnd, path, ufrag),
      () => rawFrame(FRAME_KIND.assert, path, ufrag),
      () => rawFrame(FRAME_KIND.pong, undefined, Buffer.alloc(9)),
      () => rawFrame(FRAME_KIND.drain, undefined, Buffer.alloc(0)),
      () => rawFrame(this.random.below(256), path, ufrag),
    ])();
  }

  #nextSequence(): bigint {
    if (this.random.chance(2)) this.#sequence += 2_000n;
    if (this.random.chance(10)) return this.#sequence - BigInt(this.random.below(1_100));
    this.#sequence += 1n;
    return this.#sequence;
  }

  #header() {
    if (!this.random.chance(10)) return {};
    return this.random.pick([
      { cluster: CLUSTER + 1 },
      { targetEpoch: 0 },
      { targetId: 1 },
      { senderId: 99 },
      { senderEpoch: 1n },
      { keyId: this.random.below(256) },
      { versionAndFlags: this.random.below(256) },
    ]);
  }

  /** Decides the same for both, and both must answer the same. */
  act(): void {
    const { path } = this.random.pick(this.clients);
    const ufrag = this.random.pick(this.ufrags.filter(({ of }) => of < this.#live));
    const what = this.random.pick(["admit", "admit", "admit", "promote", "end"] as const);
    const [js, native] = this.sides.map((side) => side.engine[what](path, side.slot(ufrag.of), ufrag.text));
    assert.equal(native, js, what);
  }

  async round(number: number): Promise<void> {
    const holds = number % HOLD_EVERY === 0;
    if (holds) for (const side of this.sides) side.hold();
    for (let i = 0; i < UP_PER_ROUND; i += 1) {
      const client = this.random.pick(this.clients);
      const datagram = this.uplink();
      for (const side of this.sides) await side.up(client, datagram);
    }
    const heldPaths = await this.#compare(`round ${number}, uplink, seed ${SEED}`);
    if (holds) {
      this.#settle(heldPaths);
      await this.#compare(`round ${number}, held, seed ${SEED}`);
    }

    for (let i = 0; i < DOWN_PER_ROUND; i += 1) {
      const datagram = this.downlink();
      for (const side of this.sides) await side.down(datagram);
    }
    await this.#compare(`round ${number}, downlink, seed ${SEED}`);

    for (let i = 0; i < ACTIONS_PER_ROUND; i += 1) this.act();
    await this.#compare(`round ${number}, decisions, seed ${SEED}`);
    if (RETIRE_IN_ROUNDS.includes(number)) {
      this.#live -= 1;
      for (const side of this.sides) side.engine.retireTransceiver(side.slot(this.#live));
    }
  }

  /** Some of the paths have a flow by then. Of those that have not, some are left to the end of holding. */
  #settle(heldPaths: readonly (readonly ControlRecord[])[]): void {
    for (let i = 0; i < heldPaths[0]!.length; i += 1) {
      const verdict = this.random.pick(["unknown", "failed", "budget"] as const);
      const hasFlow = this.sides[0].engine.flow(heldPaths[0]![i]!.path) !== undefined;
      if (!hasFlow && this.random.chance(60)) continue;
      for (const [index, side] of this.sides.entries()) assert.equal(side.settle(heldPaths[index]![i]!, verdict), true);
    }
    for (const side of this.sides) side.release();
  }

  /** Some of the misses are admitted, and all that are go back, in the same order on both sides. Returns the held paths. */
  async #compare(when: string): Promise<readonly (readonly ControlRecord[])[]> {
    const records: ControlRecord[][] = [];
    for (const side of this.sides) {
      await side.rest(this.clients);
      records.push(side.takeControl());
    }
    const [js, native] = this.sides.map((side, index) => side.outcome(this.clients, records[index]!));
    for (const part of ["counters", "flows", "control", "up", "down"] as const) {
      assert.deepEqual(native![part], js![part], `${when}: ${part}`);
    }
    for (const client of this.clients) client.received.length = 0;

    const misses = records.map((each) => each.filter(({ kind }) => kind === CONTROL_KIND.miss));
    for (let i = 0; i < misses[0]!.length; i += 1) {
      if (!this.random.chance(30)) continue;
      for (const [index, side] of this.sides.entries()) assert.equal(side.offer(misses[index]![i]!), true);
    }
    for (const side of this.sides) await side.rest(this.clients);
    return records.map((each) => each.filter(({ kind }) => kind === CONTROL_KIND.heldPath));
  }
}

test("both engines do the same with the same datagrams and decisions", async () => {
  const ring = new KeyRing([fleetKey(5)]);
  const js = await Side.start((options) => new JsEngine(options), ring, TRANSCEIVERS);
  const native = await Side.start((options) => new NativeEngine(options), ring, TRANSCEIVERS);
  const clients: FakeClient[] = [];
  try {
    for (let i = 0; i < CLIENTS; i += 1) clients.push(await FakeClient.open(js.engine.ingresses[0]!));
    const comparison = new Comparison([js, native], clients, ring);
    for (let number = 1; number <= ROUNDS; number += 1) await comparison.round(number);
    const reached = totals(js.engine);
    const missed = WORKER_COUNTERS.filter(({ name }, index) => reached[index] === 0 && !NOT_REACHED.includes(name));
    assert.deepEqual(missed, [], "the datagrams are varied enough to reach every counter");
  } finally {
    await Promise.all([js, native, ...clients].map((each) => each.close()));
  }
});
