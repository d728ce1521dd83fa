/**
 * Owns the flows of the JS engine: who may use a path, and since when. The rules are those of AdmitResult and of
 * DESIGN "The data path" 3 and 4. Never touches a socket, and takes the time from outside.
 *
 * A pending session exists only beside an assured owner. A flow whose owner's entry is retired is there for the downlink
 * and for expiry only: on the uplink it counts as absent, and the next admission replaces it.
 */
import { pathHost, pathIngress, pathKey, pathPort } from "../../trunk/path.ts";
import type { AdmitResult, FlowCounts, FlowInfo, RestoreResult, Slot } from "../engine.ts";

/** A tentative flow lives this long: a transceiver answers its first check within milliseconds. */
export const TENTATIVE_MS = 5_000;
/** An assured flow without downlink lives this long: twice the 30 s after which consent ends (RFC 7675). */
export const IDLE_MS = 60_000;
/** last-seen moves at most this often, as in the native engine, where every write costs a cache line. */
export const LAST_SEEN_STEP_MS = 1_000;
/** Flows looked at in one step of the scan: about 0.1 ms. */
export const EXPIRE_STEP_FLOWS = 1_024;

/** One transceiver's claim on a path. */
export interface FlowSession {
  readonly slot: Slot;
  readonly newest: string;
  /** The ufrag before the newest: during an ICE restart both are in use. */
  readonly older: string | undefined;
}

export interface Flow {
  readonly key: string;
  readonly ingress: number;
  readonly host: string;
  readonly port: number;
  owner: FlowSession;
  pending: FlowSession | undefined;
  assured: boolean;
  madeMs: number;
  lastSeenMs: number;
}

export interface FlowTableOptions {
  readonly capacity: number;
  readonly tentativeQuota: number;
  /** Milliseconds on any clock that never goes back. */
  readonly now: () => number;
  readonly isRetired: (slot: Slot) => boolean;
}

export class FlowTable {
  readonly #options: FlowTableOptions;
  readonly #flows = new Map<string, Flow>();
  #tentative = 0;
  #scan: MapIterator<Flow> | undefined;

  constructor(options: FlowTableOptions) {
    this.#options = options;
  }

  get(key: string): Flow | undefined {
    return this.#flows.get(key);
  }

  admit(path: Buffer, slot: Slot, ufrag: string): AdmitResult {
    const key = pathKey(path);
    const flow = this.#flows.get(key);
    if (!flow) return this.#install(key, path, slot, ufrag);
    if (flow.owner.slot === slot) {
      flow.owner = withUfrag(flow.owner, ufrag);
      return "joined";
    }
    if (!flow.assured || this.#options.isRetired(flow.owner.slot)) return this.#replace(flow, slot, ufrag);
    if (flow.pending?.slot === slot) {
      flow.pending = withUfrag(flow.pending, ufrag);
      return "joined";
    }
    flow.pending = { slot, newest: ufrag, older: undefined };
    return "pending";
  }

  /** For recovery: assured at once, outside the quota; but an assured owner that is live stays. */
  restore(path: Buffer, slot: Slot, ufrags: readonly string[]): RestoreResult {
    const key = pathKey(path);
    const claim: FlowSession = { slot, newest: ufrags[0]!, older: ufrags[1] === ufrags[0] ? undefined : ufrags[1] };
    const flow = this.#flows.get(key);
    if (!flow) {
      if (this.#flows.size >= this.#options.capacity) return "table-full";
      this.assure(this.#make(key, path, claim));
      return "installed";
    }
    if (flow.owner.slot === slot) {
      flow.owner = withMissing(flow.owner, claim);
      this.assure(flow);
      // Somebody knows it to be alive, be it at another relay.
      this.seen(flow);
      return "joined";
    }
    const isOwnerLive = !this.#options.isRetired(flow.owner.slot);
    if (isOwnerLive && flow.assured) return "kept";
    // What has asked for this path meanwhile goes on beside the owner that was there first.
    const beside = isOwnerLive ? flow.owner : flow.pending;
    flow.owner = beside?.slot === slot ? withMissing(beside, claim) : claim;
    flow.pending = beside?.slot === slot ? undefined : beside;
    if (flow.assured) flow.lastSeenMs = this.#options.now();
    else this.assure(flow);
    return "installed";
  }

  promote(path: Buffer, slot: Slot, ufrag: string): boolean {
    const flow = this.#flows.get(pathKey(path));
    if (!flow?.pending || flow.pending.slot !== slot || !holdsUfrag(flow.pending, ufrag)) return false;
    flow.owner = flow.pending;
    flow.pending = undefined;
    flow.lastSeenMs = this.#options.now();
    return true;
  }

  /** A session's claim ends with its last ufrag: after an ICE restart the older one may end alone. */
  end(path: Buffer, slot: Slot, ufrag: string): boolean {
    const flow = this.#flows.get(pathKey(path));
    if (!flow) return false;
    if (flow.owner.slot === slot && holdsUfrag(flow.owner, ufrag)) {
      const left = withoutUfrag(flow.owner, ufrag);
      if (left) flow.owner = left;
      else if (flow.pending) this.#restart(flow, flow.pending);
      else this.#remove(flow);
      return true;
    }
    if (flow.pending?.slot === slot && holdsUfrag(flow.pending, ufrag)) {
      flow.pending = withoutUfrag(flow.pending, ufrag);
      return true;
    }
    return false;
  }

  /** The owner has answered the client. */
  assure(flow: Flow): void {
    if (flow.assured) return;
    flow.assured = true;
    flow.lastSeenMs = this.#options.now();
    this.#tentative -= 1;
  }

  /** The owner has sent something to the client. */
  seen(flow: Flow): void {
    const now = this.#options.now();
    if (now - flow.lastSeenMs >= LAST_SEEN_STEP_MS) flow.lastSeenMs = now;
  }

  /** Looks at the next EXPIRE_STEP_FLOWS flows; a Map's iterator stands still across insertions and removals. */
  expire(): number {
    let removed = 0;
    this.#scan ??= this.#flows.values();
    for (let looked = 0; looked < EXPIRE_STEP_FLOWS; looked += 1) {
      const next = this.#scan.next();
      if (next.done) {
        this.#scan = undefined;
        break;
      }
      const flow = next.value;
      if (this.#idleMs(flow) < (flow.assured ? IDLE_MS : TENTATIVE_MS)) {
        // It can be neither promoted nor ended, and its owner may live for hours.
        if (flow.pending && this.#options.isRetired(flow.pending.slot)) flow.pending = undefined;
        continue;
      }
      this.#remove(flow);
      removed += 1;
    }
    return removed;
  }

  info(path: Buffer): FlowInfo | undefined {
    const flow = this.#flows.get(pathKey(path));
    if (!flow) return undefined;
    return {
      state: flow.assured ? "assured" : "tentative",
      owner: flow.owner.slot,
      pending: flow.pending?.slot,
      idleMs: this.#idleMs(flow),
    };
  }

  counts(): FlowCounts {
    return { flows: this.#flows.size, tentative: this.#tentative, capacity: this.#options.capacity };
  }

  #install(key: string, path: Buffer, slot: Slot, ufrag: string): AdmitResult {
    if (this.#tentative >= this.#options.tentativeQuota) return "quota";
    if (this.#flows.size >= this.#options.capacity) return "table-full";
    this.#make(key, path, { slot, newest: ufrag, older: undefined });
    return "installed";
  }

  /** A tentative flow. */
  #make(key: string, path: Buffer, owner: FlowSession): Flow {
    const now = this.#options.now();
    const flow: Flow = {
      key,
      ingress: pathIngress(path),
      host: pathHost(path),
      port: pathPort(path),
      owner,
      pending: undefined,
      assured: false,
      madeMs: now,
      lastSeenMs: now,
    };
    this.#tentative += 1;
    this.#flows.set(key, flow);
    return flow;
  }

  /** The owner has no claim to keep: it has not answered, or is gone. */
  #replace(flow: Flow, slot: Slot, ufrag: string): AdmitResult {
    if (flow.assured && this.#tentative >= this.#options.tentativeQuota) return "quota";
    this.#restart(flow, { slot, newest: ufrag, older: undefined });
    return "installed";
  }

  #idleMs(flow: Flow): number {
    return this.#options.now() - (flow.assured ? flow.lastSeenMs : flow.madeMs);
  }

  /** The flow begins again, tentative, with another owner. */
  #restart(flow: Flow, owner: FlowSession): void {
    if (flow.assured) this.#tentative += 1;
    flow.owner = owner;
    flow.pending = undefined;
    flow.assured = false;
    flow.madeMs = this.#options.now();
  }

  #remove(flow: Flow): void {
    this.#flows.delete(flow.key);
    if (!flow.assured) this.#tentative -= 1;
  }
}

export function holdsUfrag(session: FlowSession, ufrag: string): boolean {
  return session.newest === ufrag || session.older === ufrag;
}

/** The newest two ufrags are kept; one that is there already becomes the newest again. */
function withUfrag(session: FlowSession, ufrag: string): FlowSession {
  if (session.newest === ufrag) return session;
  return { slot: session.slot, newest: ufrag, older: session.newest };
}

/** What the session has is kept; what the hint knows beside it is added as far as there is room. */
function withMissing(session: FlowSession, hint: FlowSession): FlowSession {
  if (session.older !== undefined) return session;
  return { ...session, older: hint.newest === session.newest ? hint.older : hint.newest };
}

function withoutUfrag(session: FlowSession, ufrag: string): FlowSession | undefined {
  const left = session.newest === ufrag ? session.older : session.newest;
  return left === undefined ? undefined : { slot: session.slot, newest: left, older: undefined };
}
