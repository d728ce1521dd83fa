/** Every limit that the relay's control plane chose, with its unit, its origin, and what breaks if it changes. */
import type { BudgetLimits } from "./budgets.ts";
import type { RateLimit } from "./rate-buckets.ts";

/** New flows per second that the operator allows: in total, and from one source prefix. */
export interface NewFlowRates {
  readonly total: number;
  readonly perPrefix: number;
}

/** Longest time that misses may hold the event loop in one turn, ms. Longer, and timers and signals wait behind a flood. */
export const DRAIN_MS = 2;

/** Misses taken from the engine in one call. Between two calls the clock is read, so it also bounds the overrun. */
export const DRAIN_RECORDS = 64;

/** Misses that are still decided when another process is to go on, about 20 ms of them: in a flood it has to wait no longer. */
export const LET_GO_RECORDS = 1_024;

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

/**
 * Paths of one ufrag. A client with three addresses of each family and four ingresses has 12 pairs of its own; most have
 * two. More would let who holds one token take more of the table; fewer would make ICE lose candidates.
 */
export const PATHS_PER_UFRAG = 16;

/**
 * An assured path that was seen less long ago than this counts as in use, ms. A session without media is seen with its
 * consent checks: every 6 s at most (RFC 7675), and last-seen may be 1.3 s behind. If it were less, a flood of
 * replayed requests could push out the path of a call that is silent just then.
 */
export const IN_USE_MS = 8_000;

/** Paths of ufrags that are remembered, for each flow of the table: a flow has up to two ufrags while ICE restarts. */
export const PATHS_PER_FLOW = 1.25;

/** Steps of EXPIRE_MS in which a sweep sees every path of every ufrag: a minute, as long as an idle flow lives. */
export const PATHS_SWEEP_STEPS = 600;

/** Most paths that one step looks at: about 0.5 ms. From 300,000 on a sweep takes longer, and stale paths stay longer. */
export const PATHS_SWEEP_MOST = 512;

/** The rates where the operator names none; src/config/schema.ts documents the same. */
export const NEW_FLOW_RATES: NewFlowRates = { total: 20_000, perPrefix: 1_000 };

/** What a prefix may have at once, in seconds of its rate: 4,096 paths of the 1,000 a second that are the default. */
const PREFIX_BURST_SECONDS = 4.096;

/**
 * Budgets for misses, in requests. A path costs one request; only what is refused or has expired asks again. A budget that
 * is too small delays a client by its next check, about a second.
 */
export const budgetsFor = (rates: NewFlowRates): BudgetLimits => ({
  // Before integrity, which costs most. All the paths of a ufrag twice at once; then little: a client in a call needs a new
  // path when its network changes. With assuredToken it must stay below 15 paths in IN_USE_MS, or who replays one request
  // can keep all paths of its ufrag in use.
  token: { perSecond: 1, burst: 32 },
  // What a token with an assured path may have although a budget is used up: the paths of a client that changes its network.
  // Not without limit. Every holder of a token can have an assured path, and thousands of tokens are soon collected.
  assuredToken: { perSecond: 0.5, burst: 4 },
  // A /24 may be a carrier's NAT or an office: 2,000 calls that come back at once after a failure, with two paths each.
  // Higher, and fewer prefixes suffice to use up the total.
  prefix: { perSecond: rates.perPrefix, burst: rates.perPrefix * PREFIX_BURST_SECONDS },
  total: {
    // Of about 50,000 new flows a second that one core can make: the control plane never has more than half of its time
    // taken by clients, and transceivers no more handshakes than they can begin.
    perSecond: rates.total,
    burst: rates.total,
    // With half of it gone, a prefix gets no more than its share until there is more again.
    reserve: 0.5,
    // Short, so that shares follow who is there; long enough for a share of at least one among 1,500 prefixes.
    shareMs: 100,
    // Below 1, or the reserve would never fill again while many ask for their whole share.
    shared: 0.75,
  },
  // 12 bytes each. A token's bucket is full again, and free for another, at most 32 s after its last request.
  tokenBuckets: 65_536,
  // 24 bytes each; the same 4 s after a prefix's.
  prefixBuckets: 16_384,
});

export const BUDGETS = budgetsFor(NEW_FLOW_RATES);

/**
 * Unknown paths that owners are asked about, of all workers together. A burst brings back the calls of a whole relay of
 * 10,000 at once; the rate is what a core does beside everything else at 10 us each.
 */
export const ASK_BUDGET: RateLimit = { perSecond: 5_000, burst: 10_000 };

/** An assert is believed for so long after its path was asked about, and up to as long again, ms: a few round trips. */
export const ASKED_FOR_MS = 1_000;

/** Paths that are remembered as asked about, in each of two such spans: more than the budget allows in one. */
export const ASKED_PATHS = 16_384;

/** A transceiver that no source names and that does not answer is forgotten after so long, ms. */
export const FORGET_UNNAMED_MS = 60_000;

/** How often names of transceivers are resolved again, ms: the usual time to live of a pod's name is 5 to 30 s. */
export const DNS_MS = 5_000;
