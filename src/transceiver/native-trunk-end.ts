/**
 * The native end of the trunk: C++ reads, checks and packs (native/core/trunk_end.h), here frames become calls. The way
 * between the two is taken once for a batch that is read and once for a turn's answers, never for a packet.
 */
import { getSystemErrorName } from "node:util";
import { bindError } from "../engine/bind-error.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { DIRECTION, type FrameKind, frameBytes, writeFrame } from "../trunk/frame.ts";
import { MAX_MEDIA_AGE_MS, TRUNK_RECEIVE_BUFFER_BYTES } from "./limits.ts";
import type { AddressPort, RelayPort, RelayPortState, TrunkEnd, TrunkEndOptions } from "./trunk-end.ts";
import { loadTrunkEnd, type NativeTrunkEndHandle } from "./trunk-end-binding.ts";

/** A record in the outbox begins with the relay port's id, 32 bits. */
const RECORD_HEAD_BYTES = 4;
/** What a turn of the event loop usually sends, several times over; when it is full it is sent in two parts. */
const OUTBOX_BYTES = 131_072;
/** Batches that one allocation serves, in units of the most that a batch can need. Most need a fiftieth of it. */
const SLAB_BATCHES = 4;
/** Numbers that say where a frame is: relay port, start of the path, start of the payload, end. */
const PLACE_NUMBERS = 4;

export class NativeTrunkEnd implements TrunkEnd {
  readonly kind = "native";
  readonly #options: TrunkEndOptions;
  readonly #handle: NativeTrunkEndHandle;
  readonly #batchBytes: number;
  readonly #largestFrame: number;
  readonly #places: Uint32Array;
  /** Frames are put here one behind the other and never overwritten: sessions may keep them. */
  #slab: Buffer;
  #used = 0;
  readonly #outbox = Buffer.allocUnsafeSlow(OUTBOX_BYTES);
  #waiting = 0;
  #flushPlanned: NodeJS.Immediate | undefined;
  #open = false;
  #warnings: readonly string[] = [];

  /** Throws an `EarshotError` ADDON_UNAVAILABLE when the addon cannot be loaded. */
  constructor(options: TrunkEndOptions) {
    const TrunkEnd = loadTrunkEnd();
    this.#options = options;
    this.#batchBytes = TrunkEnd.batchBytes;
    this.#largestFrame = TrunkEnd.frameBytesMost;
    this.#places = new Uint32Array(PLACE_NUMBERS * TrunkEnd.batchPlaces);
    this.#slab = this.#newSlab();
    const limits = { receiveBufferBytes: TRUNK_RECEIVE_BUFFER_BYTES, maxMediaAgeMs: MAX_MEDIA_AGE_MS };
    this.#handle = new TrunkEnd({ ...options, ...limits }, options.counters.trunk, () => this.#receive());
    this.setKeys(options.keys);
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  async start(): Promise<AddressPort> {
    const { local } = this.#options;
    const bound = this.#handle.start();
    if ("errno" in bound) throw bindError(getSystemErrorName(-bound.errno), "trunk", local);
    this.#open = true;
    if (bound.receiveBufferBytes < TRUNK_RECEIVE_BUFFER_BYTES) {
      const sizes = `${bound.receiveBufferBytes} bytes instead of ${TRUNK_RECEIVE_BUFFER_BYTES}`;
      this.#warnings = [`the trunk's receive buffer is ${sizes}: raise net.core.rmem_max or add CAP_NET_ADMIN`];
    }
    return { address: local.address, port: bound.port };
  }

  setKeys(keys: KeyRing): void {
    this.#handle.setKeys(keys.signing.id, keys.all);
  }

  send(to: RelayPort, kind: FrameKind, path: Buffer | undefined, payload: Buffer): void {
    if (!this.#open) return;
    const bytes = frameBytes(kind, DIRECTION.down, path, payload);
    if (bytes === 0 || bytes > this.#largestFrame) {
      this.#options.counters.count.frame_unsendable++;
      return;
    }
    const outbox = this.#outbox;
    if (outbox.length - this.#waiting < RECORD_HEAD_BYTES + bytes) this.#flush();
    const start = outbox.writeUInt32LE(to, this.#waiting);
    this.#waiting = writeFrame(outbox, start, kind, path, payload);
    this.#flushPlanned ??= setImmediate(() => this.#flush());
  }

  drain(): void {
    if (this.#open) this.#handle.drain();
  }

  relayPorts(nowMs: number): RelayPortState[] {
    return this.#handle.relayPorts().map(({ silentMs, ...port }) => ({ ...port, heardMs: nowMs - silentMs }));
  }

  kernelDrops(): number {
    return this.#handle.kernelDrops();
  }

  async stop(): Promise<void> {
    if (!this.#open) return;
    this.#flush();
    this.#open = false;
    this.#handle.stop();
  }

  /** Takes one batch; what is left makes the event loop come here again, after it has seen to everything else. */
  #receive(): void {
    if (this.#slab.length - this.#used < this.#batchBytes) {
      this.#slab = this.#newSlab();
      this.#used = 0;
    }
    // What waits is for those who were there before this batch.
    this.#flush();
    const { onData, onUnknownPath } = this.#options;
    const slab = this.#slab;
    const places = this.#places;
    const numbers = PLACE_NUMBERS * this.#handle.receive(slab, this.#used, places);
    if (numbers === 0) return;
    this.#used = places[numbers - 1]!;
    const nowMs = Date.now();
    for (let at = 0; at < numbers; at += PLACE_NUMBERS) {
      const from = places[at]!;
      const payload = places[at + 2]!;
      const end = places[at + 3]!;
      const pathKey = slab.toString("latin1", places[at + 1]!, payload);
      if (payload === end) onUnknownPath(pathKey, from);
      else onData(pathKey, slab.subarray(payload, end), from, nowMs);
    }
  }

  #newSlab(): Buffer {
    return Buffer.allocUnsafeSlow(SLAB_BATCHES * this.#batchBytes);
  }

  #flush(): void {
    if (this.#flushPlanned !== undefined) {
      clearImmediate(this.#flushPlanned);
      this.#flushPlanned = undefined;
    }
    if (this.#waiting === 0) return;
    const length = this.#waiting;
    this.#waiting = 0;
    this.#handle.send(this.#outbox, length);
  }
}
