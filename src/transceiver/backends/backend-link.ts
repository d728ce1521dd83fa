/**
 * Between one call and its backend: decodes and paces audio where the backend asks for samples, and keeps what the backend
 * does wrong inside. What it throws or rejects with ends the call; while it is slow, media is dropped, never queued
 * without bound. Holds the codec of the call, so it has to be told when the call is over.
 */
import { AudioIn } from "../audio/audio-in.ts";
import { AudioOut } from "../audio/audio-out.ts";
import { Opus } from "../audio/opus.ts";
import { PacketQueue, PcmQueue } from "../audio/out-queue.ts";
import type { Ticker } from "../audio/ticker.ts";
import type { CounterName } from "../counters.ts";
import { BACKEND_OPEN_TIMEOUT_MS, MAX_EARLY_EVENTS, MAX_PENDING_HANDLERS } from "../limits.ts";
import type {
  AudioFrame,
  AudioOut as AudioOutFace,
  Backend,
  BackendCall,
  BackendSession,
  DataChannel,
  MediaCodec,
  MediaFrame,
  MediaLine,
} from "./backend.ts";

export interface BackendLinkHost {
  readonly id: string;
  readonly count: Record<CounterName, number>;
  readonly ticker: Ticker;
  /** Bound of the queue of audio to play. */
  readonly maxQueuedMs: number;
  remote(): string | undefined;
  lines(): readonly MediaLine[];
  sendFrame(frame: MediaFrame): void;
  sendMessage(channel: number, data: string | Buffer): boolean;
  requestKeyframe(line: string): void;
  hangUp(): void;
  /** The backend, or its codec, has failed: this call has to end. */
  failed(error: unknown): void;
}

type Tell = (session: BackendSession) => void | Promise<void>;

const OPUS = "audio/opus";

export class BackendLink {
  readonly #backend: Backend;
  readonly #host: BackendLinkHost;
  readonly #abort = new AbortController();
  #session: BackendSession | undefined;
  /** Messages that came before `open` has resolved. */
  #early: Tell[] = [];
  #openTimer: NodeJS.Timeout | undefined;
  #opus: Opus | undefined;
  #audioIn: AudioIn | undefined;
  #audioOut: AudioOut | undefined;
  #pending = 0;
  #isOver = false;
  #hasFailed = false;

  constructor(backend: Backend, host: BackendLinkHost) {
    this.#backend = backend;
    this.#host = host;
    this.#open().catch((error) => this.#failed(error));
  }

  frame(frame: MediaFrame): void {
    const session = this.#session;
    if (session === undefined) return;
    if (this.#pending >= MAX_PENDING_HANDLERS) this.#host.count.backend_drop_busy++;
    else if (this.#audioIn !== undefined && frame.kind === "audio") this.#decode(this.#audioIn, frame);
    else this.#tell((told) => told.frame?.(frame));
  }

  channelOpened(channel: DataChannel): void {
    this.#tellSoon((told) => told.channelOpened?.(channel));
  }

  channelClosed(channel: DataChannel): void {
    this.#tellSoon((told) => told.channelClosed?.(channel));
  }

  message(channel: DataChannel, data: string | Buffer): void {
    this.#tellSoon((told) => told.message?.(channel, data));
  }

  keyframeRequested(line: string): void {
    this.#tell((told) => told.keyframeRequested?.(line));
  }

  /** The call is over: frees everything, and tells the backend as the last. */
  ended(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#openTimer);
    this.#audioOut?.close();
    this.#opus?.close();
    this.#abort.abort(reason);
    this.#tell((told) => told.ended?.(reason));
    this.#session = undefined;
  }

  async #open(): Promise<void> {
    const { audio = "packets" } = this.#backend;
    this.#openTimer = setTimeout(() => {
      this.#failed(new Error(`the backend did not open the call within ${BACKEND_OPEN_TIMEOUT_MS} ms`));
    }, BACKEND_OPEN_TIMEOUT_MS);
    if (audio !== "packets") {
      const opus = await Opus.open(audio === "pcm16-24000" ? 24_000 : 48_000);
      if (this.#isOver) return opus.close();
      this.#opus = opus;
    }
    this.#audioOut = this.#makeAudioOut(this.#opus);
    const session = await this.#backend.open(this.#call(this.#audioOut));
    clearTimeout(this.#openTimer);
    if (this.#isOver) return session.ended?.(String(this.#abort.signal.reason));
    if (this.#opus !== undefined) this.#audioIn = this.#makeAudioIn(this.#opus);
    this.#session = session;
    for (const tell of this.#early.splice(0)) this.#tell(tell);
  }

  #call(audio: AudioOutFace): BackendCall {
    const host = this.#host;
    return {
      id: host.id,
      audio,
      signal: this.#abort.signal,
      get remote(): string | undefined {
        return host.remote();
      },
      get lines(): readonly MediaLine[] {
        return host.lines();
      },
      sendFrame: (frame) => host.sendFrame(frame),
      sendMessage: (channel, data) => host.sendMessage(channel, data),
      requestKeyframe: (line) => host.requestKeyframe(line),
      hangUp: (error) => (error === undefined ? host.hangUp() : this.#failed(error)),
    };
  }

  #makeAudioOut(opus: Opus | undefined): AudioOut {
    const { count, ticker, maxQueuedMs } = this.#host;
    const target = () => audioTarget(this.#host.lines(), opus === undefined ? undefined : OPUS);
    return new AudioOut({
      queue: opus === undefined ? new PacketQueue(() => target()?.codec) : new PcmQueue(opus),
      maxQueuedMs,
      ticker,
      host: {
        target,
        send: (frame) => {
          count.audio_out_sent++;
          this.#host.sendFrame(frame);
        },
        drained: () => this.#tell((told) => told.audioDrained?.()),
        played: () => this.#tell((told) => told.audioPlayed?.()),
        dropped: (why) => {
          count[`audio_out_drop_${why}`]++;
        },
        flushed: () => {
          count.audio_out_flushed++;
        },
        failed: (error) => this.#failed(error),
      },
    });
  }

  #makeAudioIn(opus: Opus): AudioIn {
    const { count, ticker, lines } = this.#host;
    let opusTypes = opusPayloadTypes(lines());
    return new AudioIn(opus, () => ticker.nowMs(), {
      isOpus: ({ payloadType }) => {
        // A later offer may have changed them.
        if (!opusTypes.has(payloadType)) opusTypes = opusPayloadTypes(lines());
        return opusTypes.has(payloadType);
      },
      audio: (frame: AudioFrame) => {
        count[`audio_in_${frame.origin}`]++;
        this.#tell((told) => told.audio?.(frame));
      },
      dropped: (why) => {
        count[`audio_in_drop_${why}`]++;
      },
    });
  }

  #decode(audioIn: AudioIn, frame: MediaFrame): void {
    try {
      audioIn.frame(frame);
    } catch (error) {
      // In the middle of several frames the backend may have ended the call, and with it the codec.
      if (!this.#isOver) this.#failed(error);
    }
  }

  #tellSoon(tell: Tell): void {
    if (this.#session !== undefined) this.#tell(tell);
    else if (this.#early.length < MAX_EARLY_EVENTS) this.#early.push(tell);
    else this.#host.count.backend_drop_busy++;
  }

  #tell(tell: Tell): void {
    const session = this.#session;
    if (session === undefined) return;
    try {
      const told = tell(session);
      // A handler may well be an arrow that gives some other value.
      if (typeof told !== "object") return;
      this.#pending++;
      Promise.resolve(told)
        .catch((error) => this.#failed(error))
        .finally(() => {
          this.#pending--;
        });
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#host.count.backend_failures++;
    this.#host.failed(error);
  }
}

/** The first audio line that the client takes media on, and its first codec, or that of the given type. */
function audioTarget(
  lines: readonly MediaLine[],
  mimeType: string | undefined,
): { line: string; codec: MediaCodec } | undefined {
  for (const { line, kind, sends, codecs } of lines) {
    const codec = codecs.find((one) => mimeType === undefined || one.mimeType === mimeType);
    if (kind === "audio" && sends && codec !== undefined) return { line, codec };
  }
  return undefined;
}

function opusPayloadTypes(lines: readonly MediaLine[]): ReadonlySet<number> {
  return new Set(
    lines.flatMap(({ codecs }) =>
      codecs.filter(({ mimeType }) => mimeType === OPUS).map(({ payloadType }) => payloadType),
    ),
  );
}
