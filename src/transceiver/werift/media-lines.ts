/**
 * The audio and video m-lines of one call: frames in and out of werift's receivers and senders, those of audio past them
 * (audio-line.ts). It also does what werift's router leaves undone: SSRCs that the offer did not name, and keyframe requests.
 */
import {
  MediaStreamTrack,
  PictureLossIndication,
  type RTCPeerConnection,
  type RTCRtpTransceiver,
  RTP_EXTENSION_URI,
  RtcpPayloadSpecificFeedback,
  RtpHeader,
  RtpPacket,
} from "werift";
import type { MediaFrame, MediaLine } from "../backends/backend.ts";
import { MAX_LATCHED_SSRCS } from "../limits.ts";
import { AudioLine } from "./audio-line.ts";
import type { NativeDtlsTransport } from "./dtls-transport.ts";
import { senderInternals, type WeriftInternals } from "./internals.ts";
import { OutgoingSequence } from "./outgoing-sequence.ts";
import { ReportClock } from "./report-clock.ts";
import { extensionOf, payloadTypeOf, ssrcOf } from "./rtp-packet.ts";

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
  /** By mid. */
  readonly #audio = new Map<string, AudioLine>();
  /** By those SSRCs of which a packet has come. */
  readonly #audioBySsrc = new Map<number, AudioLine>();
  /** Of video. */
  readonly #sequences = new WeakMap<RTCRtpTransceiver, OutgoingSequence>();
  #dtls: NativeDtlsTransport | undefined;
  #latched = 0;

  constructor(host: MediaLinesHost, router: WeriftInternals["router"]) {
    this.#host = host;
    this.#router = router;
  }

  attach(dtls: NativeDtlsTransport): void {
    this.#dtls = dtls;
    dtls.takeRtp = (packet) => this.#take(packet);
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
    this.#audioBySsrc.clear();
    for (const transceiver of connection.getTransceivers()) {
      const { mid } = transceiver;
      if (mid === null) continue;
      if (this.#byMid.get(mid) !== transceiver) this.#add(mid, transceiver);
      this.#audio.get(mid)?.update();
    }
  }

  #add(mid: string, transceiver: RTCRtpTransceiver): void {
    this.#byMid.set(mid, transceiver);
    transceiver.setDirection("sendrecv");
    transceiver.sender.streamId = STREAM_ID;
    const clock = new ReportClock(senderInternals(transceiver.sender));
    if (transceiver.kind === "audio") {
      this.#audio.set(mid, new AudioLine(mid, transceiver, clock));
    } else {
      this.#audio.delete(mid);
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
    const audio = this.#audio.get(frame.line);
    if (audio === undefined) this.#sendVideo(frame, transceiver, codec);
    else if (this.#dtls !== undefined) audio.send(frame, this.#dtls);
  }

  requestKeyframe(line: string): void {
    const transceiver = this.#byMid.get(line);
    for (const { ssrc } of transceiver?.receiver.tracks ?? []) {
      if (ssrc === undefined) continue;
      transceiver?.receiver.sendRtcpPLI(ssrc).catch((error) => this.#host.fault(error));
    }
  }

  #sendVideo(frame: MediaFrame, transceiver: RTCRtpTransceiver, codec: RTCRtpTransceiver["codecs"][number]): void {
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

  /** Before werift sees it, so that its SSRC is known by the time that it is routed. */
  #take(packet: Buffer): boolean {
    const ssrc = ssrcOf(packet);
    const line = this.#audioBySsrc.get(ssrc) ?? this.#findAudio(ssrc, packet);
    if (line === undefined) return false;
    const frame = line.receive(packet);
    if (frame !== undefined) this.#host.frame(frame);
    return true;
  }

  /** Whose the SSRC is, if it is a line of audio; werift knows, once it has been told of it. */
  #findAudio(ssrc: number, packet: Buffer): AudioLine | undefined {
    if (this.#router.ssrcTable[ssrc] === undefined) this.#latch(ssrc, packet);
    const receiver = this.#router.ssrcTable[ssrc];
    for (const line of this.#audio.values()) {
      if (line.transceiver.receiver !== receiver) continue;
      this.#audioBySsrc.set(ssrc, line);
      return line;
    }
    return undefined;
  }

  #listen(line: string, track: MediaStreamTrack): void {
    track.onReceiveRtp.subscribe(({ header, payload }) => {
      // Packets of nothing but padding, sent to measure the network.
      if (payload.length === 0) return;
      this.#host.frame({
        line,
        kind: "video",
        payloadType: header.payloadType,
        sequence: header.sequenceNumber,
        timestamp: header.timestamp,
        marker: header.marker,
        payload,
      });
    });
  }

  /** Finds the m-line of an SSRC that the offer did not name, as RFC 8843, section 9.2, says: by mid, else by codec. */
  #latch(ssrc: number, packet: Buffer): void {
    if (this.#latched >= MAX_LATCHED_SSRCS) return;
    const payloadType = payloadTypeOf(packet);
    const transceiver = this.#byMid.get(this.#midOf(packet) ?? "") ?? this.#onlyLineWith(payloadType);
    if (transceiver === undefined) return;
    this.#latched++;
    this.#router.registerRtpReceiver(transceiver.receiver, ssrc);
    const codec = transceiver.codecs.find((candidate) => candidate.payloadType === payloadType);
    transceiver.addTrack(new MediaStreamTrack({ kind: transceiver.kind, ssrc, remote: true, ...(codec && { codec }) }));
  }

  #midOf(packet: Buffer): string | undefined {
    for (const { headerExtensions } of this.#byMid.values()) {
      const id = headerExtensions.find(({ uri }) => uri === RTP_EXTENSION_URI.sdesMid)?.id;
      const mid = id === undefined ? undefined : extensionOf(packet, id);
      if (mid !== undefined) return mid.toString("utf8");
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
