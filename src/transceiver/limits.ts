/** The numbers that a transceiver was given by choice: unit, origin, and what breaks if one is changed. */

// ---- ICE ----

/**
 * Paths that one session remembers. Browsers with several interfaces and two advertised addresses need about ten. The
 * relay keeps as many for a ufrag, so a larger value here gains nothing; a smaller one loses backup paths.
 */
export const MAX_PATHS = 16;

/**
 * How long a check may wait for its answer before a further request starts a new transaction. RFC 8445, section 14.3,
 * gives up on a check after about 40 s; what matters here is that the proof is fresh, and that a round trip over a
 * satellite, about 1 s, fits.
 */
export const CHECK_LIFETIME_MS = 5_000;

/**
 * How long a path counts as proved for the purpose of selecting it. Half the consent timeout, so that consent on a path
 * that has just been selected can be refreshed before it runs out.
 */
export const PROOF_FRESH_MS = 15_000;

/** Consent checks on the selected path: 5 s, randomised by a fifth (RFC 7675, section 5.1). */
export const CONSENT_INTERVAL_MIN_MS = 4_000;
export const CONSENT_INTERVAL_MAX_MS = 6_000;

/** Without an answer for so long nothing more may be sent (RFC 7675, section 5.1). The relay's idle time is longer. */
export const CONSENT_TIMEOUT_MS = 30_000;

/**
 * A selected path that has been silent for so long loses to one that has just been proved (NAT rebinding). Voice comes
 * every 20 ms. Too small, and a burst of loss moves media; too large, and a rebound client hears a gap of that length.
 */
export const SILENCE_MS = 500;

/**
 * PRIORITY of our checks: a peer-reflexive candidate of component 1 with the highest local preference (RFC 8445,
 * sections 5.1.2.1 and 7.1.1). Nobody acts on it, because the client is the controlling side.
 */
export const CHECK_PRIORITY = 110 * 2 ** 24 + 65_535 * 2 ** 8 + 255;

// ---- calls ----

/** One timer serves all calls; consent and timeouts are late by at most this much. */
export const TICK_MS = 250;

/** From the answer until DTLS is up. A client on a bad network needs seconds; an abandoned offer holds memory as long. */
export const SETUP_TIMEOUT_MS = 30_000;

/** DTLS that arrives in the same turn as the proof of its path, before werift begins it: a ClientHello is two datagrams. */
export const EARLY_DATAGRAMS = 8;

// ---- what a client may make us hold ----

/** Browsers offer 2 to 8 KiB; signalling refuses larger bodies too. */
export const MAX_OFFER_BYTES = 65_536;

/** A browser's candidate is about 120 bytes, and it has few dozens at most. */
export const MAX_FRAGMENT_BYTES = 16_384;

/** Each costs an RTP sender, a receiver and their timers. */
export const MAX_MEDIA_LINES = 16;

/** RFC 8839, section 5.4. */
export const ICE_UFRAG_CHARS = { least: 4, most: 256 } as const;
export const ICE_PASSWORD_CHARS = { least: 22, most: 256 } as const;

/** SSRCs that a client may use beyond those that its offer names. */
export const MAX_LATCHED_SSRCS = 32;

/** Open data channels of one call; a further one is closed. */
export const MAX_CHANNELS = 64;

/** Unsent bytes of one data channel. A client that sends but does not acknowledge would make them grow without end. */
export const MAX_CHANNEL_BUFFER_BYTES = 1_048_576;

/**
 * Bytes of unfinished messages beyond the window that was announced to the client. An honest client stays within the
 * window; the slack is for werift, which forgets to give bytes back when a stream is reset.
 */
export const MAX_OVERFLOW_BYTES = 1_048_576;

// ---- audio of backends ----

/** How often the timer that paces all calls looks for what is due. A packet is late by at most this much; less costs CPU. */
export const PACE_TICK_MS = 5;

/**
 * Audio that is later than this is no longer sent in a burst but after a pause. Browsers' jitter buffers swallow about as
 * much; a larger value makes bursts that they throw away, a smaller one makes gaps of every stall of the event loop.
 */
export const MAX_LATE_MS = 120;

/** Packets of silence after speech: 100 ms, in which a client's concealment would otherwise stretch the last syllable. */
export const CLOSING_PACKETS = 5;

/** Packets that are held while an earlier one is missing: 60 ms more of delay after a loss, and reordering is rarely deeper. */
export const REORDER_PACKETS = 3;

/** A jump in sequence numbers that is no loss but a sender that has begun anew: 2 s of voice. */
export const RESYNC_PACKETS = 100;

/** Lost packets in a row that the decoder makes something up for; it has faded to silence by then. */
export const MAX_CONCEALED = 5;

/** Time without packets that is filled with silence when the next one comes. What detects the end of speech needs less. */
export const MAX_SILENCE_MS = 1_000;

/**
 * What a client may have decoded: this many times what it can speak in that time, after a burst of so much. It bounds what
 * a flood of valid packets costs; a smaller factor would cut clients off that catch up after a break in their network.
 */
export const DECODE_RATE = 2;
export const DECODE_BURST_MS = 4_000;
/** A packet costs as much as one of this length at least. */
export const DECODE_LEAST_MS = 5;

/** Good wideband speech (RFC 6716, section 2.1.1); browsers choose the same. */
export const OPUS_BITRATE = 32_000;
/** 0 to 10. 1 takes half the time of 5, and 10 twice (`npm run bench:micro` times what is set here); browsers on small devices choose 5. */
export const OPUS_COMPLEXITY = 5;
/** Makes the encoder repeat the packet before in each packet, for clients that lose some. */
export const OPUS_EXPECTED_LOSS_PERCENT = 10;

// ---- backends ----

/** Until a backend's `open` has resolved. Callers hang up earlier. */
export const BACKEND_OPEN_TIMEOUT_MS = 10_000;

/** Events that wait for that: a client opens one or two data channels and says hello. */
export const MAX_EARLY_EVENTS = 64;

/** Promises of a session's handlers that are pending; media is dropped while there are more. One second of voice. */
export const MAX_PENDING_HANDLERS = 50;

/** Most audio that a backend may have queued in one call, unless a setting says otherwise: 3 MB of samples at 24 kHz. */
export const MAX_QUEUED_AUDIO_MS = 60_000;

// ---- the service behind the websocket backend ----

export interface ServiceTiming {
  /** From connecting to the service's agreement. */
  readonly connectMs: number;
  /** Before the first new attempt; each further one waits twice as long. */
  readonly retryMs: number;
  readonly retryMaxMs: number;
  /** Attempts in a row that fail; after these the call ends. */
  readonly attempts: number;
  /** A connection that lasted so long was none of these. */
  readonly stableMs: number;
  /** A service that answers no ping in this time is gone. */
  readonly pingMs: number;
  /** For its goodbye. */
  readonly closeMs: number;
}

/** About 10 s of attempts: a service that restarts comes back in that time, and a caller waits no longer. */
export const SERVICE_TIMING: ServiceTiming = {
  connectMs: 10_000,
  retryMs: 250,
  retryMaxMs: 4_000,
  attempts: 6,
  stableMs: 10_000,
  pingMs: 15_000,
  closeMs: 1_000,
};

/** Of one event. Audio deltas of known services are below 100 KB; each is parsed on the event loop of all calls. */
export const MAX_SERVICE_EVENT_BYTES = 1_048_576;

/** Unsent bytes of one service's connection: 4 s of audio at 24 kHz. Past it the service is too slow, and audio waits. */
export const MAX_SERVICE_BUFFER_BYTES = 262_144;

/** The caller's audio that waits for a service: 2 s, so that words said while it connects are not lost. */
export const MAX_HELD_AUDIO_EVENTS = 100;

/** Other events that wait, in either direction. */
export const MAX_HELD_EVENTS = 64;

/** Of one event of a client: conversations with images are not expected here. */
export const MAX_CLIENT_EVENT_CHARS = 262_144;

/** Responses that were cut off and of which audio may still be on its way. */
export const MAX_CUT_RESPONSES = 16;

// ---- trunk ----

/** Relay ports that replies can be sent to, as many as the trunk reader has replay windows for. */
export const MAX_RELAY_PORTS = 4_096;

/** A relay pings once a second and calls a transceiver dead after three; this is the same from the other side. */
export const RELAY_SILENCE_MS = 3_000;

/**
 * A relay of which nothing has been heard for so long is taken for gone: its paths are offered to the other relays. It pings
 * once a second, so a lost ping costs a few frames too many; much longer, and calls wait for their client's next check.
 */
export const RELAY_GONE_MS = 1_500;

/** How often a call whose relay is gone tries the others, until one of them brings something from its client. */
export const SEEK_RELAY_MS = 1_000;

/**
 * Relays beside the present one that a path's transceiver remembers, to tell them of the session's end. At those that a load
 * balancer moved it to before, its flow would only end by being idle.
 */
export const MAX_OTHER_RELAYS = 8;

/** Relays that such a call tries at a time; those that were heard of most lately. */
export const SEEK_RELAYS = 4;

/**
 * Media that has waited in the kernel for longer is dropped: a transceiver that was starved of CPU has seconds of voice
 * before it, which would come out late and keep all that follows late. Clients' jitter buffers give up at about this
 * delay too. Smaller, and a pause of the garbage collector costs words; larger, and a stall is heard as an echo of the past.
 */
export const MAX_MEDIA_AGE_MS = 200;

/**
 * Rate times gap: what 1,000 calls send in the time above, 50 packets/s each, so that nothing is lost in a gap in which
 * nothing is stale yet. That is 10,000 datagrams of one packet, at 832 bytes of buffer each (measured); the kernel grants
 * twice what is asked. Smaller, and short gaps lose voice at high load; larger, and memory holds what will be dropped.
 */
export const TRUNK_RECEIVE_BUFFER_BYTES = 4_194_304;

// ---- logging ----

/** Lines of one kind in one such window: what an attacker can repeat must not fill a disk. */
export const LOG_LINES_PER_WINDOW = 5;
export const LOG_WINDOW_MS = 10_000;
