/**
 * A backend's voice in one call, paced: what is written at any speed goes out as it is to be heard, 20 ms every 20 ms.
 *
 *   idle -> speaking -> waiting -> closing -> idle
 *
 * `speaking` while there is something queued; `waiting` a moment for more, because who writes in real time is sometimes
 * late; `closing` sends some silence, so that what the client's decoder goes on with is not the last syllable. After an
 * interruption it is `closing` at once. Timestamps follow the clock; a pause is a jump in them (RFC 3550, section 5.1).
 */
import { randomInt } from "node:crypto";
import type { AudioOut as AudioOutFace, MediaCodec, MediaFrame } from "../backends/backend.ts";
import { CLOSING_PACKETS, MAX_LATE_MS } from "../limits.ts";
import type { OutPacket, OutQueue } from "./out-queue.ts";
import type { Ticked, Ticker } from "./ticker.ts";

export interface AudioOutOptions {
  readonly queue: OutQueue;
  readonly maxQueuedMs: number;
  readonly ticker: Ticker;
  readonly host: AudioOutHost;
}

export interface AudioOutHost {
  /** Where audio goes: an m-line that sends, and its codec. Undefined if there is none. */
  target(): { readonly line: string; readonly codec: MediaCodec } | undefined;
  send(frame: MediaFrame): void;
  drained(): void;
  played(): void;
  /** Something that was written did not fit, was malformed, or could be heard by nobody. */
  dropped(why: "full" | "malformed" | "unheard"): void;
  flushed(): void;
  /** The encoder has failed. */
  failed(error: unknown): void;
}

export class AudioOut implements AudioOutFace, Ticked {
  readonly #queue: OutQueue;
  readonly #maxQueuedMs: number;
  readonly #ticker: Ticker;
  readonly #host: AudioOutHost;
  #target: ReturnType<AudioOutHost["target"]>;
  #state: "idle" | "speaking" | "waiting" | "closing" | "closed" = "idle";
  /** When the next packet is to be sent, by the ticker's clock. */
  #dueMs = Number.NEGATIVE_INFINITY;
  #sequence = randomInt(2 ** 16);
  #timestamp = randomInt(2 ** 32);
  #marker = true;
  #closingLeft = 0;
  #playedMs = 0;
  #isOwedDrained = false;

  constructor({ queue, maxQueuedMs, ticker, host }: AudioOutOptions) {
    this.#queue = queue;
    this.#maxQueuedMs = maxQueuedMs;
    this.#ticker = ticker;
    this.#host = host;
  }

  get queuedMs(): number {
    return this.#queue.queuedMs;
  }

  get playedMs(): number {
    return this.#playedMs;
  }

  write(audio: Int16Array | Uint8Array): boolean {
    if (this.#state === "closed") return false;
    const bytes =
      audio instanceof Int16Array ? new Uint8Array(audio.buffer, audio.byteOffset, audio.byteLength) : audio;
    if (this.#state === "idle") this.#target = this.#host.target();
    if (this.#target === undefined) {
      this.#host.dropped("unheard");
      return false;
    }
    const pushed = this.#queue.push(bytes, this.#maxQueuedMs - this.#queue.queuedMs);
    if (pushed === undefined) this.#host.dropped("malformed");
    else if (!pushed.isWhole) this.#host.dropped("full");
    if (this.#queue.queuedMs > 0) this.#speak();
    if (this.#queue.queuedMs <= this.#maxQueuedMs / 2) return true;
    this.#isOwedDrained = true;
    return false;
  }

  flush(): number {
    const droppedMs = this.#queue.queuedMs;
    this.#queue.clear();
    if (this.#state === "speaking" || this.#state === "waiting") {
      this.#close();
      this.#host.flushed();
    }
    return droppedMs;
  }

  /** The call is over. */
  close(): void {
    this.#queue.clear();
    this.#state = "closed";
    this.#ticker.remove(this);
  }

  tick(nowMs: number): boolean {
    try {
      this.#catchUp(nowMs);
      while (this.#dueMs <= nowMs && this.#state !== "idle" && this.#state !== "closed") {
        const packet = this.#nextPacket(nowMs);
        if (packet === undefined) break;
        this.#send(packet);
      }
      this.#payDrained();
    } catch (error) {
      this.close();
      this.#host.failed(error);
    }
    return this.#state !== "idle" && this.#state !== "closed";
  }

  #speak(): void {
    if (this.#state === "idle") {
      const nowMs = this.#ticker.nowMs();
      if (this.#dueMs === Number.NEGATIVE_INFINITY) this.#dueMs = nowMs;
      this.#catchUp(nowMs);
      this.#ticker.add(this);
    }
    this.#state = "speaking";
  }

  #close(): void {
    this.#state = "closing";
    this.#closingLeft = CLOSING_PACKETS;
  }

  /** A little late, what is due goes out at once and the client notices nothing. Much later, it is a pause. */
  #catchUp(nowMs: number): void {
    const lateMs = nowMs - this.#dueMs;
    if (lateMs <= MAX_LATE_MS) return;
    this.#timestamp = this.#later(lateMs);
    this.#dueMs = nowMs;
    this.#marker = true;
  }

  /** Undefined if there is nothing to send now. */
  #nextPacket(nowMs: number): OutPacket | undefined {
    const packet = this.#queue.next();
    if (packet !== undefined) return packet;
    if (this.#state === "speaking") {
      this.#state = "waiting";
      this.#host.played();
    }
    if (this.#state === "waiting" && nowMs - this.#dueMs >= MAX_LATE_MS / 2) this.#close();
    if (this.#state !== "closing") return undefined;
    const silence = this.#closingLeft-- > 0 ? this.#queue.silence() : undefined;
    if (silence === undefined) this.#state = "idle";
    return silence;
  }

  #send({ payload, ms, writtenMs }: OutPacket): void {
    const { line, codec } = this.#target!;
    const frame: MediaFrame = {
      line,
      kind: "audio",
      payloadType: codec.payloadType,
      sequence: this.#sequence,
      timestamp: this.#timestamp,
      marker: this.#marker,
      payload,
    };
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#timestamp = this.#later(ms);
    this.#marker = false;
    this.#dueMs += ms;
    this.#playedMs += writtenMs;
    this.#host.send(frame);
  }

  #payDrained(): void {
    if (!this.#isOwedDrained || this.#queue.queuedMs > this.#maxQueuedMs / 4) return;
    this.#isOwedDrained = false;
    this.#host.drained();
  }

  #later(ms: number): number {
    return (this.#timestamp + Math.round((ms * this.#target!.codec.clockRate) / 1000)) >>> 0;
  }
}
