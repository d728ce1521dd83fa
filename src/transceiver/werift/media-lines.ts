/**
 * The audio and video m-lines of one call: frames in and out of werift's receivers and senders. It also does what
 * werift's router leaves undone: SSRCs that the offer did not name, and keyframe requests.
 */
import {
  MediaStreamTrack,
  PictureLossIndication,
  type RTCDtlsTransport,
  type RTCPeerConnection,
  type RTCRtpTransceiver,
  RTP_EXTENSION_URI,
  RtcpPayloadSpecificFeedback,
  RtpHeader,
  RtpPacket,
} from "werift";
import type { AudioLevel, MediaFrame, MediaLine } from "../backends/backend.ts";
import { MAX_LATCHED_SSRCS } from "../limits.ts";
import type { WeriftInternals } from "./internals.ts";
import { OutgoingSequence } from "./outgoing-sequence.ts";

export interface MediaLinesHost {
  frame(frame: MediaFrame): void;
  keyframeRequested(line: string): void;
  /** A frame to send was for no line that sends, or of no codec of it. */
  frameDropped(): void;
  fault(error: unknown): void;
}

/** The stream that all our tracks belong to: pages expect to find one in their `track` event. */
const STREAM_ID = "earshot";

export class MediaLines {
  readonly #host: MediaLinesHost;
  readonly #router: WeriftInternals["router"];
  readonly #byMid = new Map<string, RTCRtpTransceiver>();
  /** By mid: the id of the header extension that says how loud a packet is, where that was offered. */
  readonly #levelIds = new Map<string, number>();
  readonly #sequences = new WeakMap<RTCRtpTransceiver, OutgoingSequence>();
  #latched = 0;

  constructor(host: MediaLinesHost, router: WeriftInternals["router"]) {
    this.#host = host;
    this.#router = router;
  }

  /** Before werift subscribes, so that an SSRC is known by the time its packet is routed. */
  attach(dtls: RTCDtlsTransport): void {
    dtls.onRtp.subscribe((packet) => {
      if (this.#router.ssrcTable[packet.header.ssrc] === undefined) this.#latch(packet);
    });
    dtls.onRtcp.subscribe((packet) => {
      // werift gives these to whoever has the *sender's* SSRC.
      if (!(packet instanceof RtcpPayloadSpecificFeedback)) return;
      if (!(packet.feedback instanceof PictureLossIndication)) return;
      const { mediaSsrc } = packet.feedback;
      for (const [mid, { sender }] of this.#byMid) if (sender.ssrc === mediaSsrc) this.#host.keyframeRequested(mid);
    });
  }

  /** After an offer has been applied, before it is answered. */
  update(connection: RTCPeerConnection): void {
    for (const transceiver of connection.getTransceivers()) {
      const { mid } = transceiver;
      if (mid === null) continue;
      this.#noteLevelId(mid, transceiver);
      if (this.#byMid.get(mid) === transceiver) continue;
      this.#byMid.set(mid, transceiver);
      transceiver.setDirection("sendrecv");
      transceiver.sender.streamId = STREAM_ID;
      for (const track of transceiver.receiver.tracks) this.#listen(mid, track);
      transceiver.onTrack.subscribe((track) => this.#listen(mid, track));
    }
  }

  get lines(): MediaLine[] {
    return [...this.#byMid]
      .filter(([, { stopped }]) => !stopped)
      .map(([line, transceiver]) => ({
        line,
        kind: transceiver.kind === "video" ? "video" : "audio",
        sends: doesSend(transceiver),
        codecs: transceiver.codecs.map(({ payloadType, mimeType, clockRate, channels = 1 }) => ({
          payloadType,
          mimeType: mimeType.toLowerCase(),
          clockRate,
          channels,
        })),
      }));
  }

  send(frame: MediaFrame): void {
    const transceiver = this.#byMid.get(frame.line);
    const codec = transceiver?.codecs.find(({ payloadType }) => payloadType === frame.payloadType);
    if (transceiver === undefined || codec === undefined || !doesSend(transceiver)) {
      this.#host.frameDropped();
      return;
    }
    const sequence = this.#sequences.get(transceiver) ?? new OutgoingSequence();
    this.#sequences.set(transceiver, sequence);
    const header = new RtpHeader({
      payloadType: frame.payloadType,
      sequenceNumber: sequence.next(frame.sequence),
      timestamp: frame.timestamp,
      marker: frame.marker,
    });
    // werift marks everything with the payload type of this codec, which it takes to be the first.
    transceiver.sender.codec = codec;
    transceiver.sender.sendRtp(new RtpPacket(header, frame.payload)).catch((error) => this.#host.fault(error));
  }

  requestKeyframe(line: string): void {
    const transceiver = this.#byMid.get(line);
    for (const { ssrc } of transceiver?.receiver.tracks ?? []) {
      if (ssrc === undefined) continue;
      transceiver?.receiver.sendRtcpPLI(ssrc).catch((error) => this.#host.fault(error));
    }
  }

  #listen(line: string, track: MediaStreamTrack): void {
    const kind = track.kind === "video" ? "video" : "audio";
    track.onReceiveRtp.subscribe(({ header, payload }) => {
      // Packets of nothing but padding, sent to measure the network.
      if (payload.length === 0) return;
      const level = this.#levelOf(line, header);
      this.#host.frame({
        line,
        kind,
        payloadType: header.payloadType,
        sequence: header.sequenceNumber,
        timestamp: header.timestamp,
        marker: header.marker,
        payload,
        ...(level && { level }),
      });
    });
  }

  #noteLevelId(mid: string, { headerExtensions }: RTCRtpTransceiver): void {
    const extension = headerExtensions.find(({ uri }) => uri === RTP_EXTENSION_URI.audioLevelIndication);
    if (extension === undefined) this.#levelIds.delete(mid);
    else this.#levelIds.set(mid, extension.id);
  }

  /** RFC 6464, section 3: a bit for voice, and seven for the level below the loudest. */
  #levelOf(line: string, header: RtpHeader): AudioLevel | undefined {
    const id = this.#levelIds.get(line);
    if (id === undefined) return undefined;
    const byte = header.extensions.find((extension) => extension.id === id)?.payload[0];
    return byte === undefined ? undefined : { levelDbov: -(byte & 0x7f), hasVoice: byte >= 0x80 };
  }

  /** Finds the m-line of an SSRC that the offer did not name, as RFC 8843, section 9.2, says: by mid, else by codec. */
  #latch({ header }: RtpPacket): void {
    if (this.#latched >= MAX_LATCHED_SSRCS) return;
    const transceiver = this.#byMid.get(this.#midOf(header) ?? "") ?? this.#onlyLineWith(header.payloadType);
    if (transceiver === undefined) return;
    this.#latched++;
    this.#router.registerRtpReceiver(transceiver.receiver, header.ssrc);
    const codec = transceiver.codecs.find(({ payloadType }) => payloadType === header.payloadType);
    transceiver.addTrack(
      new MediaStreamTrack({ kind: transceiver.kind, ssrc: header.ssrc, remote: true, ...(codec && { codec }) }),
    );
  }

  #midOf(header: RtpHeader): string | undefined {
    for (const { headerExtensions } of this.#byMid.values()) {
      const id = headerExtensions.find(({ uri }) => uri === RTP_EXTENSION_URI.sdesMid)?.id;
      const extension = header.extensions.find((candidate) => candidate.id === id);
      if (extension !== undefined) return extension.payload.toString("utf8");
    }
    return undefined;
  }

  #onlyLineWith(payloadType: number): RTCRtpTransceiver | undefined {
    const lines = [...this.#byMid.values()].filter(({ codecs, stopped }) => {
      return !stopped && codecs.some((codec) => codec.payloadType === payloadType);
    });
    return lines.length === 1 ? lines[0] : undefined;
  }
}

function doesSend({ currentDirection, stopped }: RTCRtpTransceiver): boolean {
  return !stopped && (currentDirection === "sendrecv" || currentDirection === "sendonly");
}
