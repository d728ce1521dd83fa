/** Every limit that the relay's control plane chose, with its unit, its origin, and what breaks if it changes. */

/** Longest time that misses may hold the event loop in one turn, ms. Longer, and timers and signals wait behind a flood. */
export const DRAIN_MS = 2;

/** Misses taken from the engine in one call. Between two calls the clock is read, so it also bounds the overrun. */
export const DRAIN_RECORDS = 64;

/** How often a live transceiver is pinged, ms. With {@link DEAD_AFTER_MS} it is how soon a dead one gets no new flows. */
export const PING_MS = 1_000;

/** The same for one that has not answered yet, so that a fresh start is ready at once. */
export const PING_UNANSWERED_MS = 200;

/** A transceiver that has been silent for this long gets no new flows, ms: three pings, because one may be lost. */
export const DEAD_AFTER_MS = 3_000;

/** Time between two steps of the flow table's expiry scan, ms. 50 steps see the whole table. */
export const EXPIRE_MS = 100;

/** Part of the flow table that flows without an answer may take: most of it must stay for calls that are on. */
export const TENTATIVE_SHARE = 0.25;
