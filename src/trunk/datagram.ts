/**
 * The trunk datagram of docs/trunk-protocol.md: packing frames into tagged datagrams, and deciding which datagrams to
 * believe. Pure: it takes and returns bytes. It never throws on what the network brings.
 */
import type { DerivedKeys, KeyRing } from "../keys/key-ring.ts";
import { DIRECTION, type Direction, FRAME_KIND, frameBytes, readFrames, writeFrame } from "./frame.ts";
import { ReplayWindow } from "./replay-window.ts";
import { siphash24 } from "./siphash.ts";

export { DIRECTION, type Direction } from "./frame.ts";

const TRUNK_VERSION = 1;
export const TRUNK_HEADER_BYTES = 32;
export const TRUNK_TAG_BYTES = 8;
/** Of UDP payload, where several frames share a datagram: fits under common overlays with an MTU of 1,450. */
export const TRUNK_MAX_BYTES = 1400;
/** The largest UDP payload over IPv4: 65,535 less 20 bytes of IP header and 8 of UDP. */
export const TRUNK_LARGEST_BYTES = 65_507;
const LEAST_BYTES = TRUNK_HEADER_BYTES + 4 + TRUNK_TAG_BYTES;

/** Datagrams are cut from slabs of this size, about 23 full ones, so that one allocation serves many. */
const SLAB_BYTES = 32_768;
/** Senders whose windows a reader keeps: 16 times the worker ports of one relay. A forgotten one could be replayed. */
export const TRUNK_MAX_SENDERS = 4_096;

/** The key's tag goes by direction, so that a datagram cannot be sent back to where it came from. */
function trunkKey(keys: DerivedKeys, direction: Direction): Buffer {
  return direction === DIRECTION.up ? keys.trunkUp : keys.trunkDown;
}

export interface TrunkWriterOptions {
  readonly direction: Direction;
  readonly cluster: number;
  readonly senderId: number;
  readonly targetId: number;
  /** u32: low half of the target's epoch, or 0 while it is not known. */
  readonly targetEpoch: number;
  readonly senderEpoch: bigint;
  /** The keys that sign; asked for each datagram. */
  readonly keys: () => DerivedKeys;
  /** A sequence that no writer of this sender, epoch and target has reached before. Absent where this is the first one. */
  readonly lastSequence?: number;
}

/** Packs frames for one target. One sender needs one writer for each target, for as long as its epoch lasts. */
export class TrunkWriter {
  /** Holds for the datagrams that are still open. */
  targetEpoch: number;
  readonly #options: TrunkWriterOptions;
  readonly #epochHigh: number;
  readonly #epochLow: number;
  #sequence: number;
  #slab = Buffer.alloc(0);
  /** The open datagram: #slab from #start to before #end. Empty when both are equal. */
  #start = 0;
  #end = 0;
  #sealed: Buffer[] = [];

  constructor(options: TrunkWriterOptions) {
    this.#options = options;
    this.targetEpoch = options.targetEpoch;
    this.#sequence = options.lastSequence ?? 0;
    this.#epochHigh = Number(BigInt.asUintN(32, options.senderEpoch >> 32n));
    this.#epochLow = Number(BigInt.asUintN(32, options.senderEpoch));
  }

  /**
   * Adds one frame, copying `path` and `payload`. False, and nothing added, if the protocol has no such frame or it is
   * too large for any datagram: a client may send one that is.
   */
  append(kind: number, path: Buffer | undefined, payload: Buffer): boolean {
    const bytes = frameBytes(kind, this.#options.direction, path, payload);
    const alone = TRUNK_HEADER_BYTES + bytes + TRUNK_TAG_BYTES;
    if (bytes === 0 || alone > TRUNK_LARGEST_BYTES) return false;
    if (this.#end - this.#start + bytes + TRUNK_TAG_BYTES > TRUNK_MAX_BYTES) this.#seal();
    if (this.#start === this.#end) this.#open(alone);
    this.#end = writeFrame(this.#slab, this.#end, kind, path, payload);
    return true;
  }

  /** The datagrams that hold what was appended since the last flush, oldest first. They are the caller's to keep. */
  flush(): readonly Buffer[] {
    this.#seal();
    const sealed = this.#sealed;
    this.#sealed = [];
    return sealed;
  }

  #open(bytes: number): void {
    const room = Math.max(bytes, TRUNK_MAX_BYTES);
    if (this.#slab.length - this.#start < room) {
      // Never used again after its end is reached: what was cut from it may still be on its way into a socket.
      this.#slab = Buffer.allocUnsafeSlow(Math.max(room, SLAB_BYTES));
      this.#start = 0;
    }
    this.#end = this.#start + TRUNK_HEADER_BYTES;
  }

  #seal(): void {
    if (this.#start === this.#end) return;
    const { direction, cluster, senderId, targetId } = this.#options;
    const keys = this.#options.keys();
    const slab = this.#slab;
    const start = this.#start;
    this.#sequence += 1;
    slab[start] = (TRUNK_VERSION << 4) | direction;
    slab[start + 1] = keys.id;
    slab.writeUInt16BE(cluster, start + 2);
    slab.writeUInt32BE(senderId, start + 4);
    slab.writeUInt32BE(targetId, start + 8);
    slab.writeUInt32BE(this.targetEpoch, start + 12);
    slab.writeUInt32BE(this.#epochHigh, start + 16);
    slab.writeUInt32BE(this.#epochLow, start + 20);
    slab.writeUInt32BE(Math.floor(this.#sequence / 0x1_0000_0000), start + 24);
    slab.writeUInt32BE(this.#sequence >>> 0, start + 28);
    siphash24(trunkKey(keys, direction), slab, start, this.#end, slab, this.#end);
    this.#end += TRUNK_TAG_BYTES;
    this.#sealed.push(slab.subarray(start, this.#end));
    this.#start = this.#end;
  }
}

/** Why a datagram was dropped: the check that failed first. */
export type TrunkReject = "malformed" | "key" | "tag" | "target" | "sender" | "replay";

export interface TrunkHeader {
  readonly keyId: number;
  readonly senderId: number;
  readonly senderEpoch: bigint;
  readonly targetEpoch: number;
  readonly sequence: bigint;
  /** Frames are from here to before `framesEnd`. */
  readonly framesStart: number;
  readonly framesEnd: number;
}

export interface TrunkReaderOptions {
  /** The direction of the datagrams that it takes. */
  readonly direction: Direction;
  readonly cluster: number;
  readonly targetId: number;
  /** u32: low half of our own epoch. */
  readonly targetEpoch: number;
  readonly keys: () => KeyRing;
  /** Asked for each datagram whose tag and target are right. */
  readonly acceptSender: (id: number, epoch: bigint) => boolean;
  /** Whether datagrams with target epoch 0 are taken, if they hold nothing but pings. */
  readonly discovery?: boolean;
}

interface Sender {
  readonly epochHigh: number;
  readonly epochLow: number;
  readonly epoch: bigint;
  readonly window: ReplayWindow;
}

export class TrunkReader {
  readonly #options: TrunkReaderOptions;
  /** By sender id, the least recently heard first. */
  readonly #senders = new Map<number, Sender>();
  readonly #tag = Buffer.alloc(TRUNK_TAG_BYTES);
  #latest = -1;

  constructor(options: TrunkReaderOptions) {
    this.#options = options;
  }

  /** Checks in the order of docs/trunk-protocol.md. An opened datagram will not open a second time. */
  open(datagram: Buffer): TrunkReject | TrunkHeader {
    const { direction, cluster, targetId } = this.#options;
    if (datagram.length < LEAST_BYTES || datagram[0] !== ((TRUNK_VERSION << 4) | direction)) return "malformed";
    const keys = this.#options.keys().get(datagram[1]!);
    if (keys === undefined) return "key";
    const framesEnd = datagram.length - TRUNK_TAG_BYTES;
    if (!this.#tagMatches(datagram, framesEnd, trunkKey(keys, direction))) return "tag";
    if (datagram.readUInt16BE(2) !== cluster || datagram.readUInt32BE(8) !== targetId) return "target";
    const targetEpoch = datagram.readUInt32BE(12);
    if (targetEpoch !== this.#options.targetEpoch && !this.#isDiscovery(datagram, framesEnd, targetEpoch)) {
      return "target";
    }
    const senderId = datagram.readUInt32BE(4);
    const sender = this.#sender(senderId, datagram.readUInt32BE(16), datagram.readUInt32BE(20));
    if (sender === undefined) return "sender";
    if (!sender.window.accept(datagram.readUInt32BE(24), datagram.readUInt32BE(28))) return "replay";
    return {
      keyId: keys.id,
      senderId,
      senderEpoch: sender.epoch,
      targetEpoch,
      sequence: datagram.readBigUInt64BE(24),
      framesStart: TRUNK_HEADER_BYTES,
      framesEnd,
    };
  }

  #tagMatches(datagram: Buffer, tagStart: number, key: Buffer): boolean {
    siphash24(key, datagram, 0, tagStart, this.#tag, 0);
    let difference = 0;
    for (let i = 0; i < TRUNK_TAG_BYTES; i++) difference |= datagram[tagStart + i]! ^ this.#tag[i]!;
    return difference === 0;
  }

  #isDiscovery(datagram: Buffer, framesEnd: number, targetEpoch: number): boolean {
    if (this.#options.discovery !== true || targetEpoch !== 0) return false;
    let onlyPings = true;
    const readable = readFrames(datagram, TRUNK_HEADER_BYTES, framesEnd, this.#options.direction, (kind) => {
      onlyPings &&= kind === FRAME_KIND.ping;
    });
    return readable && onlyPings;
  }

  /** The sender with its window, or undefined if it is not accepted, or if it has been followed by a newer epoch. */
  #sender(id: number, epochHigh: number, epochLow: number): Sender | undefined {
    const known = this.#senders.get(id);
    if (known !== undefined && known.epochHigh === epochHigh && known.epochLow === epochLow) {
      if (!this.#options.acceptSender(id, known.epoch)) return undefined;
      this.#touch(id, known);
      return known;
    }
    const epoch = (BigInt(epochHigh) << 32n) | BigInt(epochLow);
    if (!this.#options.acceptSender(id, epoch) || (known !== undefined && epoch < known.epoch)) return undefined;
    const sender = { epochHigh, epochLow, epoch, window: new ReplayWindow() };
    this.#touch(id, sender);
    if (this.#senders.size > TRUNK_MAX_SENDERS) {
      for (const oldest of this.#senders.keys()) {
        this.#senders.delete(oldest);
        break;
      }
    }
    return sender;
  }

  /** Moves it behind all others, unless it is there already. */
  #touch(id: number, sender: Sender): void {
    if (id === this.#latest && this.#senders.get(id) === sender) return;
    this.#senders.delete(id);
    this.#senders.set(id, sender);
    this.#latest = id;
  }
}
