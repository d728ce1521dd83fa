/** All calls of a transceiver: the limit on their number, the one timer that serves them, and their orderly end. */
import { EarshotError } from "../earshot-error.ts";
import type { EndReason } from "./counters.ts";
import { TICK_MS } from "./limits.ts";
import type { Offer } from "./sdp-offer.ts";
import { Session, type SessionSurroundings } from "./session.ts";

export interface SessionsOptions {
  readonly maxCalls: number;
  readonly newId: () => string;
  /** A call that was answered is over. */
  readonly onEnded: (id: string, reason: EndReason) => void;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #surroundings: SessionSurroundings;
  readonly #byId = new Map<string, Session>();
  /** Those that have ended, until nothing of them is left. */
  readonly #closing = new Set<Session>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SessionsOptions, surroundings: Omit<SessionSurroundings, "ended" | "closed">) {
    this.#options = options;
    this.#surroundings = {
      ...surroundings,
      ended: (session, reason, wasAnswered) => {
        this.#byId.delete(session.id);
        this.#closing.add(session);
        if (wasAnswered) options.onEnded(session.id, reason);
      },
      closed: (session) => {
        this.#closing.delete(session);
      },
    };
  }

  get size(): number {
    return this.#byId.size;
  }

  start(): void {
    this.#timer = setInterval(() => {
      const nowMs = Date.now();
      for (const session of this.#byId.values()) session.tick(nowMs);
    }, TICK_MS);
  }

  /** Begins a call. Throws OVERLOADED, SDP_INVALID or SDP_UNSUPPORTED. */
  async open(offer: Offer): Promise<{ session: Session; answerSdp: string }> {
    const { maxCalls, newId } = this.#options;
    if (this.#byId.size >= maxCalls) {
      throw new EarshotError("OVERLOADED", `all ${maxCalls} calls of this transceiver are taken: try again later`);
    }
    const session = new Session(newId(), offer, this.#surroundings, Date.now());
    this.#byId.set(session.id, session);
    try {
      return { session, answerSdp: await session.answer(offer) };
    } catch (error) {
      await session.end("end-call");
      throw error;
    }
  }

  get(id: string): Session | undefined {
    return this.#byId.get(id);
  }

  /** False if there is no such call. */
  async end(id: string, reason: EndReason): Promise<boolean> {
    const session = this.#byId.get(id);
    if (session === undefined) return false;
    await session.end(reason);
    return true;
  }

  /** Ends every call, and resolves when nothing of them is left. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    // Ending one that has already ended waits for it.
    await Promise.all([...this.#byId.values(), ...this.#closing].map((session) => session.end("stopped")));
  }

  states(): Record<"new" | "connecting" | "connected", number> {
    const states = { new: 0, connecting: 0, connected: 0 };
    for (const { state } of this.#byId.values()) if (state !== "ended") states[state]++;
    return states;
  }
}
