/**
 * Owns what waits for the control plane, and the bell that tells it. Bounded: whoever is refused is counted by the
 * caller. Misses, frames and held paths wait apart, so that a flood of the one cannot push out the others.
 */
import { CONTROL_KIND, type ControlKind, type ControlRecord } from "../engine.ts";
import { HELD_PATHS } from "./hold.ts";

/** Records in the queues of misses and of frames, as in the native engine. */
export const CONTROL_QUEUE_RECORDS = 1_024;

export class ControlQueue {
  #frames: ControlRecord[] = [];
  #misses: ControlRecord[] = [];
  #heldPaths: ControlRecord[] = [];
  #onControl: (() => void) | undefined;
  #ringing: NodeJS.Immediate | undefined;
  #rung = false;

  open(onControl: () => void): void {
    this.#onControl = onControl;
  }

  close(): void {
    this.#onControl = undefined;
    clearImmediate(this.#ringing);
    this.#frames = [];
    this.#misses = [];
    this.#heldPaths = [];
  }

  /** False if there is no room. An unknown path can wait, and leaves half of it to what cannot. */
  push(record: ControlRecord): boolean {
    const { queue, most } = this.#queueOf(record.kind);
    if (queue.length >= most) return false;
    queue.push(record);
    this.#ring();
    return true;
  }

  /** Frames first: they are few, and authentic. Held paths last: they are what strangers can make most of. */
  take(max: number): readonly ControlRecord[] {
    const taken: ControlRecord[] = [];
    for (const queue of [this.#frames, this.#misses, this.#heldPaths])
      taken.push(...queue.splice(0, max - taken.length));
    this.#rung = false;
    if (!this.#isEmpty()) this.#ring();
    return taken;
  }

  #queueOf(kind: ControlKind): { readonly queue: ControlRecord[]; readonly most: number } {
    switch (kind) {
      case CONTROL_KIND.miss:
        return { queue: this.#misses, most: CONTROL_QUEUE_RECORDS };
      case CONTROL_KIND.heldPath:
        return { queue: this.#heldPaths, most: HELD_PATHS };
      case CONTROL_KIND.unknownPath:
        return { queue: this.#frames, most: CONTROL_QUEUE_RECORDS / 2 };
      default:
        return { queue: this.#frames, most: CONTROL_QUEUE_RECORDS };
    }
  }

  /** At most once until the next take, and never from within the packet path. */
  #ring(): void {
    if (this.#rung) return;
    this.#ringing ??= setImmediate(() => {
      this.#ringing = undefined;
      if (this.#isEmpty()) return;
      this.#rung = true;
      this.#onControl?.();
    });
  }

  #isEmpty(): boolean {
    return this.#frames.length + this.#misses.length + this.#heldPaths.length === 0;
  }
}
