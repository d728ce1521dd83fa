/**
 * Decides on every miss: a Binding request whose ufrag matches no flow of its path. Only a request that a transceiver's
 * credentials have signed, for a transceiver that is live, makes room in the flow table; every other is dropped and
 * counted. Keeps no state about a client, and answers nobody.
 */
import type { ControlCounterName } from "../engine/counters.ts";
import type { ControlRecord, Engine, Slot } from "../engine/engine.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { verifyFingerprint, verifyMessageIntegrity } from "../stun/stun-integrity.ts";
import { localUfrag, readStun } from "../stun/stun-reader.ts";
import { icePassword, openToken, tokenExpired } from "../token/token.ts";

export type MissDrop = Extract<ControlCounterName, `miss_drop_${string}`>;

export interface AdmissionOptions {
  readonly engine: Pick<Engine, "admit" | "offer">;
  readonly cluster: number;
  readonly keys: () => KeyRing;
  /** The slot of the live transceiver with this id whose epoch ends in these 16 bits. */
  readonly findTransceiver: (id: number, epochLow16: number) => Slot | undefined;
  /** ms since 1970 */
  readonly now: () => number;
}

/** Why the miss was dropped, or undefined if its worker has it back. */
export function admitMiss(miss: ControlRecord, options: AdmissionOptions): MissDrop | undefined {
  const message = readStun(miss.payload);
  const ufrag = message && localUfrag(message);
  if (message === undefined || ufrag === undefined) return "miss_drop_stun";

  const opened = openToken(ufrag, options.keys());
  if (!opened.ok) return "miss_drop_token";
  const { token, keys } = opened;
  if (tokenExpired(token, options.now())) return "miss_drop_expired";
  if (token.cluster !== options.cluster) return "miss_drop_cluster";
  const slot = options.findTransceiver(token.transceiver, token.epoch);
  if (slot === undefined) return "miss_drop_transceiver";

  // ICE wants both on every check (RFC 8445 section 7.1). The checksum is the cheaper one, so it comes first.
  if (!verifyFingerprint(message)) return "miss_drop_fingerprint";
  if (!verifyMessageIntegrity(message, icePassword(ufrag, keys))) return "miss_drop_integrity";

  const result = options.engine.admit(miss.path, slot, ufrag);
  if (result === "table-full") return "miss_drop_table_full";
  if (result === "quota") return "miss_drop_quota";
  return options.engine.offer(miss) ? undefined : "miss_drop_offer_full";
}
