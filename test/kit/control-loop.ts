/**
 * Owns the smallest control plane that an engine can work with: it admits every miss whose token names a transceiver
 * that it knows, and does what control frames say. On hold it leaves everything in the engine's queues.
 */
import { type AdmitResult, CONTROL_KIND, type ControlRecord, type Engine, type Slot } from "../../src/engine/engine.ts";
import type { KeyRing } from "../../src/keys/key-ring.ts";
import { localUfrag, readStun } from "../../src/stun/stun-reader.ts";
import { openToken } from "../../src/token/token.ts";

/** Fewer than an engine holds, so that draining takes several turns. */
const TAKE_RECORDS = 100;

export class ControlLoop {
  /** How often the engine has rung. */
  rings = 0;
  readonly admitted: AdmitResult[] = [];
  /** What promote and end said. */
  readonly obeyed: boolean[] = [];
  readonly slots = new Map<number, Slot>();
  readonly #engine: Engine;
  #ring: KeyRing;
  #held = false;

  constructor(engine: Engine, ring: KeyRing) {
    this.#engine = engine;
    this.#ring = ring;
  }

  readonly onControl = (): void => {
    this.rings += 1;
    if (!this.#held) this.drain();
  };

  useKeys(ring: KeyRing): void {
    this.#ring = ring;
  }

  hold(): void {
    this.#held = true;
  }

  /** Takes everything that waits, copied, without acting on it. */
  take(): ControlRecord[] {
    const all: ControlRecord[] = [];
    for (;;) {
      const records = this.#engine.takeControl(TAKE_RECORDS);
      if (records.length === 0) return all;
      for (const record of records) {
        all.push({ ...record, path: Buffer.from(record.path), payload: Buffer.from(record.payload) });
      }
    }
  }

  /** Takes everything that waits, and acts on it. */
  drain(): void {
    for (const record of this.take()) this.act(record);
  }

  act(record: ControlRecord): void {
    const { kind, path, slot, payload } = record;
    if (kind === CONTROL_KIND.miss) {
      this.#decide(record);
    } else if (kind === CONTROL_KIND.promote) {
      this.obeyed.push(this.#engine.promote(path, slot, payload.toString("latin1")));
    } else if (kind === CONTROL_KIND.flowEnd) {
      this.obeyed.push(this.#engine.end(path, slot, payload.toString("latin1")));
    }
  }

  #decide(record: ControlRecord): void {
    const message = readStun(record.payload);
    const ufrag = message && localUfrag(message);
    const opened = ufrag === undefined ? undefined : openToken(ufrag, this.#ring);
    const slot = opened?.ok ? this.slots.get(opened.token.transceiver) : undefined;
    if (ufrag === undefined || slot === undefined) return;
    const result = this.#engine.admit(record.path, slot, ufrag);
    this.admitted.push(result);
    if (result === "table-full" || result === "quota") return;
    if (!this.#engine.offer(record)) throw new Error("the queue back to the worker was full");
  }
}
