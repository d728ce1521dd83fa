/**
 * One call: its ICE agent, its werift peer and its side of the backend, and the states it goes through:
 *
 *   new -> connecting -> connected -> ended
 *   (any state may go to ended; nothing leaves it)
 *
 * `new` until the offer is answered, `connecting` until DTLS is up. It ends once, with one reason. Whatever a client or a
 * backend does wrong ends in here: a counter, a log line, or the end of this call, never of another.
 */
import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import { formatAddressPort } from "../config/address-port.ts";
import type { StunMessage } from "../stun/stun-reader.ts";
import { FRAME_KIND } from "../trunk/frame.ts";
import { pathHost, pathPort } from "../trunk/path.ts";
import type { Ticker } from "./audio/ticker.ts";
import type { Backend } from "./backends/backend.ts";
import { BackendLink } from "./backends/backend-link.ts";
import type { BoundedLog } from "./bounded-log.ts";
import { type ClientPath, type DatagramTaker, mayKnow, type PathBook } from "./client-path.ts";
import type { EndReason, TransceiverCounters } from "./counters.ts";
import type { Demux } from "./demux.ts";
import { IceAgent, type IceCredentials, type IceHost, type RequestVerdict, type ResponseVerdict } from "./ice-agent.ts";
import { type IceFragment, writeIceFragment } from "./ice-fragment.ts";
import { KEEPALIVE } from "./ice-messages.ts";
import { SEEK_RELAY_MS, SETUP_TIMEOUT_MS } from "./limits.ts";
import type { RelayWatch } from "./relay-watch.ts";
import type { Offer } from "./sdp-offer.ts";
import type { AddressPort, RelayPort, TrunkEnd } from "./trunk-end.ts";
import { Peer, type PeerHost } from "./werift/peer.ts";

/** What all sessions of a transceiver share. */
export interface SessionSurroundings {
  readonly trunk: TrunkEnd;
  readonly relays: RelayWatch;
  readonly demux: Demux;
  readonly paths: PathBook;
  readonly counters: TransceiverCounters;
  readonly backend: Backend;
  /** Paces the audio that backends send. */
  readonly ticker: Ticker;
  /** Most audio that a backend may have queued in one call. */
  readonly maxQueuedAudioMs: number;
  readonly logger: Logger;
  readonly boundedLog: BoundedLog;
  readonly maxCallMs: number;
  /** Infinity for no limit. */
  readonly maxIdleMs: number;
  /** Credentials that no session has had. */
  newCredentials(): IceCredentials;
  ingresses(): readonly AddressPort[];
  /** `wasAnswered`: whether its client has ever had an answer. */
  ended(session: Session, reason: EndReason, wasAnswered: boolean): void;
  /** Nothing is left of an ended session. */
  closed(session: Session): void;
}

export type SessionState = "new" | "connecting" | "connected" | "ended";

/** What whoever holds a call's Location may know of it. Times in ms since 1970. */
export interface CallDescription {
  readonly state: SessionState;
  readonly createdMs: number;
  readonly connectedMs: number | undefined;
  /** Name of the backend. */
  readonly backend: string;
  /** Where the client is reached now. */
  readonly client: AddressPort | undefined;
  readonly frames: Traffic;
  readonly messages: Traffic;
}

/** Since the call connected. */
interface Traffic {
  readonly received: number;
  readonly sent: number;
}

export class Session implements DatagramTaker {
  readonly id: string;
  readonly createdMs: number;
  readonly #shared: SessionSurroundings;
  readonly #agent: IceAgent<ClientPath>;
  readonly #peer: Peer;
  #backend: BackendLink | undefined;
  readonly #frames = { received: 0, sent: 0 };
  readonly #messages = { received: 0, sent: 0 };
  #state: SessionState = "new";
  #connectedMs: number | undefined;
  /** When the last tick found that frames or messages had come or gone. */
  #busyMs: number;
  #trafficThen = 0;
  /** The ufrags that the client has in its present ICE session. */
  #clientUfrags: readonly string[] = [];
  /** The m-line whose transport counts for all. */
  #mid = "";
  /** The client's ufrag that a fragment has brought: a repeated fragment gets the same answer. */
  #restartedBy: string | undefined;
  /** False once nothing more may be sent to the client (RFC 7675): not even a goodbye. */
  #hasConsent = true;
  #closing = Promise.resolve();
  #nextSeekMs = 0;
  /** The answer that was asked for last is ready, or has failed. */
  #answered: Promise<unknown> = Promise.resolve();

  constructor(id: string, offer: Offer, shared: SessionSurroundings, nowMs: number) {
    this.id = id;
    this.createdMs = nowMs;
    this.#busyMs = nowMs;
    this.#shared = shared;
    const first = shared.newCredentials();
    this.#agent = new IceAgent(this.#iceHost(), first);
    this.#peer = new Peer(this.#peerHost(first), offer.hasMedia);
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Our ufrag of the newest ICE session; none after the end. */
  get ufrag(): string {
    return this.#agent.local?.ufrag ?? "";
  }

  /** Answers the first offer, or a later one: a restart of ICE, or other m-lines. Throws SDP_INVALID or SDP_UNSUPPORTED. */
  answer(offer: Offer): Promise<string> {
    // One after the other: werift would mix two that overlap.
    const answered = this.#answered.then(() => this.#answer(offer));
    this.#answered = answered.catch(() => {});
    return answered;
  }

  async #answer(offer: Offer): Promise<string> {
    const sdp = await this.#peer.answer(offer);
    if (this.#state === "new") {
      this.#state = "connecting";
      this.#shared.logger.info({ call: this.id }, "call answered");
    }
    this.#clientUfrags = offer.ufrags;
    this.#mid = offer.mid;
    return sdp;
  }

  /**
   * Takes a fragment of trickle ICE. With other credentials than before it restarts ICE, and is answered with a fragment;
   * one that only brings candidates is not, unless it repeats (`mayRepeat`) the fragment of the last restart.
   */
  takeFragment({ credentials }: IceFragment, mayRepeat: boolean): string | undefined {
    const { ufrag } = credentials;
    if (!this.#clientUfrags.includes(ufrag)) {
      this.#peer.restartIce(credentials);
      this.#shared.logger.info({ call: this.id }, "call restarts ICE");
      this.#clientUfrags = [ufrag];
      this.#restartedBy = ufrag;
    } else if (!mayRepeat || ufrag !== this.#restartedBy) return undefined;
    const { local } = this.#agent;
    return local && writeIceFragment(local, this.#mid, this.#shared.ingresses());
  }

  #client(): AddressPort | undefined {
    const path = this.#agent.selected?.bytes;
    return path && { address: pathHost(path), port: pathPort(path) };
  }

  describe(): CallDescription {
    return {
      state: this.#state,
      createdMs: this.createdMs,
      connectedMs: this.#connectedMs,
      backend: this.#shared.backend.name,
      client: this.#client(),
      frames: { ...this.#frames },
      messages: { ...this.#messages },
    };
  }

  request(message: StunMessage, path: ClientPath, nowMs: number): RequestVerdict {
    return this.#agent.request(message, path, nowMs);
  }

  response(message: StunMessage, path: ClientPath, nowMs: number): ResponseVerdict {
    return this.#agent.response(message, path, nowMs);
  }

  media(datagram: Buffer, path: ClientPath, nowMs: number): void {
    this.#agent.received(path, nowMs);
    this.#peer.receive(datagram);
  }

  assertPath(path: ClientPath, to: RelayPort): void {
    for (const { path: own, ufrags, proved } of this.#agent.paths()) {
      if (own !== path || !proved) continue;
      mayKnow(path, to);
      for (const ufrag of ufrags) this.#control(path, FRAME_KIND.assert, ufrag, to);
    }
  }

  /** Called every 250 ms. */
  tick(nowMs: number): void {
    const ageMs = nowMs - this.createdMs;
    const traffic = this.#frames.received + this.#frames.sent + this.#messages.received + this.#messages.sent;
    if (traffic !== this.#trafficThen) this.#busyMs = nowMs;
    this.#trafficThen = traffic;
    if (!this.#agent.tick(nowMs)) this.end("consent-expired");
    else if (this.#state !== "connected" && ageMs >= SETUP_TIMEOUT_MS) this.end("setup-timeout");
    else if (ageMs >= this.#shared.maxCallMs) this.end("max-duration");
    else if (this.#state === "connected" && nowMs - this.#busyMs >= this.#shared.maxIdleMs) this.end("idle");
    else this.#seekRelay(nowMs);
  }

  /**
   * Where the relay of the selected path is gone, the others get something for the client: the one that has taken over does
   * not know the path, asks, and then has it before its next STUN check.
   */
  #seekRelay(nowMs: number): void {
    const { relays, trunk } = this.#shared;
    const path = this.#agent.selected;
    if (path === undefined || nowMs < this.#nextSeekMs || !relays.isGone(path.relayPort, nowMs)) return;
    this.#nextSeekMs = nowMs + SEEK_RELAY_MS;
    for (const port of relays.present(nowMs)) trunk.send(port, FRAME_KIND.data, path.bytes, KEEPALIVE);
  }

  /** Ends the call; the first reason counts. Resolves when nothing of it is left. */
  end(reason: EndReason): Promise<void> {
    // By state, because closing the peer comes back here before the promise of it is known.
    if (this.#state !== "ended") this.#closing = this.#end(reason);
    return this.#closing;
  }

  async #end(reason: EndReason): Promise<void> {
    const wasAnswered = this.#state !== "new";
    this.#state = "ended";
    this.#hasConsent = reason !== "consent-expired";
    if (wasAnswered) {
      this.#shared.counters.ended[reason]++;
      this.#shared.logger.info({ call: this.id, reason }, "call ended");
    }
    this.#backend?.ended(reason);
    this.#shared.ended(this, reason, wasAnswered);
    await this.#peer.close();
    for (const { path, ufrags } of this.#agent.paths()) {
      for (const relay of [path.relayPort, ...path.otherRelays]) {
        for (const ufrag of ufrags) this.#control(path, FRAME_KIND.flowEnd, ufrag, relay);
      }
    }
    this.#agent.close();
    this.#shared.closed(this);
  }

  #control(path: ClientPath, kind: 2 | 3 | 5, ufrag: string, to = path.relayPort): void {
    this.#shared.trunk.send(to, kind, path.bytes, Buffer.from(ufrag, "latin1"));
  }

  #iceHost(): IceHost<ClientPath> {
    const { trunk, demux, paths, counters } = this.#shared;
    const { count } = counters;
    return {
      random: randomBytes,
      send: (path, datagram) => trunk.send(path.relayPort, FRAME_KIND.data, path.bytes, datagram),
      ufragAdded: (ufrag) => demux.addUfrag(ufrag, this),
      ufragRemoved: (ufrag) => demux.removeUfrag(ufrag),
      transactionAdded: (id) => {
        count.ice_transactions++;
        demux.addTransaction(id, this);
      },
      transactionRemoved: (id) => demux.removeTransaction(id),
      pathAdded: (path) => paths.hold(path),
      pathRemoved: (path, why) => {
        if (why === "evicted") count.ice_paths_evicted++;
        paths.release(path, this);
      },
      pathProved: (path, ufrag) => {
        count.ice_paths_proved++;
        path.owner = this;
        // The relay may hold us as pending beside another owner; it ignores this where it does not.
        this.#control(path, FRAME_KIND.promote, ufrag);
      },
      pathSelected: (_path, restarted) => {
        count.ice_selections++;
        if (restarted) this.#peer.pathSelected();
      },
    };
  }

  #peerHost(first: IceCredentials): PeerHost {
    const { counters, boundedLog, ingresses } = this.#shared;
    const { count } = counters;
    let unused: IceCredentials | undefined = first;
    return {
      newGeneration: () => {
        if (unused !== undefined) {
          unused = undefined;
          return first;
        }
        const local = this.#shared.newCredentials();
        this.#agent.restart(local);
        return local;
      },
      setRemote: (remote) => this.#agent.setRemote(remote),
      ingresses,
      send: (datagram) => this.#sendMedia(datagram),
      connected: () => this.#connected(),
      ended: (reason) => void this.end(reason),
      frame: (frame) => {
        this.#frames.received++;
        this.#backend?.frame(frame);
      },
      keyframeRequested: (line) => this.#backend?.keyframeRequested(line),
      channelOpened: (channel) => this.#backend?.channelOpened(channel),
      channelClosed: (channel) => this.#backend?.channelClosed(channel),
      message: (channel, data) => {
        this.#messages.received++;
        this.#backend?.message(channel, data);
      },
      earlyDropped: () => {
        count.session_drop_early++;
      },
      dtlsDropped: () => {
        count.session_drop_dtls++;
      },
      sctpDropped: () => {
        count.session_drop_sctp++;
      },
      srtpDropped: (why) => {
        count[`session_drop_srtp_${why}`]++;
      },
      dtlsFailed: (failure) => {
        count[`dtls_failed_${failure}`]++;
        boundedLog.warn({ call: this.id, failure }, "DTLS failed");
      },
      frameDropped: () => {
        count.session_drop_media++;
      },
      fault: (error) => {
        count.werift_faults++;
        boundedLog.warn(
          { err: error, call: this.id },
          "werift failed on something that the client sent, or on closing",
        );
      },
    };
  }

  #sendMedia(datagram: Buffer): void {
    const path = this.#agent.selected;
    if (path === undefined || !this.#hasConsent) this.#shared.counters.count.session_drop_unsendable++;
    else this.#shared.trunk.send(path.relayPort, FRAME_KIND.data, path.bytes, datagram);
  }

  #connected(): void {
    if (this.#state !== "connecting") return;
    this.#state = "connected";
    this.#connectedMs = Date.now();
    this.#busyMs = this.#connectedMs;
    this.#shared.logger.info({ call: this.id, afterMs: this.#connectedMs - this.createdMs }, "call connected");
    this.#backend = this.#openBackend();
  }

  #openBackend(): BackendLink {
    const { backend, counters, ticker, maxQueuedAudioMs } = this.#shared;
    const peer = this.#peer;
    return new BackendLink(backend, {
      id: this.id,
      count: counters.count,
      ticker,
      maxQueuedMs: maxQueuedAudioMs,
      remote: () => {
        const client = this.#client();
        return client && formatAddressPort(client);
      },
      lines: () => peer.lines,
      sendFrame: (frame) => {
        if (this.#state !== "connected") return;
        this.#frames.sent++;
        peer.sendFrame(frame);
      },
      sendMessage: (channel, data) => {
        const sent = this.#state === "connected" && peer.sendMessage(channel, data);
        if (sent) this.#messages.sent++;
        else counters.count.session_drop_message++;
        return sent;
      },
      requestKeyframe: (line) => {
        if (this.#state === "connected") peer.requestKeyframe(line);
      },
      hangUp: () => void this.end("backend"),
      failed: (error) => {
        this.#shared.logger.error({ err: error, call: this.id }, "the backend failed: the call ends");
        void this.end("backend");
      },
    });
  }
}
