/**
 * One call as werift sees it: an RTCPeerConnection with one transport. werift brings SDP, RTP, RTCP, SCTP and data
 * channels; ICE, DTLS and SRTP are ours. Outside of this folder nobody knows werift.
 * What werift throws goes to `fault`, never further.
 */
import {
  type IceConnection,
  type RTCDtlsTransport,
  RTCIceGatherer,
  RTCIceTransport,
  RTCPeerConnection,
  useAudioLevelIndication,
  useAV1,
  useG722,
  useH264,
  useOPUS,
  usePCMA,
  usePCMU,
  useSdesMid,
  useVP8,
  useVP9,
} from "werift";
import { EarshotError } from "../../earshot-error.ts";
import type { MediaFrame, MediaLine } from "../backends/backend.ts";
import type { IceCredentials } from "../ice-agent.ts";
import type { Offer } from "../sdp-offer.ts";
import { DataChannels, type DataChannelsHost } from "./data-channels.ts";
import { type DtlsTransportHost, NativeDtlsTransport } from "./dtls-transport.ts";
import { AgentConnection, type IceConnectionHost } from "./ice-connection.ts";
import { weriftInternals } from "./internals.ts";
import { localCertificate } from "./local-certificate.ts";
import { MediaLines, type MediaLinesHost } from "./media-lines.ts";

export interface PeerHost extends IceConnectionHost, DtlsTransportHost, DataChannelsHost, MediaLinesHost {
  /** DTLS is up: frames and messages flow. */
  connected(): void;
  /** The client has closed DTLS or SCTP, or DTLS has failed, or it sends more than it may. */
  ended(reason: "hang-up" | "overflow" | "dtls-failed"): void;
}

/** Codecs whose packets we know to be whole in themselves; nothing here decodes any. Made anew, because werift changes them. */
const codecs = () => ({
  audio: [useOPUS(), usePCMU(), usePCMA(), useG722()],
  video: [useVP8(), useVP9(), useH264(), useAV1()],
});
const CODEC_NAMES = "audio: Opus, PCMU, PCMA, G.722; video: VP8, VP9, H.264, AV1";

const connectionConfig = () => ({
  // werift's default is a public STUN server.
  iceServers: [],
  bundlePolicy: "max-bundle" as const,
  certificates: [localCertificate().certificate],
  codecs: codecs(),
  headerExtensions: { audio: [useSdesMid(), useAudioLevelIndication()], video: [useSdesMid()] },
});

/**
 * Makes the certificate that all peers share, and checks that this is the werift that this folder was written for. Throws
 * WERIFT_INTERNALS or ADDON_UNAVAILABLE.
 */
export async function prepareWerift(): Promise<void> {
  const connection = new RTCPeerConnection(connectionConfig());
  weriftInternals(connection);
  await connection.close();
}

export class Peer {
  readonly #host: PeerHost;
  readonly #connection: RTCPeerConnection;
  readonly #ice: AgentConnection;
  readonly #media: MediaLines;
  readonly #channels: DataChannels;
  #dtls: NativeDtlsTransport | undefined;
  /** Of the first offer, in lower case. */
  #fingerprints: readonly string[] | undefined;

  /** `hasMedia`: whether the first offer has audio or video. */
  constructor(host: PeerHost, hasMedia: boolean) {
    this.#host = host;
    this.#connection = new RTCPeerConnection(connectionConfig());
    const { router, secureManager } = weriftInternals(this.#connection);
    this.#ice = new AgentConnection(host);
    this.#media = new MediaLines(host, router);
    this.#channels = new DataChannels(host, this.#connection);

    secureManager.createTransport = () => {
      if (this.#dtls !== undefined)
        throw new EarshotError("SDP_UNSUPPORTED", "all m-lines have to share one transport");
      const gatherer = new RTCIceGatherer();
      // The gatherer's own connection has opened nothing yet, and never will.
      (gatherer as { connection: IceConnection }).connection = this.#ice;
      gatherer.onGatheringStateChange.subscribe(() => secureManager.updateIceGatheringState());
      const transport = new RTCIceTransport(gatherer);
      transport.onStateChange.subscribe(() => secureManager.updateIceConnectionState());
      this.#dtls = new NativeDtlsTransport(host, this.#connection.config, transport, hasMedia);
      this.#media.attach(this.#dtls);
      this.#dtls.onStateChange.subscribe((state) => this.#dtlsChanged(state));
      return this.#dtls;
    };
  }

  get lines(): readonly MediaLine[] {
    return this.#media.lines;
  }

  /** Answers the first offer, or a later one of the same client. Throws SDP_INVALID or SDP_UNSUPPORTED. */
  async answer(offer: Offer): Promise<string> {
    const connection = this.#connection;
    this.#checkCertificate(offer);
    try {
      await connection.setRemoteDescription({ type: "offer", sdp: offer.sdp });
      this.#media.update(connection);
      this.#channels.update(connection, this.#dtls);
      await connection.setLocalDescription(await connection.createAnswer());
    } catch (error) {
      if (error instanceof EarshotError) throw error;
      const message =
        error instanceof Error && error.message !== "" ? error.message : "its attributes do not fit together";
      throw new EarshotError("SDP_INVALID", `malformed offer: ${message.slice(0, 200)}`, { cause: error });
    }
    // werift claims to take one-byte and two-byte extensions mixed, whatever was offered (RFC 8285, section 6).
    const sdp = connection.localDescription?.sdp.replace("a=extmap-allow-mixed\r\n", "") ?? "";
    if (!/^m=\S+ [1-9]/m.test(sdp)) {
      const message = `cannot answer this offer: no codec in common on any m-line; supported are ${CODEC_NAMES}`;
      throw new EarshotError("SDP_UNSUPPORTED", message);
    }
    return sdp;
  }

  /** Restarts ICE with these credentials of the client's, if they are others than before. */
  restartIce({ ufrag, password }: IceCredentials): void {
    this.#dtls?.iceTransport.setRemoteParams({ iceLite: false, usernameFragment: ufrag, password });
  }

  /** The agent has selected the first path of an ICE generation. */
  pathSelected(): void {
    this.#ice.pathSelected();
  }

  /** DTLS, SRTP or SRTCP from a proved path. */
  receive(datagram: Buffer): void {
    this.#dtls?.receive(datagram);
  }

  sendFrame(frame: MediaFrame): void {
    this.#media.send(frame);
  }

  sendMessage(channel: number, data: string | Buffer): boolean {
    return this.#channels.send(channel, data);
  }

  requestKeyframe(line: string): void {
    this.#media.requestKeyframe(line);
  }

  /** Says goodbye to the client while there is still a path, and frees everything. */
  async close(): Promise<void> {
    try {
      await this.#connection.close();
    } catch (error) {
      this.#host.fault(error);
    }
  }

  /** Another certificate would need another DTLS session (RFC 8842, section 5.1), and a call keeps the one that it has. */
  #checkCertificate({ fingerprints }: Offer): void {
    const all = fingerprints.map((fingerprint) => fingerprint.toLowerCase());
    this.#fingerprints ??= all;
    if (this.#fingerprints.some((known) => all.includes(known))) return;
    const message =
      "cannot answer this offer: a=fingerprint of another certificate than the call began with: make a new call";
    throw new EarshotError("SDP_UNSUPPORTED", message);
  }

  #dtlsChanged(state: RTCDtlsTransport["state"]): void {
    if (state === "connected") this.#host.connected();
    else if (state === "closed") this.#host.ended("hang-up");
    else if (state === "failed") this.#host.ended("dtls-failed");
  }
}
