/**
 * What a backend has written and the caller has not heard yet. Two kinds: samples, encoded only as each packet's time
 * comes, so that what an interruption drops has cost nothing; and packets, which are kept as they are. Pure.
 */
import type { MediaCodec } from "../backends/backend.ts";
import type { Opus } from "./opus.ts";
import { packetMs } from "./packet-duration.ts";

/** One packet for the wire. */
export interface OutPacket {
  readonly payload: Buffer;
  /** How long it sounds. */
  readonly ms: number;
  /** How much of that was written; the rest is padding. */
  readonly writtenMs: number;
}

export interface OutQueue {
  readonly queuedMs: number;
  /** Adds what fits into so much time. Returns how much that was, or undefined for what is malformed. */
  push(audio: Uint8Array, roomMs: number): { readonly takenMs: number; readonly isWhole: boolean } | undefined;
  /** The next packet, or undefined if nothing is queued. */
  next(): OutPacket | undefined;
  /** A packet in which nothing is heard, or undefined if there is none in this codec. */
  silence(): OutPacket | undefined;
  clear(): void;
}

const PACKET_MS = 20;

export class PcmQueue implements OutQueue {
  readonly #opus: Opus;
  readonly #bytesPerMs: number;
  /** The first may be used up in part. */
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(opus: Opus) {
    this.#opus = opus;
    this.#bytesPerMs = (2 * opus.sampleRate) / 1000;
  }

  get queuedMs(): number {
    return this.#bytes / this.#bytesPerMs;
  }

  push(pcm: Uint8Array, roomMs: number): { takenMs: number; isWhole: boolean } {
    const taken = Math.min(pcm.length, Math.floor(roomMs) * this.#bytesPerMs);
    if (taken > 0) {
      // A copy: whoever wrote it may use its memory again.
      this.#chunks.push(pcm.slice(0, taken));
      this.#bytes += taken;
    }
    return { takenMs: taken / this.#bytesPerMs, isWhole: taken === pcm.length };
  }

  next(): OutPacket | undefined {
    if (this.#bytes === 0) return undefined;
    // The end of what was written is filled up with silence.
    const pcm = new Uint8Array(PACKET_MS * this.#bytesPerMs);
    let filled = 0;
    while (filled < pcm.length && this.#chunks.length > 0) {
      const first = this.#chunks[0]!;
      const part = first.subarray(0, pcm.length - filled);
      pcm.set(part, filled);
      filled += part.length;
      if (part.length === first.length) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(part.length);
    }
    this.#bytes -= filled;
    return { payload: this.#opus.encode(pcm), ms: PACKET_MS, writtenMs: filled / this.#bytesPerMs };
  }

  silence(): OutPacket {
    const payload = this.#opus.encode(new Uint8Array(PACKET_MS * this.#bytesPerMs));
    return { payload, ms: PACKET_MS, writtenMs: 0 };
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#bytes = 0;
  }
}

/** 20 ms of digital silence in Opus' CELT mode; every decoder takes it after every other packet. */
const OPUS_SILENCE = Buffer.from([0xf8, 0xff, 0xfe]);

export class PacketQueue implements OutQueue {
  readonly #codec: () => MediaCodec | undefined;
  readonly #packets: OutPacket[] = [];
  #ms = 0;

  /** `codec`: what the packets are of. */
  constructor(codec: () => MediaCodec | undefined) {
    this.#codec = codec;
  }

  get queuedMs(): number {
    return this.#ms;
  }

  push(packet: Uint8Array, roomMs: number): { takenMs: number; isWhole: boolean } | undefined {
    const codec = this.#codec();
    const ms = codec && packetMs(codec, packet);
    if (ms === undefined) return undefined;
    if (ms > roomMs) return { takenMs: 0, isWhole: false };
    this.#packets.push({ payload: Buffer.from(packet), ms, writtenMs: ms });
    this.#ms += ms;
    return { takenMs: ms, isWhole: true };
  }

  next(): OutPacket | undefined {
    const packet = this.#packets.shift();
    this.#ms -= packet?.ms ?? 0;
    return packet;
  }

  silence(): OutPacket | undefined {
    if (this.#codec()?.mimeType !== "audio/opus") return undefined;
    return { payload: OPUS_SILENCE, ms: PACKET_MS, writtenMs: 0 };
  }

  clear(): void {
    this.#packets.length = 0;
    this.#ms = 0;
  }
}
