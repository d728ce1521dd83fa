/**
 * Puts packets back into the order of their sequence numbers. Holds a few at most: a packet that is still missing when
 * that many have come after it counts as lost. Pure: no clock, and it knows nothing of what is in a packet.
 */
import { REORDER_PACKETS, RESYNC_PACKETS } from "../limits.ts";

export interface Sequenced {
  /** 16 bits */
  readonly sequence: number;
}

export type Arrival = "taken" | "late" | "duplicate";

export class Reorder<T extends Sequenced> {
  readonly #held = new Map<number, T>();
  #next: number | undefined;

  /** `emit` gets each packet whose turn it is, with the number of packets before it that are lost. */
  push(packet: T, emit: (packet: T, lost: number) => void): Arrival {
    this.#next ??= packet.sequence;
    const ahead = distance(this.#next, packet.sequence);
    if (Math.abs(ahead) > RESYNC_PACKETS) {
      // The sender has begun anew: what is missing between the two was never sent.
      while (this.#held.size > 0) this.#release(emit);
      this.#next = packet.sequence;
    } else if (ahead < 0) return "late";
    else if (this.#held.has(packet.sequence)) return "duplicate";
    this.#held.set(packet.sequence, packet);
    while (this.#held.size > REORDER_PACKETS || this.#held.has(this.#next)) this.#release(emit);
    return "taken";
  }

  /** Emits the first that is held. */
  #release(emit: (packet: T, lost: number) => void): void {
    const next = this.#next!;
    let lost = 0xffff;
    for (const sequence of this.#held.keys()) lost = Math.min(lost, distance(next, sequence));
    const sequence = (next + lost) & 0xffff;
    const packet = this.#held.get(sequence)!;
    this.#held.delete(sequence);
    this.#next = (sequence + 1) & 0xffff;
    emit(packet, lost);
  }
}

/** From one sequence number to another, the shorter way round: -32768 to 32767. */
function distance(from: number, to: number): number {
  return ((to - from) << 16) >> 16;
}
