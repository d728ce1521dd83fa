/**
 * What a caller says, decoded for a backend: in order, concealed where packets are lost, filled with silence where none
 * were sent. It decodes one m-line, the first that brings Opus. Nothing that a client sends makes it throw.
 */
import type { AudioFrame, MediaFrame } from "../backends/backend.ts";
import { DECODE_BURST_MS, DECODE_LEAST_MS, DECODE_RATE, MAX_CONCEALED, MAX_SILENCE_MS } from "../limits.ts";
import type { Opus } from "./opus.ts";
import { opusMs } from "./packet-duration.ts";
import { Reorder } from "./reorder.ts";

export interface AudioInHost {
  /** Whether this packet is one of Opus. */
  isOpus(frame: MediaFrame): boolean;
  audio(frame: AudioFrame): void;
  /** A packet that is not decoded. */
  dropped(why: "codec" | "malformed" | "late" | "duplicate" | "flood"): void;
}

/** Opus' RTP clock is always 48 kHz (RFC 7587, section 4.1). */
const TICKS_PER_MS = 48;
const SILENCE_FRAME_MS = 20;
/** A jump in time that is no pause but a sender whose clock has begun anew. */
const MAX_PAUSE_MS = 60_000;

export class AudioIn {
  readonly #opus: Opus;
  readonly #host: AudioInHost;
  readonly #nowMs: () => number;
  readonly #reorder = new Reorder<MediaFrame>();
  readonly #emit = (frame: MediaFrame, lost: number) => this.#take(frame, lost);
  #line: string | undefined;
  /** The timestamp that follows on what has been given out. */
  #expected: number | undefined;
  #packetMs = SILENCE_FRAME_MS;
  #creditMs = DECODE_BURST_MS;
  #creditAtMs: number;

  constructor(opus: Opus, nowMs: () => number, host: AudioInHost) {
    this.#opus = opus;
    this.#host = host;
    this.#nowMs = nowMs;
    this.#creditAtMs = nowMs();
  }

  frame(frame: MediaFrame): void {
    const refusal = this.#refusal(frame);
    if (refusal !== undefined) this.#host.dropped(refusal);
    else {
      const arrival = this.#reorder.push(frame, this.#emit);
      if (arrival !== "taken") this.#host.dropped(arrival);
    }
  }

  #refusal(frame: MediaFrame): "codec" | "malformed" | "flood" | undefined {
    if (!this.#host.isOpus(frame)) return "codec";
    const ms = opusMs(frame.payload);
    if (ms === undefined) return "malformed";
    this.#line ??= frame.line;
    if (frame.line !== this.#line) return "codec";
    return this.#pays(ms) ? undefined : "flood";
  }

  #take(frame: MediaFrame, lost: number): void {
    if (lost > 0) this.#conceal(frame, lost);
    this.#fill(frame);
    this.#expected = frame.timestamp;
    try {
      const samples = this.#opus.decode(frame.payload);
      this.#packetMs = (samples.length * 1000) / this.#opus.sampleRate;
      this.#give(samples, "received", frame);
    } catch {
      this.#host.dropped("malformed");
      this.#give(this.#opus.conceal(this.#packetMs), "concealed");
    }
  }

  /** The last of several lost packets may be repeated in the one that has come. */
  #conceal(next: MediaFrame, lost: number): void {
    const concealed = Math.min(lost, MAX_CONCEALED);
    for (let index = 1; index <= concealed; index++) {
      if (this.#missingMs(next) < this.#packetMs) return;
      const samples = index < concealed ? this.#opus.conceal(this.#packetMs) : this.#recover(next);
      this.#give(samples, "concealed");
    }
  }

  #recover(next: MediaFrame): Int16Array {
    try {
      return this.#opus.recover(next.payload, this.#packetMs);
    } catch {
      return this.#opus.conceal(this.#packetMs);
    }
  }

  /** Whoever listens for the end of speech has to hear the time pass, also if the client sends nothing (DTX). */
  #fill(next: MediaFrame): void {
    const missingMs = this.#missingMs(next);
    if (missingMs > MAX_PAUSE_MS) return;
    for (let left = Math.min(missingMs, MAX_SILENCE_MS); left >= SILENCE_FRAME_MS; left -= SILENCE_FRAME_MS) {
      this.#give(this.#opus.silence(SILENCE_FRAME_MS), "silence");
    }
  }

  /** Between what has been given out and `next`; 0 if its clock went back. */
  #missingMs(next: MediaFrame): number {
    const ticks = (next.timestamp - (this.#expected ?? next.timestamp)) | 0;
    return Math.max(0, ticks) / TICKS_PER_MS;
  }

  #give(samples: Int16Array, origin: AudioFrame["origin"], { level }: Pick<MediaFrame, "level"> = {}): void {
    const timestamp = this.#expected ?? 0;
    const ms = (samples.length * 1000) / this.#opus.sampleRate;
    this.#expected = (timestamp + ms * TICKS_PER_MS) >>> 0;
    this.#host.audio({ line: this.#line!, timestamp, samples, origin, ...(level && { level }) });
  }

  /** Decoding is the one thing that a packet costs much for. */
  #pays(ms: number): boolean {
    const nowMs = this.#nowMs();
    const earnedMs = (nowMs - this.#creditAtMs) * DECODE_RATE;
    this.#creditMs = Math.min(DECODE_BURST_MS, this.#creditMs + earnedMs);
    this.#creditAtMs = nowMs;
    const costMs = Math.max(ms, DECODE_LEAST_MS);
    if (this.#creditMs < costMs) return false;
    this.#creditMs -= costMs;
    return true;
  }
}
