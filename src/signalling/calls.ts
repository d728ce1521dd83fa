/**
 * The calls behind one HTTP address, whichever of several transceivers they live in: gives a new one to the transceiver
 * with the fewest, and finds the others by their Location. Owns how many may begin in a second. What a call is made of
 * stays with its transceiver.
 */
import { EarshotError } from "../earshot-error.ts";
import type { CallService, DescribedCall } from "./call-service.ts";
import { NewCallRate } from "./new-call-rate.ts";
import { type CallMaker, type CallWish, entityTag, type OpenCall, OpenCalls } from "./open-calls.ts";

export interface CallsOptions {
  readonly makers: readonly CallMaker[];
  /** Infinity for no limit. */
  readonly maxNewCallsPerSecond: number;
  readonly now?: () => number;
}

/** So long after a transceiver has refused a call for want of room the others are asked first. */
const REST_MS = 1000;
/** Another transceiver may do better: this one is full, draining, or being started again. */
const ANOTHER_MAY_DO = new Set(["OVERLOADED", "CHILD_GONE"]);

export class Calls implements CallService {
  /** How many new calls were refused, by the code that their clients were given. */
  readonly refusals = new Map<string, number>();
  readonly #makers: readonly CallMaker[];
  readonly #now: () => number;
  readonly #rate: NewCallRate;
  readonly #open: OpenCalls;
  readonly #refusedMs = new Map<CallMaker, number>();

  constructor({ makers, maxNewCallsPerSecond, now = Date.now }: CallsOptions) {
    this.#makers = makers;
    this.#now = now;
    this.#rate = new NewCallRate(maxNewCallsPerSecond, now);
    this.#open = new OpenCalls(now);
  }

  get count(): number {
    return this.#open.count;
  }

  /** Throws what the last transceiver that was asked throws. */
  async create(wish: CallWish): Promise<{ secret: string; answerSdp: string; tag: string }> {
    try {
      return await this.#create(wish);
    } catch (error) {
      const code = error instanceof EarshotError ? error.code : "INTERNAL";
      this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
      throw error;
    }
  }

  async #create(wish: CallWish): Promise<{ secret: string; answerSdp: string; tag: string }> {
    if (!this.#rate.take()) {
      const message = `more than ${this.#rate.perSecond} calls have begun in this second: try again later`;
      throw new EarshotError("OVERLOADED", message);
    }
    let refusal: unknown;
    for (const maker of this.#inOrder()) {
      try {
        return await this.#open.create(maker, wish);
      } catch (error) {
        refusal = error;
        if (!(error instanceof EarshotError) || !ANOTHER_MAY_DO.has(error.code)) break;
        this.#refusedMs.set(maker, this.#now());
      }
    }
    throw refusal;
  }

  find(secret: string): OpenCall | undefined {
    return this.#open.find(secret);
  }

  async update(call: OpenCall, offerSdp: string): Promise<{ answerSdp: string; tag: string } | undefined> {
    const updated = await call.maker.updateCall(call.callId, offerSdp);
    if (updated === undefined) return undefined;
    call.tag = entityTag(updated.ufrag);
    return { answerSdp: updated.answerSdp, tag: call.tag };
  }

  async takeFragment(
    call: OpenCall,
    fragment: string,
    mayRepeat: boolean,
  ): Promise<{ fragment: string | undefined; tag: string } | undefined> {
    const taken = await call.maker.takeFragment(call.callId, fragment, mayRepeat);
    if (taken === undefined) return undefined;
    call.tag = entityTag(taken.ufrag);
    return { fragment: taken.fragment, tag: call.tag };
  }

  async describe(secret: string): Promise<DescribedCall | undefined> {
    const call = this.#open.find(secret) ?? this.#open.findEnded(secret);
    // WHIP has no such request.
    if (call === undefined || call.ingest) return undefined;
    const facts = "maker" in call ? await call.maker.describeCall(call.callId) : undefined;
    if (facts !== undefined) {
      const { state, createdMs, connectedMs, backend, client, frames, messages } = facts;
      return {
        state,
        createdAt: isoTime(createdMs),
        ...(connectedMs !== undefined && { connectedAt: isoTime(connectedMs) }),
        backend,
        ...(client && { client }),
        frames,
        messages,
      };
    }
    // It may have ended since it was asked.
    const ended = this.#open.findEnded(secret);
    return ended && { state: "ended", reason: ended.reason, endedAt: isoTime(ended.endedMs) };
  }

  end(secret: string): Promise<boolean> {
    return this.#open.end(secret);
  }

  /** The transceiver says that this call is over. */
  ended(maker: CallMaker, callId: string, reason: string): void {
    this.#open.ended(maker, callId, reason);
  }

  /** The transceiver's process is gone, and its calls with it. */
  makerGone(maker: CallMaker): void {
    this.#open.makerGone(maker);
  }

  /** The fewest calls first; those that have just refused one last, and then only the first of them. */
  #inOrder(): CallMaker[] {
    const restingSince = this.#now() - REST_MS;
    const byLoad = [...this.#makers].sort((one, other) => this.#open.countOf(one) - this.#open.countOf(other));
    const willing = byLoad.filter((maker) => (this.#refusedMs.get(maker) ?? Number.NEGATIVE_INFINITY) <= restingSince);
    return willing.length > 0 ? willing : byLoad.slice(0, 1);
  }
}

const isoTime = (ms: number): string => new Date(ms).toISOString();
