/**
 * Decides on every miss: a Binding request whose ufrag matches no flow of its path. Only a request that a transceiver's
 * credentials have signed, for a transceiver that is live, and within its budgets, makes room in the flow table; every
 * other is dropped and counted. Answers nobody.
 */
import type { ControlCounterName } from "../engine/counters.ts";
import type { ControlRecord, Engine, Slot } from "../engine/engine.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { verifyFingerprint, verifyMessageIntegrity } from "../stun/stun-integrity.ts";
import { localUfrag, readStun } from "../stun/stun-reader.ts";
import { icePassword, openToken, tokenExpired } from "../token/token.ts";
import type { Budgets } from "./budgets.ts";
import type { KeyedHash } from "./keyed-hash.ts";
import type { UfragPaths } from "./ufrag-paths.ts";

export type MissDrop = Extract<ControlCounterName, `miss_drop_${string}`>;

export interface AdmissionOptions {
  readonly engine: Pick<Engine, "admit" | "offer">;
  readonly cluster: number;
  readonly keys: () => KeyRing;
  /** Whether the path's source is an address and port of the trunk. */
  readonly isTrunkEnd: (path: Buffer) => boolean;
  /** The slot of the live transceiver with this id whose epoch ends in these 16 bits. */
  readonly findTransceiver: (id: number, epochLow16: number) => Slot | undefined;
  /** ms since 1970 */
  readonly now: () => number;
  /** ms of a clock that never goes back */
  readonly monotonicMs: () => number;
  readonly hash: KeyedHash;
  readonly budgets: Pick<Budgets, "takeToken" | "takeAssuredToken" | "takeSource">;
  readonly paths: Pick<UfragPaths, "add" | "hasAssured">;
}

/** Why the miss was dropped, or undefined if its worker has it back. */
export function admitMiss(miss: ControlRecord, options: AdmissionOptions): MissDrop | undefined {
  const { engine, budgets, paths } = options;
  const message = readStun(miss.payload);
  const ufrag = message && localUfrag(message);
  if (message === undefined || ufrag === undefined) return "miss_drop_stun";
  if (options.isTrunkEnd(miss.path)) return "miss_drop_source";

  const opened = openToken(ufrag, options.keys());
  if (!opened.ok) return "miss_drop_token";
  const { token, keys } = opened;
  if (tokenExpired(token, options.now())) return "miss_drop_expired";
  if (token.cluster !== options.cluster) return "miss_drop_cluster";
  const slot = options.findTransceiver(token.transceiver, token.epoch);
  if (slot === undefined) return "miss_drop_transceiver";

  // ICE wants both on every check (RFC 8445 section 7.1). The checksum is the cheaper one, so it comes first.
  if (!verifyFingerprint(message)) return "miss_drop_fingerprint";
  const hash = options.hash.ofUfrag(ufrag);
  const nowMs = options.monotonicMs();
  const owner = { ufrag, hash, slot };
  const mayExceed = (): boolean => budgets.takeAssuredToken(hash, nowMs) && paths.hasAssured(owner);
  if (!budgets.takeToken(hash, nowMs) && !mayExceed()) return "miss_drop_budget_token";
  if (!verifyMessageIntegrity(message, icePassword(ufrag, keys))) return "miss_drop_integrity";
  const refusedBy = budgets.takeSource(miss.path, nowMs);
  if (refusedBy !== undefined && !mayExceed()) return `miss_drop_budget_${refusedBy}`;

  const result = engine.admit(miss.path, slot, ufrag);
  if (result === "table-full") return "miss_drop_table_full";
  if (result === "quota") return "miss_drop_quota";
  paths.add(owner, miss.path);
  return engine.offer(miss) ? undefined : "miss_drop_offer_full";
}
