/**
 * Which call a Location stands for: a secret of 128 bits of its own -> (transceiver, call id). The secret is never the
 * ufrag, which everybody on the way of a packet can read. Holds no call itself; of one that has ended it keeps for a
 * minute how it ended.
 */
import { createHash, randomBytes } from "node:crypto";

/** What the transceiver says of a call; times in ms since 1970. */
export interface CallFacts {
  readonly state: string;
  readonly createdMs: number;
  readonly connectedMs: number | undefined;
  readonly backend: string;
  readonly client: { readonly address: string; readonly port: number } | undefined;
  readonly frames: { readonly received: number; readonly sent: number };
  readonly messages: { readonly received: number; readonly sent: number };
}

/** Offers of a client that only sends are for ingest (WHIP), all others for a conversation. */
export interface CallWish {
  readonly offerSdp: string;
  readonly ingest: boolean;
}

/** A transceiver, as far as signalling needs it. `ufrag` is its own of the ICE session that the call is in. */
export interface CallMaker {
  createCall(wish: CallWish): Promise<{ readonly callId: string; readonly answerSdp: string; readonly ufrag: string }>;
  /** This and the others: undefined if there is no such call any more. */
  updateCall(
    callId: string,
    offerSdp: string,
  ): Promise<{ readonly answerSdp: string; readonly ufrag: string } | undefined>;
  takeFragment(
    callId: string,
    fragment: string,
    mayRepeat: boolean,
  ): Promise<{ readonly fragment: string | undefined; readonly ufrag: string } | undefined>;
  describeCall(callId: string): Promise<CallFacts | undefined>;
  /** False if there is no such call any more. */
  endCall(callId: string): Promise<boolean>;
}

export interface OpenCall {
  readonly maker: CallMaker;
  readonly callId: string;
  readonly ingest: boolean;
  /** Strong entity tag of its ICE session, in quotes (RFC 9725, section 4.3.1). */
  tag: string;
}

export interface EndedCall {
  readonly ingest: boolean;
  readonly reason: string;
  readonly endedMs: number;
}

/** Long enough for a page that has lost its call to ask why. */
const ENDED_KEPT_MS = 60_000;
/** Each is some 200 bytes; the oldest goes first. */
const ENDED_KEPT = 4096;

export class OpenCalls {
  readonly #now: () => number;
  readonly #bySecret = new Map<string, OpenCall>();
  /** Call id -> secret, for each maker, until that says that the call is over. */
  readonly #secrets = new Map<CallMaker, Map<string, string>>();
  readonly #creating = new Map<CallMaker, { count: number; endedEarly: Set<string> }>();
  /** By secret, the oldest first. */
  readonly #ended = new Map<string, EndedCall>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get count(): number {
    return this.#bySecret.size;
  }

  /** Calls of one maker, those included that are being made. */
  countOf(maker: CallMaker): number {
    return (this.#secrets.get(maker)?.size ?? 0) + (this.#creating.get(maker)?.count ?? 0);
  }

  /** Throws what the maker throws. */
  async create(maker: CallMaker, wish: CallWish): Promise<{ secret: string; answerSdp: string; tag: string }> {
    const creating = this.#creating.get(maker) ?? { count: 0, endedEarly: new Set() };
    this.#creating.set(maker, creating);
    creating.count++;
    try {
      const { callId, answerSdp, ufrag } = await maker.createCall(wish);
      const secret = randomBytes(16).toString("base64url");
      const tag = entityTag(ufrag);
      if (!creating.endedEarly.delete(callId)) this.#add(secret, { maker, callId, ingest: wish.ingest, tag });
      return { secret, answerSdp, tag };
    } finally {
      if (--creating.count === 0) this.#creating.delete(maker);
    }
  }

  find(secret: string): OpenCall | undefined {
    return this.#bySecret.get(secret);
  }

  findEnded(secret: string): EndedCall | undefined {
    this.#forgetOldEnds();
    return this.#ended.get(secret);
  }

  /** False if the secret is unknown: the call has ended, or never was. */
  async end(secret: string): Promise<boolean> {
    const call = this.#bySecret.get(secret);
    if (call === undefined) return false;
    // By call id it stays known until the maker says that it is over.
    this.#remove(secret, "end-call");
    return call.maker.endCall(call.callId);
  }

  /** The maker says that this call is over. */
  ended(maker: CallMaker, callId: string, reason: string): void {
    const secrets = this.#secrets.get(maker);
    const secret = secrets?.get(callId);
    if (secret === undefined) {
      // A call may end before the reply that names it has been taken in: both can arrive in one read.
      this.#creating.get(maker)?.endedEarly.add(callId);
      return;
    }
    secrets?.delete(callId);
    this.#remove(secret, reason);
  }

  /** The maker's process is gone, and its calls with it. */
  makerGone(maker: CallMaker): void {
    for (const secret of this.#secrets.get(maker)?.values() ?? []) this.#remove(secret, "transceiver-gone");
    this.#secrets.delete(maker);
  }

  #add(secret: string, call: OpenCall): void {
    this.#bySecret.set(secret, call);
    const secrets = this.#secrets.get(call.maker) ?? new Map<string, string>();
    this.#secrets.set(call.maker, secrets.set(call.callId, secret));
  }

  #remove(secret: string, reason: string): void {
    const call = this.#bySecret.get(secret);
    this.#bySecret.delete(secret);
    if (call === undefined) return;
    this.#forgetOldEnds();
    this.#ended.set(secret, { ingest: call.ingest, reason, endedMs: this.#now() });
  }

  #forgetOldEnds(): void {
    const oldestMs = this.#now() - ENDED_KEPT_MS;
    for (const [secret, { endedMs }] of this.#ended) {
      if (endedMs > oldestMs && this.#ended.size < ENDED_KEPT) break;
      this.#ended.delete(secret);
    }
  }
}

/** Another for each ICE session, because each has another ufrag. */
export function entityTag(ufrag: string): string {
  return `"${createHash("sha256").update(ufrag).digest("base64url").slice(0, 16)}"`;
}
