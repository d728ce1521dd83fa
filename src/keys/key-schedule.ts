/**
 * The fleet keys of a key file with their dates, and which of them sign and verify at a given time. Pure: the time is an
 * argument. Nothing here may print a secret.
 */
import { EarshotError } from "../earshot-error.ts";
import { type FleetKey, KeyRing } from "./key-ring.ts";

export interface DatedKey {
  /** 0-63 */
  readonly id: number;
  /** 32 bytes */
  readonly secret: Buffer;
  /** From then on it signs, until a key with a later such date does. ms since 1970 */
  readonly signsFromMs: number;
  /** From then on it neither signs nor verifies. ms since 1970, or undefined for a date that is not set yet */
  readonly retiresMs: number | undefined;
}

/** `future` keys verify already, so that whatever they will sign is known everywhere. */
export type KeyState = "future" | "signing" | "verifying" | "retired";

/** As dates stand in key files: `2026-11-21T00:00:00Z`. */
export function dateText(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

export class KeySchedule {
  readonly keys: readonly DatedKey[];

  /** Throws an `EarshotError`: KEYS_NONE, KEYS_DUPLICATE_ID or KEYS_DATES. */
  constructor(keys: readonly DatedKey[]) {
    if (keys.length === 0) throw new EarshotError("KEYS_NONE", "expected at least one fleet key, got none: add one");
    const ids = new Set<number>();
    const starts = new Map<number, number>();
    for (const { id, signsFromMs, retiresMs } of keys) {
      if (ids.has(id)) {
        const message = `two keys have id ${id}: give the newer one an id that no other key has`;
        throw new EarshotError("KEYS_DUPLICATE_ID", message);
      }
      ids.add(id);
      const other = starts.get(signsFromMs);
      if (other !== undefined) {
        const message = `keys ${other} and ${id} both sign from ${dateText(signsFromMs)}, so neither is the one that signs: give one of them a later "signsFrom"`;
        throw new EarshotError("KEYS_DATES", message);
      }
      starts.set(signsFromMs, id);
      if (retiresMs !== undefined && retiresMs <= signsFromMs) {
        const message = `key ${id} signs from ${dateText(signsFromMs)} and retires at ${dateText(retiresMs)}, before it could sign anything: correct one of the dates`;
        throw new EarshotError("KEYS_DATES", message);
      }
    }
    this.keys = [...keys];
  }

  stateAt(key: DatedKey, nowMs: number): KeyState {
    if (isRetired(key, nowMs)) return "retired";
    if (key.signsFromMs > nowMs) return "future";
    return key === this.#signerAt(nowMs) ? "signing" : "verifying";
  }

  /** Those that are not retired, one of them signing. Throws KEYS_NO_SIGNER. */
  fleetKeysAt(nowMs: number): readonly FleetKey[] {
    const signer = this.#signerAt(nowMs);
    if (signer === undefined) throw this.#noSigner(nowMs);
    return this.keys
      .filter((key) => !isRetired(key, nowMs))
      .map((key) => ({ id: key.id, secret: key.secret, signs: key === signer }));
  }

  /** Throws KEYS_NO_SIGNER. */
  ringAt(nowMs: number): KeyRing {
    return new KeyRing(this.fleetKeysAt(nowMs));
  }

  /** Throws KEYS_NO_SIGNER if no key signs now, or if dates that are set leave none at some later time. */
  checkFrom(nowMs: number): void {
    if (this.#signerAt(nowMs) === undefined) throw this.#noSigner(nowMs);
    for (const { id, retiresMs } of this.keys) {
      if (retiresMs === undefined || retiresMs <= nowMs || this.#signerAt(retiresMs) !== undefined) continue;
      const message = `no key signs any more when key ${id} retires at ${dateText(retiresMs)}: set "retires" of the newest key to null, or add a key that signs before: earshot keys rotate`;
      throw new EarshotError("KEYS_NO_SIGNER", message);
    }
  }

  #signerAt(nowMs: number): DatedKey | undefined {
    let signer: DatedKey | undefined;
    for (const key of this.keys) {
      if (isRetired(key, nowMs) || key.signsFromMs > nowMs) continue;
      if (signer === undefined || key.signsFromMs > signer.signsFromMs) signer = key;
    }
    return signer;
  }

  #noSigner(nowMs: number): EarshotError {
    const starts = this.keys.filter((key) => !isRetired(key, nowMs)).map((key) => key.signsFromMs);
    const message =
      starts.length > 0
        ? `no key signs yet, the first begins to at ${dateText(Math.min(...starts))}: correct its "signsFrom", or the clock of this machine`
        : 'no key signs, all are retired: set "retires" of the newest one to null, or make a new file: earshot keys new';
    return new EarshotError("KEYS_NO_SIGNER", message);
  }
}

function isRetired({ retiresMs }: DatedKey, nowMs: number): boolean {
  return retiresMs !== undefined && retiresMs <= nowMs;
}
