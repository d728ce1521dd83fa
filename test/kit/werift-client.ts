/** Owns a stock werift peer as a client: it offers audio and a data channel, and never leaves the loopback interface. */
import { randomBytes } from "node:crypto";
import {
  type Extension,
  MediaStreamTrack,
  type RTCDataChannel,
  RTCPeerConnection,
  RtpHeader,
  RtpPacket,
  useOPUS,
  usePCMU,
  useSdesMid,
  useVP8,
} from "werift";
import { until } from "./until.ts";
import "./werift-dtls.ts";

export interface WeriftClientOptions {
  readonly address?: "127.0.0.1" | "::1";
  readonly audio?: boolean;
  readonly data?: boolean;
  readonly video?: boolean;
}

export class WeriftClient {
  readonly connection: RTCPeerConnection;
  readonly channel: RTCDataChannel | undefined;
  readonly messages: (string | Buffer)[] = [];
  readonly received: RtpPacket[] = [];
  readonly ssrc = randomBytes(4).readUInt32BE(0);
  /** Packets of video. */
  readonly seen: RtpPacket[] = [];
  readonly #track = new MediaStreamTrack({ kind: "audio" });
  readonly #video = new MediaStreamTrack({ kind: "video" });
  #sequence = randomBytes(2).readUInt16BE(0);

  constructor({ address = "127.0.0.1", audio = true, data = true, video = false }: WeriftClientOptions = {}) {
    this.connection = new RTCPeerConnection({
      iceServers: [],
      bundlePolicy: "max-bundle",
      iceUseIpv4: address === "127.0.0.1",
      iceUseIpv6: address === "::1",
      iceAdditionalHostAddresses: [address],
      iceFilterCandidatePair: (pair) => pair.localCandidate.host === address,
      codecs: { audio: [useOPUS(), usePCMU()], video: video ? [useVP8()] : [] },
      headerExtensions: { audio: [useSdesMid()], video: video ? [useSdesMid()] : [] },
    });
    if (audio) {
      const transceiver = this.connection.addTransceiver(this.#track, { direction: "sendrecv" });
      transceiver.onTrack.subscribe((track) => {
        track.onReceiveRtp.subscribe((packet) => this.received.push(packet));
      });
    }
    if (video) {
      const transceiver = this.connection.addTransceiver(this.#video, { direction: "sendrecv" });
      transceiver.onTrack.subscribe((track) => {
        track.onReceiveRtp.subscribe((packet) => this.seen.push(packet));
      });
    }
    if (data) {
      this.channel = this.connection.createDataChannel("words");
      this.channel.onMessage.subscribe((message) => this.messages.push(message));
    }
  }

  async offer(options: { iceRestart?: boolean } = {}): Promise<string> {
    await this.connection.setLocalDescription(await this.connection.createOffer(options));
    return this.connection.localDescription!.sdp;
  }

  async accept(answerSdp: string): Promise<void> {
    await this.connection.setRemoteDescription({ type: "answer", sdp: answerSdp });
  }

  /** After the answer to a restart of ICE, which werift as a client would never begin to check. */
  async checkAgain(): Promise<void> {
    await this.connection.iceTransports[0]!.connection.connect();
  }

  async connected(): Promise<void> {
    const { connection, channel } = this;
    await until(
      () => connection.connectionState === "connected" && (channel === undefined || channel.readyState === "open"),
      () => `the client's connection is ${connection.connectionState}, its channel ${channel?.readyState}`,
    );
  }

  /** Where it is reached by the path that it has chosen. */
  get reachedAt(): { address: string; port: number } {
    const { host, port } = this.connection.iceTransports[0]!.connection.nominated!.localCandidate;
    return { address: host, port };
  }

  /** The sequence number that was used last. */
  get sequence(): number {
    return this.#sequence;
  }

  /** The next sequence number gets lost. */
  skip(): void {
    this.#sequence = (this.#sequence + 1) & 0xffff;
  }

  sendAudio(fields: {
    payload: Buffer;
    timestamp: number;
    marker?: boolean;
    payloadType?: number;
    level?: Extension;
  }): void {
    this.skip();
    const header = new RtpHeader({
      ssrc: this.ssrc,
      payloadType: fields.payloadType ?? 96,
      sequenceNumber: this.#sequence,
      timestamp: fields.timestamp,
      marker: fields.marker ?? false,
    });
    if (fields.level !== undefined) header.extensions.push(fields.level);
    this.#track.writeRtp(new RtpPacket(header, fields.payload));
  }

  sendVideo(payload: Buffer): void {
    const { payloadType } = this.connection.getTransceivers().find(({ kind }) => kind === "video")!.codecs[0]!;
    const header = new RtpHeader({ ssrc: this.ssrc, payloadType, sequenceNumber: 1, timestamp: 90_000 });
    this.#video.writeRtp(new RtpPacket(header, payload));
  }

  async close(): Promise<void> {
    await this.connection.close();
  }
}
