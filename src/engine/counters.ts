// Generated from native/core/counters.def by deploy/generate.mjs; edit that, then run it.

export interface Counter {
  readonly name: string;
  readonly help: string;
}

/** Counted by a worker, one value per worker, in the order of an engine's `counters()`. */
export const WORKER_COUNTERS = [
  { name: "up_received", help: "datagrams read from the public sockets" },
  { name: "up_forwarded", help: "client datagrams sent on to a transceiver" },
  { name: "up_missed", help: "binding requests without a matching flow, handed to the control plane" },
  { name: "up_reoffered", help: "datagrams that the control plane handed back after it had made room for them" },
  { name: "up_copied", help: "binding responses also sent to the pending session; not a further received datagram" },
  { name: "up_drop_empty", help: "empty datagrams" },
  { name: "up_drop_truncated", help: "datagrams larger than a receive buffer" },
  { name: "up_drop_source", help: "source address or port that no client can have" },
  { name: "up_drop_class", help: "first byte of no class that a session uses (RFC 7983)" },
  { name: "up_drop_stun_malformed", help: "STUN class, but not a well-formed STUN message" },
  { name: "up_drop_stun_method", help: "STUN methods other than Binding" },
  { name: "up_drop_ufrag", help: "binding requests without a USERNAME that can hold one of our tokens" },
  { name: "up_drop_tag", help: "binding requests whose token was not made with one of our keys" },
  { name: "up_drop_no_flow", help: "anything but a binding request from a path without a flow" },
  { name: "up_drop_tentative", help: "anything but STUN on a flow whose owner has not answered yet" },
  { name: "up_drop_still_unknown", help: "datagrams handed back by the control plane that still match no flow" },
  { name: "up_drop_miss_full", help: "binding requests lost because the queue to the control plane was full" },
  { name: "up_drop_send", help: "datagrams that the kernel did not take for the trunk" },
  { name: "down_received", help: "datagrams read from the trunk sockets" },
  { name: "down_accepted", help: "trunk datagrams that passed every check" },
  { name: "down_drop_truncated", help: "trunk datagrams larger than a receive buffer" },
  { name: "down_drop_malformed", help: "too short, or of another version, direction or flags" },
  { name: "down_drop_key", help: "of a fleet key that is not known here" },
  { name: "down_drop_tag", help: "wrong tag" },
  { name: "down_drop_target", help: "for another cluster, relay port or epoch" },
  { name: "down_drop_sender", help: "from a transceiver or epoch that is not in the directory" },
  { name: "down_drop_replay", help: "sequence seen before, or too old" },
  { name: "frame_received", help: "frames read from accepted trunk datagrams" },
  { name: "frame_forwarded", help: "frames sent to their client" },
  { name: "frame_control", help: "control frames handed to the control plane" },
  { name: "frame_drop_malformed", help: "unreadable frame; the rest of its datagram is lost with it" },
  { name: "frame_drop_unknown_path", help: "path without a flow" },
  { name: "frame_drop_not_owner", help: "from a transceiver that neither owns the path nor is pending on it" },
  {
    name: "frame_drop_not_stun",
    help: "anything but STUN from an owner that has not answered yet, or from a pending session",
  },
  { name: "frame_drop_control_full", help: "control frames lost because the queue to the control plane was full" },
  { name: "frame_drop_send", help: "frames that the kernel did not take for their client" },
] as const satisfies readonly Counter[];

/** Counted by the control plane. */
export const CONTROL_COUNTERS = [
  { name: "miss_received", help: "binding requests taken from the workers' queues" },
  { name: "miss_offered", help: "binding requests handed back to a worker after a flow was made or changed" },
  { name: "miss_drop_stun", help: "not a STUN message that the control plane can read" },
  { name: "miss_drop_source", help: "source address and port that are the trunk's own" },
  { name: "miss_drop_token", help: "token that does not decode, or of an unknown version, kind or key" },
  { name: "miss_drop_expired", help: "token past its expiry" },
  { name: "miss_drop_cluster", help: "token of another cluster" },
  {
    name: "miss_drop_transceiver",
    help: "token of a transceiver that is not live in the directory, or of another epoch",
  },
  { name: "miss_drop_fingerprint", help: "FINGERPRINT absent or wrong" },
  {
    name: "miss_drop_budget_token",
    help: "more requests of one token than its budget allows; their integrity was not looked at",
  },
  { name: "miss_drop_integrity", help: "MESSAGE-INTEGRITY absent or wrong" },
  { name: "miss_drop_budget_prefix", help: "more new paths from one source prefix than its budget allows" },
  {
    name: "miss_drop_budget_total",
    help: "more new paths than the budget for all allows, from a prefix that has had its share",
  },
  { name: "miss_drop_table_full", help: "no room in the flow table" },
  { name: "miss_drop_quota", help: "too many flows that have not been answered yet" },
  { name: "miss_drop_offer_full", help: "the queue back to the worker was full" },
  { name: "path_evicted", help: "paths taken from a ufrag that had as many as it may have, when it came from another" },
] as const satisfies readonly Counter[];

export type WorkerCounterName = (typeof WORKER_COUNTERS)[number]["name"];
export type ControlCounterName = (typeof CONTROL_COUNTERS)[number]["name"];

/** Where each counter stands in WORKER_COUNTERS. */
export const WORKER_COUNTER = {
  up_received: 0,
  up_forwarded: 1,
  up_missed: 2,
  up_reoffered: 3,
  up_copied: 4,
  up_drop_empty: 5,
  up_drop_truncated: 6,
  up_drop_source: 7,
  up_drop_class: 8,
  up_drop_stun_malformed: 9,
  up_drop_stun_method: 10,
  up_drop_ufrag: 11,
  up_drop_tag: 12,
  up_drop_no_flow: 13,
  up_drop_tentative: 14,
  up_drop_still_unknown: 15,
  up_drop_miss_full: 16,
  up_drop_send: 17,
  down_received: 18,
  down_accepted: 19,
  down_drop_truncated: 20,
  down_drop_malformed: 21,
  down_drop_key: 22,
  down_drop_tag: 23,
  down_drop_target: 24,
  down_drop_sender: 25,
  down_drop_replay: 26,
  frame_received: 27,
  frame_forwarded: 28,
  frame_control: 29,
  frame_drop_malformed: 30,
  frame_drop_unknown_path: 31,
  frame_drop_not_owner: 32,
  frame_drop_not_stun: 33,
  frame_drop_control_full: 34,
  frame_drop_send: 35,
} as const satisfies Record<WorkerCounterName, number>;

/** Where each counter stands in CONTROL_COUNTERS. */
export const CONTROL_COUNTER = {
  miss_received: 0,
  miss_offered: 1,
  miss_drop_stun: 2,
  miss_drop_source: 3,
  miss_drop_token: 4,
  miss_drop_expired: 5,
  miss_drop_cluster: 6,
  miss_drop_transceiver: 7,
  miss_drop_fingerprint: 8,
  miss_drop_budget_token: 9,
  miss_drop_integrity: 10,
  miss_drop_budget_prefix: 11,
  miss_drop_budget_total: 12,
  miss_drop_table_full: 13,
  miss_drop_quota: 14,
  miss_drop_offer_full: 15,
  path_evicted: 16,
} as const satisfies Record<ControlCounterName, number>;
