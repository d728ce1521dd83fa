/**
 * The Opus encoder and decoder of one call: libopus, compiled to WebAssembly. Its memory is not the garbage collector's
 * to free, so whoever opens one has to close it. It decodes to mono, whatever the client sends.
 */
import {
  Application,
  createDecoder,
  createEncoder,
  loadLibopus,
  type OpusDecoderHandle,
  type OpusEncoderHandle,
} from "libopus-wasm";
import { OPUS_BITRATE, OPUS_COMPLEXITY, OPUS_EXPECTED_LOSS_PERCENT } from "../limits.ts";

export type SampleRate = 24_000 | 48_000;

export class Opus {
  readonly sampleRate: SampleRate;
  readonly #encoder: OpusEncoderHandle;
  readonly #decoder: OpusDecoderHandle;

  private constructor(sampleRate: SampleRate, encoder: OpusEncoderHandle, decoder: OpusDecoderHandle) {
    this.sampleRate = sampleRate;
    this.#encoder = encoder;
    this.#decoder = decoder;
  }

  /** Loads the library, so that the first call does not wait for it. */
  static async prepare(): Promise<void> {
    await loadLibopus();
  }

  static async open(sampleRate: SampleRate): Promise<Opus> {
    const format = { sampleRate, channels: 1 } as const;
    const encoder = await createEncoder({
      ...format,
      application: Application.Voip,
      bitrate: OPUS_BITRATE,
      complexity: OPUS_COMPLEXITY,
      fec: true,
      packetLossPercent: OPUS_EXPECTED_LOSS_PERCENT,
    });
    return new Opus(sampleRate, encoder, await createDecoder(format));
  }

  /** `pcm`: 20 ms, as bytes. */
  encode(pcm: Uint8Array): Buffer {
    const { buffer, byteOffset, byteLength } = this.#encoder.encode(pcm);
    return Buffer.from(buffer, byteOffset, byteLength);
  }

  /** Throws for a packet that is malformed. */
  decode(packet: Uint8Array): Int16Array {
    return this.#decoder.decode(packet);
  }

  /** What a lost packet may have sounded like. */
  conceal(ms: number): Int16Array {
    return this.#decoder.decode(null, { frameSize: this.#samples(ms) });
  }

  /** The packet before `packet`, which was lost, from the copy in it if there is one; else concealed. */
  recover(packet: Uint8Array, ms: number): Int16Array {
    return this.#decoder.decode(packet, { decodeFec: true, frameSize: this.#samples(ms) });
  }

  silence(ms: number): Int16Array {
    return new Int16Array(this.#samples(ms));
  }

  close(): void {
    this.#encoder.free();
    this.#decoder.free();
  }

  #samples(ms: number): number {
    return (ms * this.sampleRate) / 1000;
  }
}
