/**
 * What a call is to the service behind it: audio, other media and messages, in both directions. This is the interface
 * that your own module has (docs/backends.md), and the built-in backends have no other. A backend never sees ICE, DTLS,
 * SRTP or a path, and nothing that it does can reach another call.
 */

/**
 * How a backend hears and speaks. `packets`: as they are on the wire (Opus mostly), nothing is decoded. `pcm16-*`: mono,
 * 16 bits a sample, at that many samples per second; Earshot decodes and encodes.
 */
export const AUDIO_FORMATS = ["packets", "pcm16-24000", "pcm16-48000"] as const;
export type AudioFormat = (typeof AUDIO_FORMATS)[number];

/** Loudness as the client measured it (RFC 6464), if it offers to say so: browsers do. */
export interface AudioLevel {
  /** From 0, the loudest, to -127, silence. */
  readonly levelDbov: number;
  /** Whether the client takes it to be speech. Browsers that do not look say so of everything. */
  readonly hasVoice: boolean;
}

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
  readonly level?: AudioLevel;
}

/** Decoded audio, in order and without gaps up to a second: what was lost is concealed, what was not sent is silence. */
export interface AudioFrame {
  /** The m-line's `mid`. */
  readonly line: string;
  /** 32 bits, in 48,000ths of a second: that of the packet that it was decoded from. */
  readonly timestamp: number;
  /** Mono, at the rate that the backend asked for. As long as the packet was: 20 ms from a browser. */
  readonly samples: Int16Array;
  /** `received`; `concealed`: made up by the decoder for a lost packet; `silence`: nothing was sent for this time. */
  readonly origin: "received" | "concealed" | "silence";
  readonly level?: AudioLevel;
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

/** The backend's voice in a call. What is written is queued, and goes out as it is to be heard: 20 ms every 20 ms. */
export interface AudioOut {
  /**
   * Adds audio of any length: samples, or the same as little-endian bytes; in the format `packets` one packet. False if
   * the queue is now more than half full, or nobody can hear it: go on when `audioDrained` is called. What does not fit
   * into the queue is dropped and counted.
   */
  write(audio: Int16Array | Uint8Array): boolean;
  /** Drops what is queued, so that the caller hears silence at once. Returns how much that was, in ms. */
  flush(): number;
  /** Written and not yet sent. */
  readonly queuedMs: number;
  /** Sent since the call began, silence between not counted. */
  readonly playedMs: number;
}

/** What a backend can do with a call, from `open` until `ended`. After that nothing happens. */
export interface BackendCall {
  readonly id: string;
  /** Where the client is reached at this moment, like `203.0.113.7:50000`. */
  readonly remote: string | undefined;
  readonly lines: readonly MediaLine[];
  /** Aborted when the call is over; `reason` says why, in one word. */
  readonly signal: AbortSignal;
  readonly audio: AudioOut;
  /** Sends a packet as it is, at once: for video, and for audio that needs no pacing. Not beside `audio` on one line. */
  sendFrame(frame: MediaFrame): void;
  /** False if the channel is closed, or holds so much that is unsent that this message was dropped. */
  sendMessage(channel: number, data: string | Buffer): boolean;
  /** Asks the client for a video frame that can be decoded without earlier ones. */
  requestKeyframe(line: string): void;
  /** Ends the call; with an error, that is logged and counted as the backend's failure. */
  hangUp(error?: Error): void;
}

/**
 * One call's side of a backend: what it leaves out it does not hear of. What it throws, or what a promise that it
 * returns rejects with, ends the call, and only that.
 */
export interface BackendSession {
  /** A packet as it came: video, and audio where the format is `packets`. */
  frame?(frame: MediaFrame): void | Promise<void>;
  /** Decoded audio, where the format is one of `pcm16-*`. */
  audio?(frame: AudioFrame): void | Promise<void>;
  /** The queue of `call.audio` has room again, after a `write` that returned false. */
  audioDrained?(): void | Promise<void>;
  /** The last of what was written to `call.audio` has been sent. */
  audioPlayed?(): void | Promise<void>;
  channelOpened?(channel: DataChannel): void | Promise<void>;
  channelClosed?(channel: DataChannel): void | Promise<void>;
  message?(channel: DataChannel, data: string | Buffer): void | Promise<void>;
  /** The client cannot decode what it gets on this line until a video frame comes that needs no earlier ones. */
  keyframeRequested?(line: string): void | Promise<void>;
  /** The call is over; the last that it hears. */
  ended?(reason: string): void | Promise<void>;
}

export interface Backend {
  /** For logs. */
  readonly name: string;
  /** How audio comes and goes; `packets` if absent. */
  readonly audio?: AudioFormat;
  /** A call has connected. Until this has resolved (10 s at most), media is dropped and messages wait. */
  open(call: BackendCall): BackendSession | Promise<BackendSession>;
}
