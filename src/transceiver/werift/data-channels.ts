/**
 * The data channels of one call: messages in and out of werift's SCTP. It also does what werift leaves undone: empty
 * messages, limits, and errors that it would leave unhandled.
 */
import type { RTCDataChannel, RTCDtlsTransport, RTCPeerConnection, RTCSctpTransport } from "werift";
import type { DataChannel } from "../backends/backend.ts";
import { MAX_CHANNEL_BUFFER_BYTES, MAX_CHANNELS, MAX_OVERFLOW_BYTES } from "../limits.ts";
import { sctpInternals } from "./internals.ts";
import { mayReadSctp } from "./sctp-check.ts";

export interface DataChannelsHost {
  channelOpened(channel: DataChannel): void;
  channelClosed(channel: DataChannel): void;
  message(channel: DataChannel, data: string | Buffer): void;
  /** The client has ended the association, as it does when it closes the connection; or it sends more than it may. */
  ended(reason: "hang-up" | "overflow"): void;
  /** A packet that no client of good will sends was not read. */
  sctpDropped(): void;
  fault(error: unknown): void;
}

/** Payload protocol identifiers of empty messages, which carry one zero byte (RFC 8831, section 6.6). */
const EMPTY = { string: 56, binary: 57 } as const;

export class DataChannels {
  readonly #host: DataChannelsHost;
  readonly #byId = new Map<number, RTCDataChannel>();
  #transport: RTCSctpTransport | undefined;

  constructor(host: DataChannelsHost, connection: RTCPeerConnection) {
    this.#host = host;
    connection.onDataChannel.subscribe((channel) => this.#open(channel));
  }

  /** After an offer has been applied: it may have brought SCTP. */
  update(connection: RTCPeerConnection, dtls: RTCDtlsTransport | undefined): void {
    const transport = connection.sctpTransport;
    if (transport === undefined || dtls === undefined || transport === this.#transport) return;
    this.#transport = transport;
    const { sctp, datachannelReceive } = sctpInternals(transport);
    const fault = (error: unknown) => this.#host.fault(error);
    dtls.dataReceiver = (packet) => {
      const bounds = { lastReceivedTsn: sctp.lastReceivedTsn, nextTsn: sctp.localTsn };
      if (sctp.advertisedRwnd < -MAX_OVERFLOW_BYTES) this.#host.ended("overflow");
      else if (!mayReadSctp(packet, bounds)) this.#host.sctpDropped();
      else sctp.handleData(packet).catch(fault);
    };
    transport.sctp.onReceive.allUnsubscribe();
    transport.sctp.onReceive.subscribe((...message) => void datachannelReceive(...message).catch(fault));
    transport.sctp.stateChanged.closed.subscribe(() => this.#host.ended("hang-up"));
  }

  send(id: number, data: string | Buffer): boolean {
    const channel = this.#byId.get(id);
    if (channel?.readyState !== "open" || channel.bufferedAmount > MAX_CHANNEL_BUFFER_BYTES) return false;
    try {
      if (data.length === 0) this.#sendEmpty(channel, typeof data === "string" ? EMPTY.string : EMPTY.binary);
      else channel.send(data);
      return true;
    } catch (error) {
      // Among others: larger than the client's max-message-size.
      this.#host.fault(error);
      return false;
    }
  }

  #sendEmpty(channel: RTCDataChannel, protocol: number): void {
    const { dataChannelQueue } = sctpInternals(this.#transport!);
    const zero = Buffer.alloc(1);
    channel.addBufferedAmount(zero.length);
    dataChannelQueue.push([channel, protocol, zero]);
    sctpInternals(this.#transport!)
      .dataChannelFlush()
      .catch((error) => this.#host.fault(error));
  }

  #open(channel: RTCDataChannel): void {
    const { id, label } = channel;
    if (id === undefined) return;
    if (this.#byId.size >= MAX_CHANNELS) {
      channel.close();
      return;
    }
    const known = { id, label };
    this.#byId.set(id, channel);
    channel.onMessage.subscribe((data) => this.#host.message(known, data));
    channel.stateChanged.subscribe((state) => {
      // werift tells of a channel before it is open, when nothing can be sent, and queues its own answer just after.
      if (state === "open") queueMicrotask(() => this.#opened(known, channel));
      if (state !== "closed" || this.#byId.get(id) !== channel) return;
      this.#byId.delete(id);
      this.#host.channelClosed(known);
    });
  }

  #opened(known: DataChannel, channel: RTCDataChannel): void {
    if (this.#byId.get(known.id) === channel) this.#host.channelOpened(known);
  }
}
