/**
 * One audio m-line, packet by packet, without werift: there, most of what a call costs would be spent on making objects of RTP headers.
 * werift's receiver and sender still make the reports, of what is counted here. Retransmission, redundancy and
 * bandwidth estimation, which werift has for video, are offered to nobody for audio.
 */
import { type RTCRtpTransceiver, RTP_EXTENSION_URI } from "werift";
import type { AudioLevel, MediaFrame } from "../backends/backend.ts";
import type { NativeDtlsTransport } from "./dtls-transport.ts";
import { type ReceiverInternals, receiverInternals, type SenderInternals, senderInternals } from "./internals.ts";
import { OutgoingSequence } from "./outgoing-sequence.ts";
import { Reception } from "./reception.ts";
import type { ReportClock } from "./report-clock.ts";
import {
  extensionOf,
  headerOf,
  markerOf,
  payloadOf,
  payloadTypeOf,
  sequenceOf,
  ssrcOf,
  timestampOf,
  writeHeader,
} from "./rtp-packet.ts";

export class AudioLine {
  readonly transceiver: RTCRtpTransceiver;
  readonly #mid: string;
  readonly #receiver: ReceiverInternals;
  readonly #sender: SenderInternals;
  readonly #clock: ReportClock;
  readonly #sequence = new OutgoingSequence();
  readonly #receptions = new Map<number, Reception>();
  /** For these extensions: werift has another array of them for each negotiation. */
  #headerFor: SenderInternals["headerExtensions"] | undefined;
  #header: Buffer = Buffer.alloc(0);
  #levelId = -1;

  constructor(mid: string, transceiver: RTCRtpTransceiver, clock: ReportClock) {
    this.#mid = mid;
    this.transceiver = transceiver;
    this.#receiver = receiverInternals(transceiver.receiver);
    this.#sender = senderInternals(transceiver.sender);
    this.#clock = clock;
  }

  /** Something was negotiated anew. */
  update(): void {
    const extension = this.transceiver.headerExtensions.find(
      ({ uri }) => uri === RTP_EXTENSION_URI.audioLevelIndication,
    );
    this.#levelId = extension?.id ?? -1;
  }

  /** A packet with an SSRC of this line's. Undefined if it is of no codec of it, or has nothing to be heard. */
  receive(packet: Buffer): MediaFrame | undefined {
    const codec = this.#receiver.codecs[payloadTypeOf(packet)];
    if (this.#receiver.stopped || codec === undefined) return undefined;
    const sequence = sequenceOf(packet);
    const timestamp = timestampOf(packet);
    this.#reception(ssrcOf(packet), codec.clockRate).add(sequence, timestamp, performance.now());
    const payload = payloadOf(packet);
    // Packets of nothing but padding are sent to measure the network.
    if (payload.length === 0) return undefined;
    const level = this.#levelOf(packet);
    return {
      line: this.#mid,
      kind: "audio",
      payloadType: codec.payloadType,
      sequence,
      timestamp,
      marker: markerOf(packet),
      payload,
      ...(level && { level }),
    };
  }

  send(frame: MediaFrame, dtls: NativeDtlsTransport): void {
    const sender = this.#sender;
    if (sender.stopped || dtls.state !== "connected") return;
    if (this.#headerFor !== sender.headerExtensions) this.#makeHeader();
    const length = this.#header.length + frame.payload.length;
    const packet = Buffer.allocUnsafe(length + dtls.srtpRoom);
    writeHeader(packet, this.#header, frame, this.#sequence.next(frame.sequence), frame.timestamp);
    frame.payload.copy(packet, this.#header.length);
    if (dtls.sendRtpPacket(packet, length) === 0) return;
    sender.packetCount = (sender.packetCount + 1) >>> 0;
    sender.octetCount = (sender.octetCount + frame.payload.length) >>> 0;
    sender.rtpTimestamp = frame.timestamp;
    this.#clock.sent();
    if (!sender.rtcpRunning) void sender.runRtcp();
  }

  #reception(ssrc: number, clockRate: number): Reception {
    let reception = this.#receptions.get(ssrc);
    if (reception === undefined) {
      reception = new Reception(clockRate);
      this.#receptions.set(ssrc, reception);
      this.#receiver.remoteStreams[ssrc] = reception;
      void this.#receiver.runRtcp();
    }
    return reception;
  }

  #makeHeader(): void {
    const { ssrc, mid, headerExtensions } = this.#sender;
    const extension = headerExtensions.find(({ uri }) => uri === RTP_EXTENSION_URI.sdesMid);
    this.#header = headerOf(ssrc, extension && mid ? { id: extension.id, value: mid } : undefined);
    this.#headerFor = headerExtensions;
  }

  /** RFC 6464, section 3: a bit for voice, and seven for the level below the loudest. */
  #levelOf(packet: Buffer): AudioLevel | undefined {
    const byte = this.#levelId < 0 ? undefined : extensionOf(packet, this.#levelId)?.[0];
    if (byte === undefined) return undefined;
    return { levelDbov: -(byte & 0x7f), hasVoice: byte >= 0x80 };
  }
}
