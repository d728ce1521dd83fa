/**
 * One call's connection to its service: opened, kept alive, opened again after a loss, given up in the end. What waits
 * for it is bounded: of the caller's audio the oldest goes first. It reads no event, and logs neither address nor headers.
 *
 *   connecting -> open -> waiting -> connecting ... -> closed
 */
import { WebSocket } from "ws";
import { EarshotError } from "../../../earshot-error.ts";
import type { TransceiverCounters } from "../../counters.ts";
import {
  MAX_HELD_AUDIO_EVENTS,
  MAX_HELD_EVENTS,
  MAX_SERVICE_BUFFER_BYTES,
  MAX_SERVICE_EVENT_BYTES,
  SERVICE_TIMING,
  type ServiceTiming,
} from "../../limits.ts";

export interface ServiceSocketOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly counters: TransceiverCounters;
  readonly host: ServiceSocketHost;
  readonly timing?: ServiceTiming;
}

export interface ServiceSocketHost {
  /** Connected, for the first time or again: the service knows nothing of the call yet. */
  opened(isAgain: boolean): void;
  event(text: string): void;
  /** It cannot be reached, or takes no calls of ours. */
  failed(error: EarshotError): void;
}

/** RFC 6455, section 7.4.1: the connection broke; what was wrong is known from elsewhere. */
const NO_GOODBYE = 1006;

export type ServiceState = "connecting" | "open" | "waiting" | "closed";

export class ServiceSocket {
  readonly #options: ServiceSocketOptions;
  readonly #timing: ServiceTiming;
  readonly #count: TransceiverCounters["count"];
  #state: ServiceState = "closed";
  #socket: WebSocket | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** In a row, without a connection that lasted. */
  #failures = 0;
  #openedMs = 0;
  #wasOpen = false;
  #isAlive = true;
  #lastProblem = "the connection broke";
  readonly #heldAudio: string[] = [];
  readonly #held: string[] = [];

  constructor(options: ServiceSocketOptions) {
    this.#options = options;
    this.#timing = options.timing ?? SERVICE_TIMING;
    this.#count = options.counters.count;
    this.#connect();
  }

  /** An event that matters: until there is a connection some are kept. */
  send(event: string): void {
    if (this.#state !== "closed" && this.#held.length < MAX_HELD_EVENTS) this.#held.push(event);
    else this.#count.service_drop_event++;
    this.#sendHeld();
  }

  /** An event with the caller's audio: of these the oldest are dropped when the service does not keep up. */
  sendAudio(event: string): void {
    if (this.#state === "closed") return;
    this.#heldAudio.push(event);
    this.#sendHeld();
    if (this.#heldAudio.length <= MAX_HELD_AUDIO_EVENTS) return;
    this.#heldAudio.shift();
    this.#count.service_drop_audio++;
  }

  /** The call is over. */
  close(): void {
    this.#enter("closed");
    clearTimeout(this.#timer);
    this.#held.length = 0;
    this.#heldAudio.length = 0;
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket?.readyState === WebSocket.OPEN) socket.close(1000);
    else socket?.terminate();
    // A service that does not answer the close would hold the socket for 30 s.
    if (socket?.readyState === WebSocket.CLOSING) setTimeout(() => socket.terminate(), this.#timing.closeMs).unref();
  }

  #connect(): void {
    this.#enter("connecting");
    const { url, headers } = this.#options;
    const socket = new WebSocket(url, {
      headers,
      handshakeTimeout: this.#timing.connectMs,
      maxPayload: MAX_SERVICE_EVENT_BYTES,
      // Audio does not compress, and each context would take 300 KB.
      perMessageDeflate: false,
      followRedirects: false,
      skipUTF8Validation: false,
    });
    this.#socket = socket;
    // What a connection that was left behind still says is nobody's.
    const current = () => this.#socket === socket;
    socket.on("open", () => current() && this.#opened(socket));
    socket.on("pong", () => {
      this.#isAlive = true;
    });
    socket.on("message", (data, isBinary) => {
      this.#isAlive = true;
      if (!current()) return;
      if (isBinary) this.#count.service_drop_event++;
      else this.#options.host.event(String(data));
    });
    let isRefused = false;
    socket.on("unexpected-response", (_request, response) => {
      const status = response.statusCode ?? 0;
      isRefused = true;
      this.#lastProblem = `it answered ${status}`;
      // Where the service does not want us, asking again changes nothing.
      if (current() && status >= 400 && status < 500 && status !== 408 && status !== 429) this.#giveUp();
      else socket.terminate();
    });
    socket.on("error", (error) => {
      if (!isRefused) this.#lastProblem = error.message;
    });
    socket.on("close", (code) => {
      if (!current()) return;
      if (this.#state === "open" && code !== NO_GOODBYE) this.#lastProblem = `it closed the connection, code ${code}`;
      this.#lost();
    });
  }

  #opened(socket: WebSocket): void {
    this.#enter("open");
    this.#openedMs = performance.now();
    this.#count.service_connections++;
    this.#isAlive = true;
    this.#keepAlive(socket);
    const isAgain = this.#wasOpen;
    this.#wasOpen = true;
    const held = this.#held.splice(0);
    this.#options.host.opened(isAgain);
    this.#held.push(...held);
    this.#sendHeld();
  }

  #keepAlive(socket: WebSocket): void {
    this.#timer = setTimeout(() => {
      if (!this.#isAlive) {
        this.#lastProblem = "it fell silent";
        socket.terminate();
        return;
      }
      this.#isAlive = false;
      this.#sendHeld();
      socket.ping();
      this.#keepAlive(socket);
    }, this.#timing.pingMs);
  }

  #lost(): void {
    clearTimeout(this.#timer);
    const lastedMs = this.#state === "open" ? performance.now() - this.#openedMs : 0;
    this.#failures = lastedMs >= this.#timing.stableMs ? 1 : this.#failures + 1;
    if (this.#failures > this.#timing.attempts) this.#giveUp();
    else this.#waitAndConnect();
  }

  #waitAndConnect(): void {
    this.#enter("waiting");
    this.#count.service_retries++;
    const ceilingMs = Math.min(this.#timing.retryMaxMs, this.#timing.retryMs * 2 ** (this.#failures - 1));
    // Spread out, so that a service that comes back is not met by all calls at once.
    this.#timer = setTimeout(() => this.#connect(), ceilingMs * (0.5 + Math.random() / 2));
  }

  #giveUp(): void {
    const message = `the service cannot be used: ${this.#lastProblem}. See --backend-url, the key, and the service's log`;
    this.close();
    this.#options.host.failed(new EarshotError("BACKEND_SERVICE", message));
  }

  #sendHeld(): void {
    while (this.#state === "open" && this.#hasRoom()) {
      const event = this.#held.shift() ?? this.#heldAudio.shift();
      if (event === undefined) return;
      this.#socket?.send(event);
    }
  }

  #hasRoom(): boolean {
    return (this.#socket?.bufferedAmount ?? 0) <= MAX_SERVICE_BUFFER_BYTES;
  }

  #enter(state: ServiceState): void {
    const { services } = this.#options.counters;
    if (this.#state !== "closed") services[this.#state]--;
    if (state !== "closed") services[state]++;
    this.#state = state;
  }
}
