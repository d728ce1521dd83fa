/**
 * Owns what waits for the control plane, and the bell that tells it. Bounded: whoever is refused is counted by the
 * caller. Misses and frames wait apart, so that a flood of requests cannot push out what transceivers say.
 */
import { CONTROL_KIND, type ControlRecord } from "../engine.ts";

/** Records in each of the two queues, as in the native engine. */
export const CONTROL_QUEUE_RECORDS = 1_024;

export class ControlQueue {
  #frames: ControlRecord[] = [];
  #misses: ControlRecord[] = [];
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
  }

  /** False if there is no room. An unknown path can wait, and leaves half of it to what cannot. */
  push(record: ControlRecord): boolean {
    const queue = record.kind === CONTROL_KIND.miss ? this.#misses : this.#frames;
    const most = record.kind === CONTROL_KIND.unknownPath ? CONTROL_QUEUE_RECORDS / 2 : CONTROL_QUEUE_RECORDS;
    if (queue.length >= most) return false;
    queue.push(record);
    this.#ring();
    return true;
  }

  /** Frames first: they are few, and authentic. */
  take(max: number): readonly ControlRecord[] {
    const taken = this.#frames.splice(0, max);
    if (taken.length < max) taken.push(...this.#misses.splice(0, max - taken.length));
    this.#rung = false;
    if (!this.#isEmpty()) this.#ring();
    return taken;
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
    return this.#frames.length + this.#misses.length === 0;
  }
}
