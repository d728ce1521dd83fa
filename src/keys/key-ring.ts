/**
 * The fleet keys at one moment, and what is derived from them. Many keys verify, exactly one signs, so that a fleet can
 * rotate: a new key verifies everywhere before it signs anywhere. Which those are at what time, `key-schedule.ts` says.
 * Nothing here may print a key.
 */
import { hkdfSync } from "node:crypto";
import { EarshotError } from "../earshot-error.ts";

export const FLEET_KEY_BYTES = 32;
/** Six bits in byte 0 of a token. */
export const KEY_ID_MAX = 63;

/** The secret that relays and transceivers share. */
export interface FleetKey {
  /** 0-63 */
  readonly id: number;
  /** 32 bytes */
  readonly secret: Buffer;
  /** Whether new tokens and trunk datagrams are made with it. */
  readonly signs: boolean;
}

/** One key for each use, so that no use can be turned against another. */
export interface DerivedKeys {
  readonly id: number;
  /** 16 bytes, SipHash: a token's tag */
  readonly tokenTag: Buffer;
  /** 16 bytes, AES-128: a token's block */
  readonly tokenBlock: Buffer;
  /** 32 bytes, HMAC-SHA256: the ICE password of a token */
  readonly icePassword: Buffer;
  /** 16 bytes, SipHash: trunk datagrams to transceivers */
  readonly trunkUp: Buffer;
  /** 16 bytes, SipHash: trunk datagrams to relays */
  readonly trunkDown: Buffer;
  /** 32 bytes, HMAC-SHA256: what relays and transceivers leave in Redis for each other */
  readonly redisRecord: Buffer;
}

export function deriveKeys({ id, secret }: FleetKey): DerivedKeys {
  return {
    id,
    tokenTag: derive(secret, "token tag", 16),
    tokenBlock: derive(secret, "token block", 16),
    icePassword: derive(secret, "ice password", 32),
    trunkUp: derive(secret, "trunk up", 16),
    trunkDown: derive(secret, "trunk down", 16),
    redisRecord: derive(secret, "redis record", 32),
  };
}

/** 16 characters that tell keys apart and say nothing about them: for people who compare files. */
export function keyFingerprint(secret: Buffer): string {
  return derive(secret, "fingerprint", 8).toString("hex");
}

/** HKDF-SHA256 (RFC 5869) of the fleet key, with an empty salt and one info string for each use. */
function derive(secret: Buffer, use: string, length: number): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, "", `earshot/1 ${use}`, length));
}

export class KeyRing {
  readonly fleetKeys: readonly FleetKey[];
  readonly all: readonly DerivedKeys[];
  /** The one that new tokens and trunk datagrams are made with. */
  readonly signing: DerivedKeys;
  readonly #byId: (DerivedKeys | undefined)[] = new Array(KEY_ID_MAX + 1).fill(undefined);

  /** Throws an `EarshotError`: KEYS_NONE, KEYS_INVALID, KEYS_DUPLICATE_ID or KEYS_SIGNING. */
  constructor(keys: readonly FleetKey[]) {
    if (keys.length === 0) throw new EarshotError("KEYS_NONE", "expected at least one fleet key, got none: add one");
    for (const { id, secret } of keys) {
      if (!Number.isInteger(id) || id < 0 || id > KEY_ID_MAX) {
        throw new EarshotError("KEYS_INVALID", `expected key ids from 0 to ${KEY_ID_MAX}, got ${id}: change the id`);
      }
      if (secret.length !== FLEET_KEY_BYTES) {
        const message = `expected ${FLEET_KEY_BYTES} bytes for key ${id}, got ${secret.length}: make a new key`;
        throw new EarshotError("KEYS_INVALID", message);
      }
    }
    const signing = keys.filter((key) => key.signs);
    if (signing.length !== 1) {
      const message = `expected exactly one fleet key that signs, got ${signing.length} of ${keys.length}: set "signs"`;
      throw new EarshotError("KEYS_SIGNING", message);
    }
    for (const key of keys) {
      if (this.#byId[key.id] !== undefined) {
        const message = `expected a fleet key for each id, got two with id ${key.id}: give the newer one a free id`;
        throw new EarshotError("KEYS_DUPLICATE_ID", message);
      }
      this.#byId[key.id] = deriveKeys(key);
    }
    this.fleetKeys = [...keys];
    this.all = keys.map((key) => this.#byId[key.id]!);
    this.signing = this.#byId[signing[0]!.id]!;
  }

  /** The keys with this id, or undefined if there are none or `id` is no key id. */
  get(id: number): DerivedKeys | undefined {
    return this.#byId[id];
  }
}
