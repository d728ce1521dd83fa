/**
 * What a call is to the service behind it: media frames and messages, in both directions. A backend never sees ICE,
 * DTLS, SRTP or a path, and nothing that it does can reach another call.
 */

/** One RTP packet without what belongs to the transport: SSRC, extensions, encryption. */
export interface MediaFrame {
  /** The m-line's `mid`. */
  readonly line: string;
  readonly kind: "audio" | "video";
  /** As negotiated; what it stands for is in {@link MediaLine.codecs}. */
  readonly payloadType: number;
  /** 16 bits, one more for each packet; a gap is a loss. */
  readonly sequence: number;
  /** 32 bits, in units of the codec's clock. */
  readonly timestamp: number;
  readonly marker: boolean;
  /** The encoded audio or video. Valid as long as it is kept. */
  readonly payload: Buffer;
}

export interface MediaCodec {
  readonly payloadType: number;
  /** Like `audio/opus`. */
  readonly mimeType: string;
  /** Hz */
  readonly clockRate: number;
  readonly channels: number;
}

export interface MediaLine {
  readonly line: string;
  readonly kind: "audio" | "video";
  /** Whether the client takes media on this line. */
  readonly sends: boolean;
  /** In order of preference. */
  readonly codecs: readonly MediaCodec[];
}

export interface DataChannel {
  /** The SCTP stream; the channel's name within the call. */
  readonly id: number;
  readonly label: string;
}

/** What a backend can do with a call, from `open` until `ended`. After that nothing happens. */
export interface BackendCall {
  readonly id: string;
  readonly lines: readonly MediaLine[];
  sendFrame(frame: MediaFrame): void;
  /** False if the channel is closed, or holds so much that is unsent that this message was dropped. */
  sendMessage(channel: number, data: string | Buffer): boolean;
  /** Asks the client for a video frame that can be decoded without earlier ones. */
  requestKeyframe(line: string): void;
  hangUp(): void;
}

/** One call's side of a backend. What it throws ends the call, and only that. */
export interface BackendSession {
  frame(frame: MediaFrame): void;
  channelOpened(channel: DataChannel): void;
  channelClosed(channel: DataChannel): void;
  message(channel: DataChannel, data: string | Buffer): void;
  /** The client cannot decode what it gets on this line until a video frame comes that needs no earlier ones. */
  keyframeRequested(line: string): void;
  /** The call is over; the last that it hears. */
  ended(reason: string): void;
}

export interface Backend {
  readonly name: string;
  /** A call has connected. */
  open(call: BackendCall): BackendSession;
}
