/**
 * Finds the session of a client's datagram: a Binding Request by its ufrag, a Binding response by its transaction, and
 * anything else by the session that has proved the path. Every datagram ends in exactly one counter.
 */
import { localUfrag, readStun, STUN_CLASS, STUN_METHOD_BINDING } from "../stun/stun-reader.ts";
import type { ClientPath, DatagramTaker } from "./client-path.ts";
import type { TransceiverCounters } from "./counters.ts";

export class Demux {
  readonly #counters: TransceiverCounters;
  readonly #byUfrag = new Map<string, DatagramTaker>();
  readonly #byTransaction = new Map<string, DatagramTaker>();

  constructor(counters: TransceiverCounters) {
    this.#counters = counters;
  }

  /** Ufrags and transactions that it knows. */
  get size(): number {
    return this.#byUfrag.size + this.#byTransaction.size;
  }

  addUfrag(ufrag: string, taker: DatagramTaker): void {
    this.#byUfrag.set(ufrag, taker);
  }

  removeUfrag(ufrag: string): void {
    this.#byUfrag.delete(ufrag);
  }

  addTransaction(id: string, taker: DatagramTaker): void {
    this.#byTransaction.set(id, taker);
  }

  removeTransaction(id: string): void {
    this.#byTransaction.delete(id);
  }

  /** Any bytes, at least one. */
  take(datagram: Buffer, path: ClientPath, nowMs: number): void {
    const { count } = this.#counters;
    const first = datagram[0]!;
    // RFC 7983, section 7.
    if (first < 4) {
      this.#stun(datagram, path, nowMs);
    } else if ((first > 19 && first < 64) || (first > 127 && first < 192)) {
      if (path.owner === undefined) {
        count.client_drop_unproved++;
        return;
      }
      count.client_delivered++;
      // DTLS may keep pieces of a handshake for long, and must not keep with them all that came at that time.
      path.owner.media(first < 64 ? Buffer.from(datagram) : datagram, path, nowMs);
    } else {
      count.client_drop_class++;
    }
  }

  #stun(datagram: Buffer, path: ClientPath, nowMs: number): void {
    const { count } = this.#counters;
    const message = readStun(datagram);
    if (message === undefined) {
      count.client_drop_stun_malformed++;
    } else if (message.method !== STUN_METHOD_BINDING || message.class === STUN_CLASS.indication) {
      count.client_drop_stun_method++;
    } else if (message.class === STUN_CLASS.request) {
      const verdict = this.#byUfrag.get(localUfrag(message) ?? "")?.request(message, path, nowMs) ?? "ufrag";
      if (verdict === "answered") count.client_request_answered++;
      else if (verdict === "refused") count.client_request_refused++;
      else count[`client_drop_${verdict}`]++;
    } else {
      const taker = this.#byTransaction.get(message.transactionId.toString("latin1"));
      const verdict = taker?.response(message, path, nowMs) ?? "transaction";
      if (verdict === "accepted") count.client_response_accepted++;
      else count[`client_drop_${verdict}`]++;
    }
  }
}
