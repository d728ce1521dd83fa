/**
 * The live list of transceivers. It alone turns an id into an address; a token never holds one. An entry is live after a
 * pong of its id, and dead, which means "no new flows", after three seconds without. Its existing flows go on until
 * they end or a pong tells of a newer epoch.
 */
import { randomBytes } from "node:crypto";
import { isIPv6, SocketAddress } from "node:net";
import type { Logger } from "pino";
import type { Engine, Slot, TransceiverEntry } from "../engine/engine.ts";
import type { Pong, TransceiverEnd } from "./control-port.ts";
import { DEAD_AFTER_MS, PING_MS, PING_UNANSWERED_MS } from "./limits.ts";

export interface DirectoryEntry {
  readonly id: number;
  readonly address: string;
  readonly port: number;
}

export type TransceiverState = "unanswered" | "live" | "draining" | "dead";

interface Known {
  readonly entry: DirectoryEntry;
  state: TransceiverState;
  epoch: bigint | undefined;
  slot: Slot | undefined;
  nonce: Buffer;
  pingedAt: number;
  heardAt: number;
}

export interface DirectoryOptions {
  readonly engine: Pick<Engine, "addTransceiver" | "retireTransceiver">;
  readonly ping: (transceiver: number, to: DirectoryEntry, nonce: Buffer) => void;
  /** Monotonic, ms. */
  readonly now: () => number;
  readonly logger: Logger;
}

export class Directory {
  readonly #options: DirectoryOptions;
  readonly #known = new Map<number, Known>();
  /** Of the slots that are not retired. */
  readonly #ends = new Map<Slot, TransceiverEnd>();

  constructor(options: DirectoryOptions) {
    this.#options = options;
  }

  /**
   * What the engine goes on with from before. They are forwarded to at once; new flows wait, as always, for a pong. From now on
   * they are as if they had been set.
   */
  adopt(transceivers: readonly (TransceiverEntry & { readonly slot: Slot })[]): void {
    for (const { slot, epoch, ...entry } of transceivers) {
      this.#known.set(entry.id, { ...unanswered(entry), epoch, slot });
      this.#ends.set(slot, { ...entry, epoch });
    }
    this.tick();
  }

  /** Replaces the list. Who stays at the same address stays live; who leaves is retired at once. */
  set(entries: readonly DirectoryEntry[]): void {
    const wanted = new Map(entries.map((entry) => [entry.id, entry]));
    for (const [id, known] of this.#known) {
      const entry = wanted.get(id);
      if (entry !== undefined && isSamePlace(entry, known.entry)) wanted.delete(id);
      else this.#forget(known);
    }
    for (const entry of wanted.values()) {
      this.#known.set(entry.id, unanswered(entry));
    }
    this.tick();
  }

  /** Pings who is due and notices who is dead. To be called a few times a second. */
  tick(): void {
    const now = this.#options.now();
    for (const known of this.#known.values()) {
      const answering = known.state === "live" || known.state === "draining";
      if (answering && now - known.heardAt > DEAD_AFTER_MS) this.#change(known, "dead");
      if (now - known.pingedAt < (answering ? PING_MS : PING_UNANSWERED_MS)) continue;
      known.pingedAt = now;
      known.nonce = randomBytes(8);
      this.#options.ping(known.entry.id, known.entry, known.nonce);
    }
  }

  /** An authentic pong. One that answers no outstanding ping, or is of an older epoch, changes nothing. */
  heard(pong: Pong): void {
    const known = this.#known.get(pong.transceiver);
    if (known === undefined || !pong.nonce.equals(known.nonce)) return;
    if (known.epoch !== undefined && pong.epoch < known.epoch) return;
    known.heardAt = this.#options.now();
    if (known.epoch !== pong.epoch) this.#enter(known, pong.epoch);
    if (known.slot !== undefined) this.#change(known, pong.draining ? "draining" : "live");
  }

  knows(id: number): boolean {
    return this.#known.has(id);
  }

  /** The slot of a transceiver that takes new flows and whose epoch ends in these 16 bits. */
  find(id: number, epochLow16: number): Slot | undefined {
    const known = this.#known.get(id);
    if (known?.epoch === undefined || (known.state !== "live" && known.state !== "draining")) return undefined;
    return Number(known.epoch & 0xffffn) === epochLow16 ? known.slot : undefined;
  }

  /** Whether it answers pings. */
  answers(id: number): boolean {
    const state = this.#known.get(id)?.state;
    return state === "live" || state === "draining";
  }

  /** The slot of exactly this process, whether or not it has been heard of lately. */
  slotOf(id: number, epoch: bigint): Slot | undefined {
    const known = this.#known.get(id);
    return known?.epoch === epoch ? known.slot : undefined;
  }

  /** The same, if it takes flows. */
  liveSlotOf(id: number, epoch: bigint): Slot | undefined {
    return this.answers(id) ? this.slotOf(id, epoch) : undefined;
  }

  /** The transceiver process that has this slot. */
  endOf(slot: Slot): TransceiverEnd | undefined {
    return this.#ends.get(slot);
  }

  /** How many transceivers are in each state. */
  counts(): Record<TransceiverState, number> {
    const counts = { unanswered: 0, live: 0, draining: 0, dead: 0 };
    for (const known of this.#known.values()) counts[known.state]++;
    return counts;
  }

  #change(known: Known, state: TransceiverState): void {
    if (known.state === state) return;
    const { id, address, port } = known.entry;
    const level = state === "dead" ? "warn" : "info";
    this.#options.logger[level]({ transceiver: id, address, port, from: known.state, to: state }, "transceiver");
    known.state = state;
  }

  /** A new epoch is a new entry in the engine; the old one takes its flows with it. */
  #enter(known: Known, epoch: bigint): void {
    this.#retire(known);
    try {
      const end = { ...known.entry, epoch };
      known.slot = this.#options.engine.addTransceiver(end);
      known.epoch = epoch;
      this.#ends.set(known.slot, end);
    } catch (error) {
      this.#options.logger.error({ transceiver: known.entry.id, err: error }, "transceiver cannot be used");
    }
  }

  #forget(known: Known): void {
    this.#retire(known);
    this.#known.delete(known.entry.id);
  }

  #retire(known: Known): void {
    if (known.slot === undefined) return;
    this.#options.engine.retireTransceiver(known.slot);
    this.#ends.delete(known.slot);
    known.slot = undefined;
  }
}

function unanswered(entry: DirectoryEntry): Known {
  const never = Number.NEGATIVE_INFINITY;
  return {
    entry,
    state: "unanswered",
    epoch: undefined,
    slot: undefined,
    nonce: randomBytes(8),
    pingedAt: never,
    heardAt: never,
  };
}

/** However the address is written: IPv6 has many spellings, and the engine gives back another one than it got. */
function isSamePlace(a: DirectoryEntry, b: DirectoryEntry): boolean {
  return a.port === b.port && spelled(a.address) === spelled(b.address);
}

const spelled = (address: string): string =>
  new SocketAddress({ address, family: isIPv6(address) ? "ipv6" : "ipv4" }).address;
