/**
 * The backend that gives each call a connection to a service of your choice, in the shape of the Realtime API's events:
 * the caller's audio goes there, what the service says is played, and everything else passes between the service and the
 * client's data channel. When the caller begins to speak, or the client cancels, what is queued is dropped at once.
 */
import type { TransceiverCounters } from "../../counters.ts";
import { MAX_CLIENT_EVENT_CHARS, MAX_HELD_EVENTS, type ServiceTiming } from "../../limits.ts";
import type {
  AudioFormat,
  AudioFrame,
  Backend,
  BackendCall,
  BackendSession,
  DataChannel,
  MediaFrame,
} from "../backend.ts";
import {
  appendEvent,
  isAudioDelta,
  playbackEvent,
  type RealtimeEvent,
  readAudioDelta,
  readEvent,
  saidInText,
  sessionUpdateEvent,
  truncateEvent,
} from "./events.ts";
import { Playback } from "./playback.ts";
import { ServiceSocket } from "./service-socket.ts";

export interface WebsocketBackendOptions {
  /** ws: or wss: */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly audio: AudioFormat;
  /** What the service's session is to be, beyond the audio formats. */
  readonly session?: Readonly<Record<string, unknown>>;
  readonly timing?: ServiceTiming;
}

export function websocketBackend(options: WebsocketBackendOptions, counters: TransceiverCounters): Backend {
  return {
    name: "websocket",
    audio: options.audio,
    open: (call) => new RealtimeSession(call, options, counters),
  };
}

class RealtimeSession implements BackendSession {
  readonly #call: BackendCall;
  readonly #options: WebsocketBackendOptions;
  readonly #counters: TransceiverCounters;
  readonly #service: ServiceSocket;
  readonly #playback = new Playback();
  /** Open ones; events go to the first. */
  readonly #channels: number[] = [];
  /** Events for the client that came before its channel. */
  readonly #early: string[] = [];
  #isPlaying = false;

  constructor(call: BackendCall, options: WebsocketBackendOptions, counters: TransceiverCounters) {
    this.#call = call;
    this.#options = options;
    this.#counters = counters;
    const { url, headers, timing } = options;
    this.#service = new ServiceSocket({
      url,
      headers,
      counters,
      ...(timing && { timing }),
      host: {
        opened: (isAgain) => {
          // The new session has none of the items of the old.
          if (isAgain) this.#playback.forget();
          this.#service.send(sessionUpdateEvent(options.session, options.audio));
        },
        event: (text) => this.#fromService(text),
        failed: (error) => call.hangUp(error),
      },
    });
  }

  audio({ samples }: AudioFrame): void {
    this.#service.sendAudio(appendEvent(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength)));
  }

  frame({ kind, payload }: MediaFrame): void {
    if (kind === "audio" && this.#options.audio === "packets") this.#service.sendAudio(appendEvent(payload));
  }

  audioPlayed(): void {
    if (!this.#isPlaying) return;
    this.#isPlaying = false;
    this.#toClient(playbackEvent("stopped", this.#playback.response));
  }

  channelOpened({ id }: DataChannel): void {
    this.#channels.push(id);
    for (const event of this.#early.splice(0)) this.#toClient(event);
  }

  channelClosed({ id }: DataChannel): void {
    this.#channels.splice(this.#channels.indexOf(id), 1);
  }

  message({ id }: DataChannel, data: string | Buffer): void {
    if (typeof data !== "string") {
      // No Realtime event is binary; a page can measure the round trip with these.
      this.#call.sendMessage(id, data);
    } else if (data.length > MAX_CLIENT_EVENT_CHARS) this.#counters.count.service_drop_client_event++;
    else this.#fromClient(data, readEvent(data));
  }

  ended(): void {
    this.#service.close();
  }

  #fromClient(text: string, event: RealtimeEvent | undefined): void {
    if (event === undefined) {
      for (const said of saidInText(text)) this.#service.send(said);
      return;
    }
    if (event.type === "response.cancel" || event.type === "output_audio_buffer.clear") this.#interrupt();
    // The service does not know of our buffer.
    if (event.type !== "output_audio_buffer.clear") this.#service.send(text);
  }

  #fromService(text: string): void {
    const event = readEvent(text);
    if (event === undefined) {
      this.#counters.count.service_drop_event++;
    } else if (isAudioDelta(event)) {
      this.#play(event);
    } else {
      if (event.type === "input_audio_buffer.speech_started") this.#interrupt();
      this.#toClient(text);
    }
  }

  #play(event: RealtimeEvent): void {
    const spoken = readAudioDelta(event);
    if (spoken === undefined) {
      this.#counters.count.service_drop_event++;
      return;
    }
    if (!this.#playback.takes(spoken)) return;
    const { audio } = this.#call;
    this.#playback.write(spoken, audio.playedMs + audio.queuedMs, audio.playedMs);
    audio.write(spoken.audio);
    if (this.#isPlaying || audio.queuedMs === 0) return;
    this.#isPlaying = true;
    this.#toClient(playbackEvent("started", spoken.response));
  }

  /** Silence at once; the service is told how much of what it said was heard. */
  #interrupt(): void {
    const { audio } = this.#call;
    const { response } = this.#playback;
    const droppedMs = audio.flush();
    const cut = this.#playback.cut(audio.playedMs);
    if (droppedMs > 0) {
      for (const { spoken, heardMs } of cut) {
        if (spoken.item !== "") this.#service.send(truncateEvent(spoken, heardMs));
      }
    }
    if (!this.#isPlaying) return;
    this.#isPlaying = false;
    this.#toClient(playbackEvent("cleared", response));
  }

  #toClient(event: string): void {
    const [channel] = this.#channels;
    if (channel !== undefined) this.#call.sendMessage(channel, event);
    else if (this.#early.length < MAX_HELD_EVENTS) this.#early.push(event);
  }
}
