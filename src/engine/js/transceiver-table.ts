/**
 * Owns the JS engine's list of transceivers and what is on its way to them: frames gathered during one turn of the event
 * loop, packed into trunk datagrams. Counts a client datagram as forwarded or dropped when the kernel has answered, so
 * each exactly once.
 */
import type { DerivedKeys } from "../../keys/key-ring.ts";
import { TRUNK_HEADER_BYTES, TRUNK_MAX_BYTES, TRUNK_TAG_BYTES, TrunkWriter } from "../../trunk/datagram.ts";
import { DIRECTION, FRAME_KIND, frameBytes } from "../../trunk/frame.ts";
import { WORKER_COUNTER } from "../counters.ts";
import type { Slot, TransceiverEntry } from "../engine.ts";

const LOW_32_BITS = 0xffff_ffffn;
const EMPTY_DATAGRAM_BYTES = TRUNK_HEADER_BYTES + TRUNK_TAG_BYTES;

/** Hands a datagram to the trunk socket. Always answers through `done`, never by throwing. */
export type SendTrunk = (datagram: Buffer, port: number, address: string, done: (error: Error | null) => void) => void;

export interface TransceiverTableOptions {
  readonly cluster: number;
  readonly senderId: number;
  readonly senderEpoch: bigint;
  readonly signingKeys: () => DerivedKeys;
  readonly send: SendTrunk;
  readonly counters: Float64Array;
}

/** The open trunk datagram to one transceiver id. Its sequence goes on across epochs. */
interface Link {
  readonly writer: TrunkWriter;
  target: TransceiverEntry | undefined;
  bytes: number;
  /** Client datagrams whose fate this trunk datagram decides. */
  counted: number;
}

export class TransceiverTable {
  readonly #options: TransceiverTableOptions;
  readonly #entries = new Map<Slot, TransceiverEntry>();
  readonly #slots = new Map<string, Slot>();
  readonly #links = new Map<number, Link>();
  readonly #open = new Set<Link>();
  #flushing: NodeJS.Immediate | undefined;
  #nextSlot = 1;

  constructor(options: TransceiverTableOptions) {
    this.#options = options;
  }

  add(entry: TransceiverEntry): Slot {
    const slot = this.#nextSlot;
    this.#nextSlot += 1;
    this.#entries.set(slot, entry);
    this.#slots.set(senderKey(entry.id, entry.epoch), slot);
    return slot;
  }

  retire(slot: Slot): void {
    const entry = this.#entries.get(slot);
    if (!entry) return;
    const link = this.#links.get(entry.id);
    if (link?.target === entry) this.#flushLink(link);
    this.#entries.delete(slot);
    const key = senderKey(entry.id, entry.epoch);
    if (this.#slots.get(key) === slot) this.#slots.delete(key);
  }

  isRetired(slot: Slot): boolean {
    return !this.#entries.has(slot);
  }

  /** The live entry that a trunk datagram's sender is. */
  slotOf(id: number, epoch: bigint): Slot | undefined {
    return this.#slots.get(senderKey(id, epoch));
  }

  /** Puts a client's datagram on its way. `copy` marks one that is not a further received datagram. */
  forward(slot: Slot, path: Buffer, payload: Buffer, copy = false): void {
    const entry = this.#entries.get(slot)!;
    const link = this.#linkTo(entry);
    const bytes = frameBytes(FRAME_KIND.data, DIRECTION.up, path, payload);
    if (link.bytes + bytes > TRUNK_MAX_BYTES || link.target !== entry) this.#flushLink(link);
    if (!link.target) {
      link.target = entry;
      link.writer.targetEpoch = Number(entry.epoch & LOW_32_BITS);
      this.#open.add(link);
      this.#flushing ??= setImmediate(() => this.flush());
    }
    link.writer.append(FRAME_KIND.data, path, payload);
    link.bytes += bytes;
    if (!copy) link.counted += 1;
  }

  /** Sends everything that has been gathered. */
  flush(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    for (const link of this.#open) this.#flushLink(link);
  }

  #linkTo(entry: TransceiverEntry): Link {
    const known = this.#links.get(entry.id);
    if (known) return known;
    const { cluster, senderId, senderEpoch, signingKeys } = this.#options;
    const writer = new TrunkWriter({
      direction: DIRECTION.up,
      cluster,
      senderId,
      targetId: entry.id,
      targetEpoch: Number(entry.epoch & LOW_32_BITS),
      senderEpoch,
      keys: signingKeys,
    });
    const link: Link = { writer, target: undefined, bytes: EMPTY_DATAGRAM_BYTES, counted: 0 };
    this.#links.set(entry.id, link);
    return link;
  }

  #flushLink(link: Link): void {
    const { target, counted } = link;
    if (!target) return;
    this.#open.delete(link);
    link.target = undefined;
    link.bytes = EMPTY_DATAGRAM_BYTES;
    link.counted = 0;
    const { counters, send } = this.#options;
    const done = (error: Error | null) => {
      counters[error ? WORKER_COUNTER.up_drop_send : WORKER_COUNTER.up_forwarded]! += counted;
    };
    // It is one datagram: frames that do not fit together were flushed apart, so that each send's fate is known.
    for (const datagram of link.writer.flush()) send(datagram, target.port, target.address, done);
  }
}

const senderKey = (id: number, epoch: bigint): string => `${id}@${epoch}`;
