/** What signalling asks of the calls behind it, whichever processes they live in. Types only. */
import type { CallWish, OpenCall } from "./open-calls.ts";

/** The answer of GET at a Location. */
export interface DescribedCall {
  readonly state: string;
  /** ISO 8601, as all times here. */
  readonly createdAt?: string;
  readonly connectedAt?: string;
  readonly endedAt?: string;
  /** Why it ended; one of the reasons in docs/signalling.md. */
  readonly reason?: string;
  /** What answers: `echo`, ... */
  readonly backend?: string;
  /** Where the client is reached now. */
  readonly client?: { readonly address: string; readonly port: number };
  readonly frames?: { readonly received: number; readonly sent: number };
  readonly messages?: { readonly received: number; readonly sent: number };
}

export interface CallService {
  /** Throws SDP_INVALID, SDP_UNSUPPORTED, OVERLOADED, CHILD_*. */
  create(wish: CallWish): Promise<{ readonly secret: string; readonly answerSdp: string; readonly tag: string }>;
  find(secret: string): OpenCall | undefined;
  /** This and the next: undefined if the call has ended meanwhile. Throws as `create`. */
  update(call: OpenCall, offerSdp: string): Promise<{ readonly answerSdp: string; readonly tag: string } | undefined>;
  /** With a fragment if ICE was restarted. Throws FRAGMENT_INVALID, CHILD_*. */
  takeFragment(
    call: OpenCall,
    fragment: string,
    mayRepeat: boolean,
  ): Promise<{ readonly fragment: string | undefined; readonly tag: string } | undefined>;
  /** Of an open call, or of one that ended within the last minute. */
  describe(secret: string): Promise<DescribedCall | undefined>;
  /** False if the secret is unknown. */
  end(secret: string): Promise<boolean>;
}
