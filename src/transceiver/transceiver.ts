/**
 * The transceiver: the WebRTC endpoint behind the relays. It puts the parts together, in the order in which a datagram
 * goes through them: trunk, demux, session (ICE agent, then werift), backend. Nobody but a relay can reach it.
 */
import { randomBytes, randomInt } from "node:crypto";
import { isIP } from "node:net";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { EarshotError } from "../earshot-error.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { icePassword, sealToken } from "../token/token.ts";
import { Opus } from "./audio/opus.ts";
import { Ticker } from "./audio/ticker.ts";
import type { Backend } from "./backends/backend.ts";
import { echoBackend } from "./backends/echo.ts";
import { BoundedLog } from "./bounded-log.ts";
import { PathBook } from "./client-path.ts";
import { type EndReason, TransceiverCounters } from "./counters.ts";
import { Demux } from "./demux.ts";
import type { IceCredentials } from "./ice-agent.ts";
import { readIceFragment } from "./ice-fragment.ts";
import { JsTrunkEnd } from "./js-trunk-end.ts";
import { MAX_QUEUED_AUDIO_MS } from "./limits.ts";
import { NativeTrunkEnd } from "./native-trunk-end.ts";
import { RelayWatch } from "./relay-watch.ts";
import { type OfferRules, readOffer } from "./sdp-offer.ts";
import type { CallDescription } from "./session.ts";
import { Sessions } from "./sessions.ts";
import type { AddressPort, TrunkEnd, TrunkEndOptions } from "./trunk-end.ts";
import { isWeriftFault } from "./werift/faults.ts";
import { prepareWerift } from "./werift/peer.ts";

export interface TransceiverOptions {
  /** 32 bits, unique in the cluster. */
  readonly id: number;
  readonly cluster: number;
  /** When this process started, in ms since 1970; the low 32 bits must not be 0. */
  readonly epoch: bigint;
  readonly keys: KeyRing;
  /** Where to bind the trunk; port 0 lets the kernel choose. */
  readonly trunk: AddressPort;
  /** Ingress addresses for clients to send to, the preferred one first. */
  readonly advertise: readonly AddressPort[];
  /** Longest call; tokens are valid for that long. */
  readonly maxCallMs: number;
  /** Longest time without a frame or message in either direction; no limit if absent. */
  readonly maxIdleMs?: number;
  readonly logger: Logger;
  readonly limits: { readonly maxCalls: number };
  /** Native if absent; js to compare it with. */
  readonly trunkEnd?: TrunkEnd["kind"];
  /** Echo if absent. */
  readonly backend?: Backend;
  /** True for an error that nobody caught and that is the backend's: it has then ended its call. */
  readonly absorbFault?: (error: unknown) => boolean;
  /** Most audio that a backend may have queued in one call, in ms; 60 s if absent. */
  readonly maxQueuedAudioMs?: number;
  /** Where to count; given if the backend counts too. */
  readonly counters?: TransceiverCounters;
  /** A call whose answer was given out is over, whoever ended it. */
  readonly onCallEnded?: (callId: string, reason: EndReason) => void;
}

export interface CallAnswer {
  readonly answerSdp: string;
  /** Ours of the ICE session that the call is in now. */
  readonly ufrag: string;
}

export interface FragmentAnswer {
  /** Only of a restart. */
  readonly fragment: string | undefined;
  readonly ufrag: string;
}

export type TransceiverState = "new" | "live" | "draining" | "stopped";

export interface TransceiverHealth {
  /** Whether it takes calls. */
  readonly ok: boolean;
  readonly state: TransceiverState;
  readonly calls: number;
  /** Relay ports heard in the last 3 s. */
  readonly relayPorts: number;
}

export class Transceiver {
  /** Metrics, `earshot_transceiver_*`. */
  readonly registry: Registry;
  readonly #options: TransceiverOptions;
  readonly #counters: TransceiverCounters;
  readonly #boundedLog: BoundedLog;
  readonly #paths = new PathBook();
  readonly #trunk: TrunkEnd;
  readonly #relays: RelayWatch;
  readonly #sessions: Sessions;
  #keys: KeyRing;
  #ingresses: readonly AddressPort[] = [];
  #state: TransceiverState = "new";

  constructor(options: TransceiverOptions) {
    this.#options = options;
    this.#keys = options.keys;
    this.setAdvertise(options.advertise);
    this.#boundedLog = new BoundedLog(options.logger);
    const { counters = new TransceiverCounters() } = options;
    this.#counters = counters;
    const demux = new Demux(counters);
    const trunkOptions: TrunkEndOptions = {
      id: options.id,
      cluster: options.cluster,
      epoch: options.epoch,
      keys: options.keys,
      local: options.trunk,
      counters,
      onData: (pathKey, datagram, from, nowMs) => demux.take(datagram, this.#paths.arrival(pathKey, from), nowMs),
      onUnknownPath: (pathKey, from) => {
        const path = this.#paths.find(pathKey);
        path?.owner?.assertPath(path, from);
      },
    };
    this.#trunk = makeTrunkEnd(options, trunkOptions);
    this.#relays = new RelayWatch((nowMs) => this.#trunk.relayPorts(nowMs));
    this.#sessions = new Sessions(
      {
        maxCalls: options.limits.maxCalls,
        newId: () => randomBytes(16).toString("base64url"),
        onEnded: (callId, reason) => options.onCallEnded?.(callId, reason),
      },
      {
        trunk: this.#trunk,
        relays: this.#relays,
        demux,
        paths: this.#paths,
        counters,
        backend: options.backend ?? echoBackend,
        ticker: new Ticker(),
        maxQueuedAudioMs: options.maxQueuedAudioMs ?? MAX_QUEUED_AUDIO_MS,
        logger: options.logger,
        boundedLog: this.#boundedLog,
        maxCallMs: options.maxCallMs,
        maxIdleMs: options.maxIdleMs ?? Number.POSITIVE_INFINITY,
        newCredentials: () => this.#newCredentials(),
        ingresses: () => this.#ingresses,
      },
    );
    this.registry = counters.registry(() => ({
      calls: this.#sessions.states(),
      paths: this.#paths.size,
      lookups: demux.size,
      relayPorts: this.#relays.live(Date.now()),
      trunkKernelDrops: this.#trunk.kernelDrops(),
      keys: this.#keys,
    }));
  }

  /**
   * Opens the trunk and says where it is. Throws an `EarshotError`: WERIFT_INTERNALS, ADDON_UNAVAILABLE, or a code of the
   * operating system such as EADDRINUSE; nothing is left open then.
   */
  async start(): Promise<AddressPort> {
    await prepareWerift();
    if ((this.#options.backend?.audio ?? "packets") !== "packets") await Opus.prepare();
    const bound = await this.#trunk.start();
    for (const warning of this.#trunk.warnings) this.#options.logger.warn(warning);
    this.#sessions.start();
    this.#state = "live";
    return bound;
  }

  /**
   * For new tokens and for trunk datagrams, from the next one on. Sessions go on with the passwords that they were made
   * with, also when the key of those is gone.
   */
  setKeys(keys: KeyRing): void {
    this.#keys = keys;
    this.#trunk.setKeys(keys);
  }

  /** For the answers from now on. */
  setAdvertise(ingresses: readonly AddressPort[]): void {
    for (const { address, port } of ingresses) {
      if (isIP(address) === 0 || !Number.isInteger(port) || port < 1 || port > 65_535) {
        const message = `expected literal addresses with ports from 1 to 65535 to advertise, got ${address} ${port}`;
        throw new EarshotError("ADVERTISE_INVALID", message);
      }
    }
    this.#ingresses = [...ingresses];
  }

  /** Answers an offer. Throws SDP_INVALID, SDP_UNSUPPORTED or OVERLOADED. */
  async createCall(offerSdp: string, rules?: OfferRules): Promise<CallAnswer & { readonly callId: string }> {
    try {
      if (this.#state !== "live")
        throw new EarshotError("OVERLOADED", "this transceiver takes no calls: try another one");
      if (this.#ingresses.length === 0) throw new EarshotError("OVERLOADED", "no relay is there yet: try again later");
      const { session, answerSdp } = await this.#sessions.open(readOffer(offerSdp, rules));
      this.#counters.count.calls_created++;
      return { callId: session.id, answerSdp, ufrag: session.ufrag };
    } catch (error) {
      this.#countRefusal(error);
      throw error;
    }
  }

  /**
   * Answers a later offer of the same client: a restart of ICE, or other m-lines. Undefined if there is no such call.
   * Throws SDP_INVALID or SDP_UNSUPPORTED.
   */
  async updateCall(callId: string, offerSdp: string): Promise<CallAnswer | undefined> {
    const session = this.#sessions.get(callId);
    if (session === undefined) return undefined;
    const answerSdp = await session.answer(readOffer(offerSdp));
    return { answerSdp, ufrag: session.ufrag };
  }

  /**
   * Takes a fragment of trickle ICE; a restart is answered with a fragment, and so is a repetition of one (`mayRepeat`).
   * Undefined if there is no such call. Throws FRAGMENT_INVALID.
   */
  takeFragment(callId: string, fragment: string, mayRepeat: boolean): FragmentAnswer | undefined {
    const session = this.#sessions.get(callId);
    if (session === undefined) return undefined;
    const answer = session.takeFragment(readIceFragment(fragment), mayRepeat);
    return { fragment: answer, ufrag: session.ufrag };
  }

  /** Undefined if there is no such call (any more). */
  describeCall(callId: string): CallDescription | undefined {
    return this.#sessions.get(callId)?.describe();
  }

  /** False if there is no such call (any more). */
  async endCall(callId: string): Promise<boolean> {
    return this.#sessions.end(callId, "end-call");
  }

  /** Takes no further calls, and tells the relays; calls go on. */
  drain(): void {
    if (this.#state === "live") this.#state = "draining";
    this.#trunk.drain();
  }

  /** Ends all calls and closes the trunk. Safe to call twice. */
  async stop(): Promise<void> {
    this.drain();
    this.#state = "stopped";
    await this.#sessions.stop();
    await this.#trunk.stop();
  }

  health(): TransceiverHealth {
    return {
      ok: this.#state === "live",
      state: this.#state,
      calls: this.#sessions.size,
      relayPorts: this.#relays.live(Date.now()),
    };
  }

  /**
   * For the process's handler of unhandled rejections and uncaught exceptions: true if this one comes from inside werift,
   * where a client can cause some. It is then counted, logged and done with. Anything else is a bug, and must end the process.
   */
  absorbFault(error: unknown): boolean {
    if (!isWeriftFault(error)) return this.#options.absorbFault?.(error) ?? false;
    this.#counters.count.werift_faults++;
    this.#boundedLog.warn({ err: error }, "werift left an error of its own unhandled");
    return true;
  }

  #newCredentials(): IceCredentials {
    const { cluster, id, epoch, maxCallMs } = this.#options;
    const { signing } = this.#keys;
    const expiresAtMs = Date.now() + maxCallMs;
    const nonce = randomInt(2 ** 32);
    const ufrag = sealToken({ cluster, transceiver: id, epoch, expiresAtMs, nonce }, signing);
    return { ufrag, password: icePassword(ufrag, signing) };
  }

  #countRefusal(error: unknown): void {
    const { count } = this.#counters;
    const code = error instanceof EarshotError ? error.code : "";
    if (code === "OVERLOADED") count.calls_refused_overloaded++;
    else if (code === "SDP_UNSUPPORTED") count.calls_refused_unsupported++;
    else if (code === "SDP_INVALID") count.calls_refused_invalid++;
  }
}

/** Where the addon does not load there is no DTLS either, so nothing falls back to js by itself. */
function makeTrunkEnd({ trunkEnd = "native" }: TransceiverOptions, options: TrunkEndOptions): TrunkEnd {
  return trunkEnd === "native" ? new NativeTrunkEnd(options) : new JsTrunkEnd(options);
}
