/**
 * The private parts of werift that are used, named in one place, and checked before they are: werift promises nothing
 * about them, so another version may lack or rename them. Line numbers are of werift 0.25.2, in lib/webrtc/src.
 */
import {
  type RTCDataChannel,
  RTCDtlsTransport,
  type RTCPeerConnection,
  type RTCRtpReceiver,
  type RTCRtpSender,
  type RTCSctpTransport,
} from "werift";
import { EarshotError } from "../../earshot-error.ts";

export interface WeriftInternals {
  readonly secureManager: {
    /** secureTransportManager.js:161. Replaced, to put our ICE and the choice of DTLS in its place. */
    createTransport: () => RTCDtlsTransport;
    readonly updateIceGatheringState: () => void;
    readonly updateIceConnectionState: () => void;
  };
  readonly router: {
    readonly ssrcTable: Readonly<Record<number, unknown>>;
    /** media/router.js:121 */
    readonly registerRtpReceiver: (receiver: RTCRtpReceiver, ssrc: number) => void;
  };
}

/** transport/dtls.js. Overridden by dtls-transport.ts, but for these. */
export interface DtlsInternals {
  /** :485. Tells everybody who has subscribed. */
  readonly setState: (state: RTCDtlsTransport["state"]) => void;
  /** :235. From every offer so far. */
  readonly remoteParameters: { readonly fingerprints: readonly { readonly value: string }[] } | undefined;
  /** What `getStats` reads of werift's own session. */
  dtls: {
    readonly dtls: { readonly version: { readonly major: number; readonly minor: number } };
    readonly cipher: { readonly cipher: { readonly name: string } };
    readonly srtp: { readonly srtpProfile: number };
    readonly remoteCertificate: Buffer;
  };
}

/** media/rtpReceiver.js */
export interface ReceiverInternals {
  /** By payload type, as negotiated. */
  readonly codecs: Readonly<Record<number, { readonly payloadType: number; readonly clockRate: number }>>;
  /** By SSRC; what it reports of. */
  readonly remoteStreams: Record<number, ReceiverStatistics>;
  readonly stopped: boolean;
  /** :338. Reports from now on. */
  readonly runRtcp: () => Promise<void>;
}
/** media/receiver/statistics.js, as far as a report reads it. */
export interface ReceiverStatistics {
  readonly fraction_lost: number;
  readonly packets_lost: number;
  readonly max_seq: number;
  readonly jitter: number;
}

/** media/rtpSender.js. What it reports of itself is in its fields. */
export interface SenderInternals {
  readonly ssrc: number;
  readonly mid: string | undefined;
  readonly headerExtensions: readonly { readonly id: number; readonly uri: string }[];
  readonly stopped: boolean;
  readonly rtcpRunning: boolean;
  packetCount: number;
  octetCount: number;
  rtpTimestamp: number;
  ntpTimestamp: bigint;
  /** :652. Reports from now on. */
  readonly runRtcp: () => Promise<void>;
}

export interface SctpInternals {
  /** sctp/src/sctp.js: reads one packet. Its rejection is nobody's to catch. */
  readonly handleData: (packet: Buffer) => Promise<void>;
  /** Bytes that the client may still send; werift announces it, and does not enforce it. */
  readonly advertisedRwnd: number;
  /** Undefined before the client's INIT. */
  readonly lastReceivedTsn: number | undefined;
  /** Of the next DATA chunk. */
  readonly localTsn: number;
}

export interface SctpTransportInternals {
  /** transport/sctp.js:97. Takes one message; its rejection, too, is nobody's to catch. */
  readonly datachannelReceive: (streamId: number, protocol: number, data: Buffer) => Promise<void>;
  readonly dataChannelQueue: [channel: RTCDataChannel, protocol: number, data: Buffer][];
  readonly dataChannelFlush: () => Promise<void>;
}

/** Throws WERIFT_INTERNALS if this werift is not the one that the adapter was written for. */
export function weriftInternals(connection: RTCPeerConnection): WeriftInternals {
  const { secureManager, router } = connection as unknown as Record<string, Record<string, unknown> | undefined>;
  requireFunctions("RTCPeerConnection.secureManager", secureManager, [
    "createTransport",
    "updateIceGatheringState",
    "updateIceConnectionState",
  ]);
  requireFunctions("RTCPeerConnection.router", router, ["registerRtpReceiver"]);
  if (typeof router?.ssrcTable !== "object") throw changed("RTCPeerConnection.router.ssrcTable");
  // What dtls-transport.ts overrides has to be what werift calls.
  const dtls = RTCDtlsTransport.prototype as unknown as Record<string, unknown>;
  const overridden = ["start", "startSrtp", "updateSrtpSession", "sendRtp", "sendRtcp", "stop"];
  requireFunctions("RTCDtlsTransport", dtls, [...overridden, "getStats", "setRemoteParams", "setState"]);
  return { secureManager, router } as unknown as WeriftInternals;
}

export const dtlsInternals = (transport: RTCDtlsTransport): DtlsInternals => transport as unknown as DtlsInternals;

export function receiverInternals(receiver: RTCRtpReceiver): ReceiverInternals {
  const internals = receiver as unknown as Record<string, unknown>;
  requireFunctions("RTCRtpReceiver", internals, ["runRtcp"]);
  for (const name of ["codecs", "remoteStreams"]) {
    if (typeof internals[name] !== "object") throw changed(`RTCRtpReceiver.${name}`);
  }
  return internals as unknown as ReceiverInternals;
}

export function senderInternals(sender: RTCRtpSender): SenderInternals {
  const internals = sender as unknown as Record<string, unknown>;
  requireFunctions("RTCRtpSender", internals, ["runRtcp"]);
  for (const name of ["packetCount", "octetCount", "rtpTimestamp"]) {
    if (typeof internals[name] !== "number") throw changed(`RTCRtpSender.${name}`);
  }
  if (typeof internals.ntpTimestamp !== "bigint") throw changed("RTCRtpSender.ntpTimestamp");
  if (!Array.isArray(internals.headerExtensions)) throw changed("RTCRtpSender.headerExtensions");
  return internals as unknown as SenderInternals;
}

export function sctpInternals(transport: RTCSctpTransport): SctpTransportInternals & { readonly sctp: SctpInternals } {
  const internals = transport as unknown as Record<string, unknown>;
  requireFunctions("RTCSctpTransport", internals, ["datachannelReceive", "dataChannelFlush"]);
  const sctp = internals.sctp as Record<string, unknown> | undefined;
  requireFunctions("RTCSctpTransport.sctp", sctp, ["handleData"]);
  for (const name of ["advertisedRwnd", "localTsn"]) {
    if (typeof sctp?.[name] !== "number") throw changed(`RTCSctpTransport.sctp.${name}`);
  }
  if (!("lastReceivedTsn" in sctp!)) throw changed("RTCSctpTransport.sctp.lastReceivedTsn");
  if (!Array.isArray(internals.dataChannelQueue)) throw changed("RTCSctpTransport.dataChannelQueue");
  return internals as unknown as SctpTransportInternals & { readonly sctp: SctpInternals };
}

function requireFunctions(owner: string, object: Record<string, unknown> | undefined, names: readonly string[]): void {
  for (const name of names) if (typeof object?.[name] !== "function") throw changed(`${owner}.${name}`);
}

function changed(what: string): EarshotError {
  return new EarshotError(
    "WERIFT_INTERNALS",
    `expected werift 0.25.2, got one without ${what}: install exactly 0.25.2`,
  );
}
