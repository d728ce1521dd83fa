/** Records of flows whose transceiver has not answered yet, until it does or their time is up. Memory is bounded. */
import { pathKey } from "../trunk/path.ts";
import { MOST_WAITING } from "./limits.ts";
import type { FlowRecord } from "./record.ts";

interface Waiting {
  readonly path: Buffer;
  readonly record: FlowRecord;
}

/** Those of one transceiver process. */
interface Group {
  readonly transceiver: number;
  readonly epoch: bigint;
  readonly untilMs: number;
  readonly records: Map<string, Waiting>;
}

type IsLive = (transceiver: number, epoch: bigint) => boolean;

export class WaitingRecords {
  readonly #groups = new Map<string, Group>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** False if there is no room. */
  add(path: Buffer, record: FlowRecord, untilMs: number): boolean {
    if (this.#size >= MOST_WAITING) return false;
    const { transceiver, epoch } = record;
    const name = groupName(transceiver, epoch);
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { transceiver, epoch, untilMs, records: new Map() };
      this.#groups.set(name, group);
    }
    const before = group.records.size;
    group.records.set(pathKey(path), { path: Buffer.from(path), record });
    this.#size += group.records.size - before;
    return true;
  }

  remove(path: Buffer, transceiver: number, epoch: bigint): void {
    if (this.#groups.get(groupName(transceiver, epoch))?.records.delete(pathKey(path))) this.#size--;
  }

  /** Up to so many of transceivers that are live. */
  take(most: number, isLive: IsLive): readonly Waiting[] {
    const taken: Waiting[] = [];
    for (const [name, { transceiver, epoch, records }] of this.#groups) {
      if (!isLive(transceiver, epoch)) continue;
      for (const [key, waiting] of records) {
        if (taken.length === most) break;
        taken.push(waiting);
        records.delete(key);
      }
      if (records.size === 0) this.#groups.delete(name);
    }
    this.#size -= taken.length;
    return taken;
  }

  /** Forgets those of transceivers that have not answered in time. Returns how many. */
  expire(nowMs: number, isLive: IsLive): number {
    let forgotten = 0;
    for (const [name, { transceiver, epoch, untilMs, records }] of this.#groups) {
      if (nowMs < untilMs || isLive(transceiver, epoch)) continue;
      forgotten += records.size;
      this.#groups.delete(name);
    }
    this.#size -= forgotten;
    return forgotten;
  }
}

const groupName = (transceiver: number, epoch: bigint): string => `${transceiver}@${epoch}`;
