/** What a relay says of its dealings with Redis: `earshot_relay_redis_*`. Declared once, here; docs/metrics.md follows. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { FlowStore } from "./flow-store.ts";
import type { RedisLink } from "./redis-link.ts";

export interface RedisParts {
  readonly link: RedisLink;
  readonly flows: FlowStore;
}

interface Metric {
  readonly help: string;
  readonly value: (parts: RedisParts) => number;
}

export const REDIS_GAUGES: Readonly<Record<string, Metric>> = {
  up: { help: "1 while Redis can be asked", value: ({ link }) => (link.isReady ? 1 : 0) },
  flows: { help: "flows whose records this relay knows", value: ({ flows }) => flows.booked },
  queue: { help: "records that wait to be written", value: ({ flows }) => flows.writes.length },
  waiting: {
    help: "records of transceivers that have not answered yet",
    value: ({ flows }) => flows.waiting,
  },
  holding: {
    help: "1 while the first datagrams of unknown paths are held and looked up, soon after a start",
    value: ({ flows }) => (flows.lookups.isOpen ? 1 : 0),
  },
  preload_flows: { help: "flows that the last preload brought", value: ({ flows }) => flows.preload?.flows ?? 0 },
  preload_seconds: {
    help: "how long the last preload took",
    value: ({ flows }) => (flows.preload?.tookMs ?? 0) / 1000,
  },
};

export const REDIS_COUNTERS: Readonly<Record<string, Metric>> = {
  written: { help: "records written", value: ({ flows }) => flows.writes.counts.written },
  failed: {
    help: "records that Redis did not take; they are written again later",
    value: ({ flows }) => flows.writes.counts.failed,
  },
  dropped: {
    help: "records for which the queue had no room; they are written later",
    value: ({ flows }) => flows.writes.counts.dropped,
  },
  lookups: {
    help: "paths that were looked up while their first datagrams were held",
    value: ({ flows }) => flows.lookups.counts.asked,
  },
  lookups_found: {
    help: "of the paths asked about, those whose flow came into the table while their datagrams were held",
    value: ({ flows }) => flows.lookups.counts.found,
  },
  restored: { help: "flows that came into the table from Redis", value: ({ flows }) => flows.loaded.restored },
  ended: {
    help: "flows that ended because another relay's session end said so",
    value: ({ flows }) => flows.loaded.ended,
  },
};

export const REDIS_REJECTED_HELP =
  "records that were not used, by reason: malformed, key, mac, stale, ingress (not one of this relay's), source (the trunk's own), token, transceiver (not live), owned (by another), table-full";

export function addRedisMetrics(registry: Registry, parts: RedisParts): void {
  const registers = [registry];
  for (const [name, { help, value }] of Object.entries(REDIS_GAUGES)) {
    new Gauge({
      name: `earshot_relay_redis_${name}`,
      help,
      registers,
      collect() {
        this.set(value(parts));
      },
    });
  }
  for (const [name, { help, value }] of Object.entries(REDIS_COUNTERS)) {
    new Counter({
      name: `earshot_relay_redis_${name}_total`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value(parts));
      },
    });
  }
  new Counter({
    name: "earshot_relay_redis_rejected_total",
    help: REDIS_REJECTED_HELP,
    labelNames: ["reason"],
    registers,
    collect() {
      this.reset();
      for (const [reason, count] of Object.entries(parts.flows.rejected)) this.inc({ reason }, count);
    },
  });
}
