/**
 * Which call a Location stands for: a secret of 128 bits of its own -> (transceiver, call id). The secret is never the
 * ufrag, which everybody on the way of a packet can read. Holds no call itself.
 */
import { randomBytes } from "node:crypto";

export interface CallMaker {
  createCall(offerSdp: string): Promise<{ readonly callId: string; readonly answerSdp: string }>;
  /** False if there is no such call any more. */
  endCall(callId: string): Promise<boolean>;
}

interface OpenCall {
  readonly maker: CallMaker;
  readonly callId: string;
}

export class OpenCalls {
  readonly #bySecret = new Map<string, OpenCall>();
  readonly #secrets = new Map<CallMaker, Map<string, string>>();
  readonly #creating = new Map<CallMaker, { count: number; endedEarly: Set<string> }>();

  get count(): number {
    return this.#bySecret.size;
  }

  /** Throws what the maker throws. */
  async create(maker: CallMaker, offerSdp: string): Promise<{ secret: string; answerSdp: string }> {
    const creating = this.#creating.get(maker) ?? { count: 0, endedEarly: new Set() };
    this.#creating.set(maker, creating);
    creating.count++;
    try {
      const { callId, answerSdp } = await maker.createCall(offerSdp);
      const secret = randomBytes(16).toString("base64url");
      if (!creating.endedEarly.delete(callId)) this.#add(secret, { maker, callId });
      return { secret, answerSdp };
    } finally {
      if (--creating.count === 0) this.#creating.delete(maker);
    }
  }

  /** False if the secret is unknown: the call has ended, or never was. */
  async end(secret: string): Promise<boolean> {
    const call = this.#bySecret.get(secret);
    if (call === undefined) return false;
    this.ended(call.maker, call.callId);
    return call.maker.endCall(call.callId);
  }

  /** The maker says that this call is over. */
  ended(maker: CallMaker, callId: string): void {
    const secrets = this.#secrets.get(maker);
    const secret = secrets?.get(callId);
    if (secret === undefined) {
      // A call may end before the reply that names it has been taken in: both can arrive in one read.
      this.#creating.get(maker)?.endedEarly.add(callId);
      return;
    }
    secrets?.delete(callId);
    this.#bySecret.delete(secret);
  }

  /** The maker's process is gone, and its calls with it. */
  makerGone(maker: CallMaker): void {
    for (const secret of this.#secrets.get(maker)?.values() ?? []) this.#bySecret.delete(secret);
    this.#secrets.delete(maker);
  }

  #add(secret: string, call: OpenCall): void {
    this.#bySecret.set(secret, call);
    const secrets = this.#secrets.get(call.maker) ?? new Map<string, string>();
    this.#secrets.set(call.maker, secrets.set(call.callId, secret));
  }
}
