/** Every limit of what is done with Redis, with its unit, its origin, and what breaks if it changes. */

/**
 * Bytes of an answer: whoever has filled Redis must not fill a relay. The longest of ours are 16 batches of changes and 4,096
 * heartbeats, half a megabyte each.
 */
export const MOST_REPLY_BYTES = 4 << 20;
/** Strings, numbers and arrays in an answer, each of which is an object of some 150 bytes. Ours have 8,192 at most. */
export const MOST_REPLY_ITEMS = 65_536;
/** Arrays in arrays. Ours have three levels. */
export const MOST_REPLY_DEPTH = 8;
/** A command that has no answer by then has failed, ms. Nothing waits for it but other work with Redis. */
export const COMMAND_TIMEOUT_MS = 1_000;
export const CONNECT_TIMEOUT_MS = 2_000;
/** Longest pause between two attempts to connect, ms. Longer, and a Redis that is back is not used for as long. */
export const RECONNECT_MOST_MS = 2_000;
/** While Redis stays away, a log line that often, ms. */
export const LOG_EVERY_MS = 60_000;
/** It may have come back and gone again: then that often at most, ms. */
export const LOG_AGAIN_MS = 10_000;

/** A flow's record lives that long in Redis, s. Three refreshes fit, so that two may fail. */
export const FLOW_TTL_S = 90;
/** A flow that is alive is written again after so long, ms. Below the 60 s after which relays forget an idle flow: what the others do not hear of, they forget. */
export const REFRESH_MS = 30_000;
/** Clocks of one fleet may differ by that much, ms. */
export const CLOCK_SKEW_MS = 30_000;
/** A record older than that is not used, ms. */
export const FLOW_MOST_AGE_MS = FLOW_TTL_S * 1_000 + CLOCK_SKEW_MS;

/**
 * From the admission of a flow until it is looked at whether its transceiver has answered, ms: a round trip on the trunk, with
 * room. A flow that is lost before it was written comes back through its owner, or by its next check.
 */
export const FIRST_LOOK_MS = 200;
/** Flows that wait for that look; more are found by the sweep. */
export const MOST_FRESH = 16_384;
/** Flows that one step of the sweep looks at, every 100 ms: 65,536 in 13 s, and about 0.5 ms of work. */
export const SWEEP_STEP = 512;

/** Records in one round trip: about 30 KB. */
export const BATCH_RECORDS = 256;
/** Records that wait to be written, about 200 bytes each. More are dropped; the sweep writes them later. */
export const MOST_QUEUED = 16_384;

/** Entries that the change stream keeps, each a batch: at 10,000 changes a second 13 s of them, and 16 MB at most. */
export const STREAM_ENTRIES = 512;
/** The stream is forgotten when no relay has written to it for so long, s. */
export const STREAM_TTL_S = 3_600;
/** How often the stream is asked for news, ms: how far one relay is behind another. */
export const FOLLOW_MS = 100;
/** Entries taken from the stream at a time. */
export const FOLLOW_ENTRIES = 16;
/** If there were that many, it is asked again after so long, ms: 1,600 entries a second at most, whoever may write them. */
export const FOLLOW_BEHIND_MS = 10;

/** Keys in one step of the preload; the answer is about 60 KB. */
export const PRELOAD_KEYS = 512;
/**
 * A preload ends after that long, ms, however much Redis still says that it has: by then each flow that is alive has been written
 * again, which the change stream tells.
 */
export const PRELOAD_MOST_MS = REFRESH_MS;
/** So long work on what Redis has answered may hold the event loop, ms; then misses have a turn, of as long (DRAIN_MS). */
export const STRETCH_MS = 2;
/** A relay that starts waits that long for a transceiver to answer before it loads flows, ms: they answer within a few. */
export const TRANSCEIVERS_WITHIN_MS = 1_000;
/** How often it looks meanwhile whether Redis and a transceiver are there, ms: what it is then to load, clients are waiting for. */
export const READY_LOOK_MS = 10;
/** Records kept for transceivers that have not answered yet. They may answer a second after a relay's start, not an hour. */
export const MOST_WAITING = 131_072;
export const WAITING_MS = 10_000;
/** Of these, so many come into the table in one step, every 100 ms: 10 ms of work. */
export const WAITING_STEP = 1_024;

/**
 * For so long after a relay's start its workers hold what they cannot place, at most and unless the operator says otherwise, ms: by
 * then clients have checked their paths, or the preload has brought their flows.
 */
export const HOLD_MS = 10_000;
/**
 * How long a datagram may be held, ms: as long as a command may take. It is a few packets of a call that moves, once; older
 * ones would come after what the client has said since, and no receiver's jitter buffer waits for them.
 */
export const HELD_MOST_MS = COMMAND_TIMEOUT_MS;
/** Paths that may be looked up at once, and so many more in each step of 100 ms: a twentieth of a core, at 20 us for one that Redis does not know. */
export const LOOKUPS_AT_ONCE = 4_096;
export const LOOKUPS_STEP = 256;
/** Paths that wait for an answer. */
export const MOST_LOOKUPS = 8_192;

/** How often a transceiver says where it is, and relays look, ms: a new one has calls after twice that at most. */
export const HEARTBEAT_MS = 2_000;
/** A heartbeat that is older names nobody, ms: four may be missed. Clocks may differ by CLOCK_SKEW_MS. */
export const HEARTBEAT_MOST_AGE_MS = 10_000 + CLOCK_SKEW_MS;
/** All heartbeats of a cluster are forgotten when no transceiver has written for so long, s. */
export const HEARTBEATS_TTL_S = 60;
/** Transceivers that a relay takes from Redis; its data plane has room for as many. */
export const MOST_HEARTBEATS = 4_096;
