/**
 * Owns a relay's control plane in simulated time: admission, budgets and paths as they are, over the JS engine's flow
 * table, without a socket. Between them it is the worker that asks only about what it cannot place, and the transceiver that
 * answers every request it gets.
 */
import { randomInt } from "node:crypto";
import { CONTROL_KIND } from "../../src/engine/engine.ts";
import { FlowTable, holdsUfrag } from "../../src/engine/js/flow-table.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { type AdmissionOptions, admitMiss, type MissDrop } from "../../src/relay/admission.ts";
import { type BudgetLimits, Budgets } from "../../src/relay/budgets.ts";
import { KeyedHash } from "../../src/relay/keyed-hash.ts";
import {
  BUDGETS,
  EXPIRE_MS,
  IN_USE_MS,
  PATHS_PER_FLOW,
  PATHS_PER_UFRAG,
  TENTATIVE_SHARE,
} from "../../src/relay/limits.ts";
import { UfragPaths } from "../../src/relay/ufrag-paths.ts";
import { icePassword, sealToken } from "../../src/token/token.ts";
import { pathBytes, pathKey } from "../../src/trunk/path.ts";
import { bindingRequest } from "./datagrams.ts";

const CLUSTER = 1;
const TRANSCEIVER = { id: 7, epoch: 1_700_000_000_000n, slot: 3 };
const HOUR_MS = 3_600_000;

export interface SceneOptions {
  readonly budgets?: BudgetLimits;
  readonly pathsPerUfrag?: number;
  readonly inUseMs?: number;
  readonly flowCapacity?: number;
  readonly tentativeQuota?: number;
}

/** What a transceiver gave to one client. */
export interface Credentials {
  readonly ufrag: string;
  /** A request that only its holder could make; anybody may replay it. */
  readonly request: Buffer;
}

export type Fate = MissDrop | "admitted" | "forwarded";

export class AdmissionScene {
  nowMs = 5_000_000;
  /** Whether the transceiver answers, which makes flows assured. */
  answers = true;
  evicted = 0;
  readonly flows: FlowTable;
  readonly paths: UfragPaths;
  readonly #admission: AdmissionOptions;
  readonly #ring = new KeyRing([{ id: 1, secret: Buffer.alloc(32, 7), signs: true }]);

  constructor(options: SceneOptions = {}) {
    const { flowCapacity = 65_536, pathsPerUfrag = PATHS_PER_UFRAG, budgets = BUDGETS } = options;
    this.flows = new FlowTable({
      capacity: flowCapacity,
      tentativeQuota: options.tentativeQuota ?? flowCapacity * TENTATIVE_SHARE,
      now: () => this.nowMs,
      isRetired: () => false,
    });
    const hash = new KeyedHash();
    this.paths = new UfragPaths({
      engine: {
        flow: (path) => this.flows.info(path),
        end: (path, slot, ufrag) => this.flows.end(path, slot, ufrag),
      },
      capacity: flowCapacity * PATHS_PER_FLOW,
      most: pathsPerUfrag,
      inUseMs: options.inUseMs ?? IN_USE_MS,
      onEvicted: () => {
        this.evicted += 1;
      },
    });
    this.#admission = {
      engine: { admit: (path, slot, ufrag) => this.flows.admit(path, slot, ufrag), offer: () => true },
      cluster: CLUSTER,
      keys: () => this.#ring,
      isTrunkEnd: () => false,
      findTransceiver: (id) => (id === TRANSCEIVER.id ? TRANSCEIVER.slot : undefined),
      now: Date.now,
      monotonicMs: () => this.nowMs,
      hash,
      budgets: new Budgets(budgets, hash),
      paths: this.paths,
    };
  }

  credentials(): Credentials {
    const keys = this.#ring.signing;
    const ufrag = sealToken(
      {
        cluster: CLUSTER,
        transceiver: TRANSCEIVER.id,
        epoch: TRANSCEIVER.epoch,
        expiresAtMs: Date.now() + HOUR_MS,
        nonce: randomInt(2 ** 32),
      },
      keys,
    );
    return { ufrag, request: bindingRequest(ufrag, { password: icePassword(ufrag, keys) }) };
  }

  /** A request of these credentials comes from `path`. */
  ask({ ufrag, request }: Credentials, path: Buffer): Fate {
    const known = this.flows.get(pathKey(path));
    if (known && holdsUfrag(known.owner, ufrag)) return "forwarded";
    const drop = admitMiss({ kind: CONTROL_KIND.miss, worker: 1, path, slot: 0, payload: request }, this.#admission);
    if (drop !== undefined) return drop;
    if (this.answers) this.flows.assure(this.flows.get(pathKey(path))!);
    return "admitted";
  }

  /** The transceiver sends something to this path, as it does to one in use. */
  downlink(path: Buffer): void {
    const flow = this.flows.get(pathKey(path));
    if (flow) this.flows.seen(flow);
  }

  state(path: Buffer): "assured" | "tentative" | undefined {
    return this.flows.info(path)?.state;
  }

  /** Lets time pass, with what the relay does in it. */
  pass(ms: number): void {
    for (const end = this.nowMs + ms; this.nowMs < end; ) {
      this.nowMs = Math.min(end, this.nowMs + EXPIRE_MS);
      this.flows.expire();
      this.paths.sweep();
    }
  }
}

/** The nth path: another /24 for each, as spoofed sources have. */
export const spoofed = (n: number): Buffer =>
  pathBytes(1, `${1 + ((n >> 16) % 223)}.${(n >> 8) & 255}.${n & 255}.${n % 251}`, 1_024 + (n % 60_000));

/** The nth path of one /24, as a carrier's NAT has. */
export const behindNat = (n: number): Buffer => pathBytes(1, `198.51.100.${n & 255}`, 2_000 + (n >> 8));

/** Tallies what became of requests. */
export function tally(fates: Iterable<Fate>): Partial<Record<Fate, number>> {
  const counts: Partial<Record<Fate, number>> = {};
  for (const fate of fates) counts[fate] = (counts[fate] ?? 0) + 1;
  return counts;
}

const OFF = { perSecond: Number.POSITIVE_INFINITY, burst: 1 };
/** The guard off. */
export const NO_BUDGETS: BudgetLimits = {
  ...BUDGETS,
  token: OFF,
  assuredToken: OFF,
  prefix: OFF,
  total: { ...BUDGETS.total, ...OFF },
};
