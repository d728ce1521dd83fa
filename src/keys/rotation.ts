/**
 * One rotation of the fleet keys: a new key that will sign, dates for those that it follows, and the end of those whose
 * ids are free again. Pure: time and the new secret are arguments. It must never leave a valid token without its key.
 *
 *   signsFrom(new)                      the key before signs its last token
 *     + longest call + one expiry tick  that token has expired
 *     + slack                           = retires(before): it verifies nothing any more
 *     + the same once more              its entry is dropped, and its id is free
 */
import { EarshotError } from "../earshot-error.ts";
import { EXPIRY_TICK_MS } from "../token/token.ts";
import { KEY_ID_MAX } from "./key-ring.ts";
import { type DatedKey, dateText, KeySchedule } from "./key-schedule.ts";

/**
 * For clocks that differ, and for calls that a transceiver makes with the old key because it gets the file late. A smaller
 * value refuses tokens of those that are valid; a larger one makes old keys verify for longer.
 */
export const RETIRE_SLACK_MS = 3_600_000;

export interface RotationWish {
  readonly nowMs: number;
  /** How long the fleet has to get the file before the new key signs. */
  readonly signsInMs: number;
  /** The longest that any transceiver of the fleet allows. */
  readonly longestCallMs: number;
  /** Of the new key, 32 bytes. */
  readonly secret: Buffer;
}

export interface Rotation {
  readonly schedule: KeySchedule;
  readonly added: DatedKey;
  /** Those that got a date to retire at, which is the same for all. */
  readonly retiring: readonly DatedKey[];
  readonly dropped: readonly DatedKey[];
}

/** Throws an `EarshotError`: KEYS_ROTATING, KEYS_FULL or KEYS_NO_SIGNER. */
export function rotateKeys({ keys }: KeySchedule, wish: RotationWish): Rotation {
  const { nowMs, signsInMs, longestCallMs, secret } = wish;
  const signsFromMs = Math.ceil((nowMs + signsInMs) / 1000) * 1000;
  const waiting = keys.find((key) => key.signsFromMs >= signsFromMs);
  if (waiting !== undefined) {
    const message = `key ${waiting.id} begins to sign only at ${dateText(waiting.signsFromMs)}, and the new key has to come after it: wait, or give a larger --signs-in`;
    throw new EarshotError("KEYS_ROTATING", message);
  }

  const outlivedMs = longestCallMs + EXPIRY_TICK_MS + RETIRE_SLACK_MS;
  // Nothing was signed with a key after it retired, however early somebody made it retire by hand.
  const freeAtMs = ({ retiresMs = Number.POSITIVE_INFINITY }: DatedKey): number => retiresMs + outlivedMs;
  const dropped = keys.filter((key) => freeAtMs(key) <= nowMs);
  const kept = keys.filter((key) => !dropped.includes(key));

  const added = { id: freeId(kept, freeAtMs), secret, signsFromMs, retiresMs: undefined };
  const retiring = kept
    .filter((key) => key.retiresMs === undefined)
    .map((key) => ({ ...key, retiresMs: signsFromMs + outlivedMs }));
  const others = kept.map((key) => retiring.find(({ id }) => id === key.id) ?? key);
  const schedule = new KeySchedule([...others, added]);
  schedule.checkFrom(nowMs);
  return { schedule, added, retiring, dropped };
}

/** The lowest that no key of the file has. */
function freeId(kept: readonly DatedKey[], freeAtMs: (key: DatedKey) => number): number {
  for (let id = 0; id <= KEY_ID_MAX; id++) {
    if (!kept.some((key) => key.id === id)) return id;
  }
  const first = Math.min(...kept.map(freeAtMs));
  const message = `all ${KEY_ID_MAX + 1} key ids are taken by keys that may still be in use; the first is free at ${dateText(first)}: rotate again then, and less often from then on`;
  throw new EarshotError("KEYS_FULL", message);
}
