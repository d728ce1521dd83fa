/**
 * A relay's flows in Redis, both ways: what it knows it writes behind, what other relays know it loads at its start and then
 * follows by their change stream. Everything that it reads is a hint that somebody may have made up: a flow comes into the
 * table only by a record whose MAC is right, that is fresh, and whose token names a transceiver that is live. Nothing that is
 * in the table leaves it because of Redis, but by the record of a session's end. No packet waits for any of it, but the first
 * ones of paths that a relay does not know soon after its start: lookups.ts.
 */
import type { Logger } from "pino";
import type { Engine, Slot } from "../engine/engine.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { openToken, tokenExpired } from "../token/token.ts";
import { pathIngress, pathLength } from "../trunk/path.ts";
import { FlowBook } from "./flow-book.ts";
import { FlowFeed, type Preload } from "./flow-feed.ts";
import { CLOCK_SKEW_MS, FLOW_MOST_AGE_MS, WAITING_MS, WAITING_STEP } from "./limits.ts";
import { Lookups } from "./lookups.ts";
import { type FlowRecord, flowBody, openRecord, RECORD_KIND, readFlowBody, sealRecord } from "./record.ts";
import type { RedisLink } from "./redis-link.ts";
import { WaitingRecords } from "./waiting-records.ts";
import { WriteBehind } from "./write-behind.ts";

export const LOAD_REJECTS = [
  "malformed",
  "key",
  "mac",
  "stale",
  "ingress",
  "source",
  "token",
  "transceiver",
  "owned",
  "table-full",
] as const;
export type LoadReject = (typeof LOAD_REJECTS)[number];

export interface FlowStoreOptions {
  readonly link: RedisLink;
  readonly engine: Pick<Engine, "flow" | "restore" | "end" | "ingresses" | "hold" | "settle">;
  readonly cluster: number;
  readonly flowCapacity: number;
  readonly keys: () => KeyRing;
  readonly isTrunkEnd: (path: Buffer) => boolean;
  /** The slot of exactly this process, if it is live. */
  readonly slotOf: (transceiver: number, epoch: bigint) => Slot | undefined;
  /** The process that has this slot. */
  readonly endOf: (slot: Slot) => { readonly id: number; readonly epoch: bigint } | undefined;
  /** Whether any transceiver has answered yet. */
  readonly hasTransceivers: () => boolean;
  /** A flow has come into the table: it counts among the paths of its ufrag. */
  readonly onRestored: (path: Buffer, slot: Slot, ufrag: string) => void;
  readonly logger: Logger;
}

export class FlowStore {
  /** What came of records that were read. */
  readonly loaded = { restored: 0, ended: 0 };
  readonly rejected: Record<LoadReject, number> = Object.fromEntries(
    LOAD_REJECTS.map((reject) => [reject, 0]),
  ) as Record<LoadReject, number>;
  readonly writes: WriteBehind;
  readonly lookups: Lookups;
  readonly #options: FlowStoreOptions;
  readonly #book: FlowBook;
  readonly #waiting = new WaitingRecords();
  readonly #feed: FlowFeed;

  constructor(options: FlowStoreOptions) {
    this.#options = options;
    this.writes = new WriteBehind(options.link);
    this.lookups = new Lookups({
      link: options.link,
      engine: options.engine,
      mayAsk: () => options.link.isReady && options.hasTransceivers(),
      take: (path, record) => this.#take(path, record),
      now: () => performance.now(),
    });
    this.#book = new FlowBook({
      engine: options.engine,
      capacity: options.flowCapacity,
      write: (path, entry, seenMs) => this.#write(path, entry, seenMs),
    });
    this.#feed = new FlowFeed({
      link: options.link,
      hasTransceivers: options.hasTransceivers,
      isOwn: (id) => this.writes.isOwn(id),
      onReady: () => this.lookups.go(),
      take: (path, record) => void this.#take(path, record),
      restored: () => this.loaded.restored,
      logger: options.logger,
    });
  }

  /** From now on workers hold what they cannot place, until all of Redis has been read, but no longer than this. */
  hold(forMs: number): void {
    if (forMs > 0) this.lookups.open(forMs);
  }

  start(): void {
    this.#feed.start();
  }

  async stop(): Promise<void> {
    await this.lookups.stop();
    await this.#feed.stop();
  }

  /** How long the last preload took, ms, and what it brought. */
  get preload(): Preload | undefined {
    return this.#feed.preload;
  }

  get booked(): number {
    return this.#book.size;
  }
  get waiting(): number {
    return this.#waiting.size;
  }

  admitted(path: Buffer, slot: Slot, ufrag: string): void {
    this.#book.admitted(path, slot, ufrag, Date.now());
  }
  promoted(path: Buffer, slot: Slot, ufrag: string): void {
    this.#book.promoted(path, slot, ufrag, Date.now());
  }

  /** A session has ended. Its record goes, and the other relays are told. */
  ended(path: Buffer, slot: Slot, ufrag: string): void {
    const end = this.#options.endOf(slot);
    if (!this.#book.ended(path, slot, ufrag) || end === undefined) return;
    const record = { transceiver: end.id, epoch: end.epoch, ufrags: [ufrag] };
    this.writes.add({ path: Buffer.from(path), record: this.#seal("flowEnd", path, record, Date.now()), ended: true });
  }

  /** To be called every 100 ms. */
  tick(): void {
    this.#book.tick(Date.now());
    this.#retryWaiting();
    // Whom the table does not know now, Redis does not know either.
    if (this.#feed.hasCaughtUp && this.#waiting.size === 0) this.lookups.close();
    this.lookups.tick();
    void this.writes.send();
  }

  #write(
    path: Buffer,
    { slot, ufrags }: { readonly slot: Slot; readonly ufrags: readonly string[] },
    seenMs: number,
  ): boolean {
    const end = this.#options.endOf(slot);
    if (end === undefined) return false;
    const record = { transceiver: end.id, epoch: end.epoch, ufrags };
    return this.writes.add({ path, record: this.#seal("flow", path, record, seenMs), ended: false });
  }

  #seal(kind: "flow" | "flowEnd", path: Buffer, record: FlowRecord, timeMs: number): Buffer {
    const { keys, cluster } = this.#options;
    const fields = { kind: RECORD_KIND[kind], timeMs: Math.round(timeMs), body: flowBody(record) };
    return sealRecord(keys().signing, cluster, path, fields);
  }

  /** A record from Redis, which anybody may have put there. Whether it is used. */
  #take(path: Buffer, bytes: Buffer): boolean {
    const reject = this.#judge(path, bytes);
    if (reject !== undefined) this.rejected[reject]++;
    return reject === undefined;
  }

  #judge(path: Buffer, bytes: Buffer): LoadReject | undefined {
    const { keys, cluster, engine, isTrunkEnd } = this.#options;
    if (path.length === 0 || path.length !== pathLength(path[0]!)) return "malformed";
    const time = { nowMs: Date.now(), mostAgeMs: FLOW_MOST_AGE_MS, mostSkewMs: CLOCK_SKEW_MS };
    const opened = openRecord(keys(), cluster, path, bytes, time);
    if (typeof opened === "string") return opened;
    const record = readFlowBody(opened.body);
    if (record === undefined || opened.kind === RECORD_KIND.heartbeat) return "malformed";
    if (!engine.ingresses.some(({ id }) => id === pathIngress(path))) return "ingress";
    if (isTrunkEnd(path)) return "source";
    if (opened.kind === RECORD_KIND.flowEnd) return this.#end(path, record);
    return this.#restore(path, record);
  }

  #end(path: Buffer, { transceiver, epoch, ufrags }: FlowRecord): undefined {
    const slot = this.#options.slotOf(transceiver, epoch);
    if (slot === undefined) {
      this.#waiting.remove(path, transceiver, epoch);
      return;
    }
    this.#book.ended(path, slot, ufrags[0]!);
    if (this.#options.engine.end(path, slot, ufrags[0]!)) this.loaded.ended++;
  }

  #restore(path: Buffer, record: FlowRecord): LoadReject | undefined {
    const { engine, slotOf, onRestored } = this.#options;
    const { transceiver, epoch } = record;
    const ufrags = record.ufrags.filter((ufrag) => this.#isTokenOf(ufrag, transceiver, epoch));
    if (ufrags.length === 0) return "token";
    const slot = slotOf(transceiver, epoch);
    if (slot === undefined) return this.#wait(path, record);
    const result = engine.restore(path, slot, ufrags);
    if (result === "kept") return "owned";
    if (result === "table-full") return "table-full";
    if (result === "installed") this.loaded.restored++;
    this.#book.restored(path, slot, ufrags, Date.now());
    for (const ufrag of ufrags) onRestored(path, slot, ufrag);
    this.lookups.restored(path);
    return undefined;
  }

  #isTokenOf(ufrag: string, transceiver: number, epoch: bigint): boolean {
    const opened = openToken(ufrag, this.#options.keys());
    if (!opened.ok || tokenExpired(opened.token, Date.now())) return false;
    const { token } = opened;
    return (
      token.cluster === this.#options.cluster &&
      token.transceiver === transceiver &&
      token.epoch === Number(BigInt.asUintN(16, epoch))
    );
  }

  /** Its transceiver may answer its first ping in a moment. */
  #wait(path: Buffer, record: FlowRecord): LoadReject | undefined {
    return this.#waiting.add(path, record, Date.now() + WAITING_MS) ? undefined : "transceiver";
  }

  #retryWaiting(): void {
    const { slotOf } = this.#options;
    const isLive = (transceiver: number, epoch: bigint) => slotOf(transceiver, epoch) !== undefined;
    this.rejected.transceiver += this.#waiting.expire(Date.now(), isLive);
    for (const { path, record } of this.#waiting.take(WAITING_STEP, isLive)) {
      const reject = this.#restore(path, record);
      if (reject !== undefined) this.rejected[reject]++;
    }
  }
}
