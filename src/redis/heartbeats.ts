/**
 * Transceivers in Redis: each says every two seconds where it is, with a MAC; relays read all of them as often. One hash for
 * a cluster, a field for each id. A heartbeat only suggests whom to ping.
 */
import { setTimeout as sleep } from "node:timers/promises";
import ipaddr from "ipaddr.js";
import type { KeyRing } from "../keys/key-ring.ts";
import {
  CLOCK_SKEW_MS,
  HEARTBEAT_MOST_AGE_MS,
  HEARTBEAT_MS,
  HEARTBEATS_TTL_S,
  MOST_HEARTBEATS,
  STRETCH_MS,
} from "./limits.ts";
import { heartbeatBody, openRecord, RECORD_KIND, readHeartbeatBody, sealRecord } from "./record.ts";
import type { RedisLink } from "./redis-link.ts";
import { Stretches } from "./stretches.ts";

const TRANSCEIVERS_KEY = "transceivers";

export interface Place {
  readonly id: number;
  readonly address: string;
  readonly port: number;
}

interface Common {
  readonly link: RedisLink;
  readonly cluster: number;
  readonly keys: () => KeyRing;
}

export class Heartbeats {
  readonly #stopped = new AbortController();
  readonly #beating: Promise<void>;

  constructor(options: Common & { readonly place: Place; readonly epoch: bigint; readonly isDraining: () => boolean }) {
    const { link, cluster, keys, place, epoch, isDraining } = options;
    const address = Buffer.from(ipaddr.process(place.address).toByteArray());
    this.#beating = forever(this.#stopped.signal, async () => {
      const body = heartbeatBody({ epoch, address, port: place.port, draining: isDraining() });
      const fields = { kind: RECORD_KIND.heartbeat, timeMs: Date.now(), body };
      const record = sealRecord(keys().signing, cluster, placeOf(place.id), fields);
      const key = link.key(TRANSCEIVERS_KEY);
      await link.together((pipeline) => {
        pipeline.hset(key, String(place.id), record);
        pipeline.expire(key, HEARTBEATS_TTL_S);
      });
    });
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#beating;
  }
}

export class HeartbeatReader {
  /** Fields that were not used. */
  rejected = 0;
  readonly #stopped = new AbortController();
  readonly #reading: Promise<void>;

  constructor(options: Common & { readonly onPlaces: (places: readonly Place[]) => void }) {
    const { link, onPlaces } = options;
    this.#reading = forever(this.#stopped.signal, async () => {
      const places: Place[] = [];
      const fields = await link.fields(link.key(TRANSCEIVERS_KEY));
      const stretches = new Stretches(STRETCH_MS);
      for (const [field, value] of fields) {
        if (stretches.isOver()) await stretches.pause();
        const place = places.length < MOST_HEARTBEATS ? openHeartbeat(options, field, value) : undefined;
        if (place === undefined) this.rejected++;
        else places.push(place);
      }
      onPlaces(places);
    });
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#reading;
  }
}

function openHeartbeat({ keys, cluster }: Common, field: string, value: Buffer): Place | undefined {
  const id = /^\d{1,10}$/.test(field) ? Number(field) : 0;
  if (id < 1 || id > 0xffff_ffff) return undefined;
  const time = { nowMs: Date.now(), mostAgeMs: HEARTBEAT_MOST_AGE_MS, mostSkewMs: CLOCK_SKEW_MS };
  const opened = openRecord(keys(), cluster, placeOf(id), value, time);
  if (typeof opened === "string" || opened.kind !== RECORD_KIND.heartbeat) return undefined;
  const beat = readHeartbeatBody(opened.body);
  return beat && { id, address: ipaddr.fromByteArray([...beat.address]).toString(), port: beat.port };
}

function placeOf(id: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(id);
  return bytes;
}

/** Until it is stopped. While Redis is away it says nothing. */
async function forever(signal: AbortSignal, once: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await once().catch(() => {});
    await sleep(HEARTBEAT_MS, undefined, { signal }).catch(() => {});
  }
}
