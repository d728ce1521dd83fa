/**
 * The token: 24 bytes inside the server's ICE ufrag that say where a session lives, and the ICE password that follows
 * from them. Layout, derivation and a test vector are in docs/routing.md. Pure: no clock and no randomness of its own.
 * A token that opens was made by a holder of the fleet key; whoever sends it may still have copied it.
 */
import { type Cipher, createCipheriv, createDecipheriv, type Decipher } from "node:crypto";
import type { DerivedKeys, KeyRing } from "../keys/key-ring.ts";
import { hmac } from "../stun/hmac.ts";
import { siphash24 } from "../trunk/siphash.ts";
import { decodeIceChars, encodeIceChars, TOKEN_BYTES } from "./ice-chars.ts";

/** The session lives on one transceiver. */
export const TOKEN_KIND_TRANSCEIVER = 0;

/** In the top two bits of byte 0; the key id is in the other six. */
const TOKEN_VERSION = 0;
const BLOCK_START = 1;
const TAG_START = 17;
/** Expiry counts these in 16 bits, so a token can be told from an expired one for half of 2^16 ticks: 24 days. */
export const EXPIRY_TICK_MS = 64_000;
/** Of the HMAC in base64: its first 18 bytes, 144 bits. RFC 8839 asks for at least 128 bits and 22 characters. */
const PASSWORD_CHARS = 24;

export interface Token {
  readonly keyId: number;
  readonly kind: number;
  /** u16 */
  readonly cluster: number;
  /** u32, unique within the cluster */
  readonly transceiver: number;
  /** u16, in ticks of 64 s since 1970, the low 16 bits */
  readonly expiry: number;
  /** u16, low bits of the transceiver's epoch */
  readonly epoch: number;
  /** u32 */
  readonly nonce: number;
}

export type OpenedToken =
  | { readonly ok: true; readonly token: Token; readonly keys: DerivedKeys }
  | { readonly ok: false; readonly reason: "characters" | "version" | "key" | "tag" | "kind" | "reserved" };

const CHARACTERS = { ok: false, reason: "characters" } as const;
const VERSION = { ok: false, reason: "version" } as const;
const KEY = { ok: false, reason: "key" } as const;
const TAG = { ok: false, reason: "tag" } as const;
const KIND = { ok: false, reason: "kind" } as const;
const RESERVED = { ok: false, reason: "reserved" } as const;

/** Making a cipher costs more than using it. In ECB mode without padding each block stands alone, so they are kept. */
interface BlockCiphers {
  readonly seal: Cipher;
  readonly open: Decipher;
}
const ciphersOf = new WeakMap<DerivedKeys, BlockCiphers>();

const scratch = Buffer.alloc(TOKEN_BYTES);
const tagScratch = Buffer.alloc(8);

/** The ufrag, 32 ice-chars, of a session that `keys` sign. Valid until `expiresAtMs`, and at most 64 s longer. */
export function sealToken(
  fields: {
    readonly cluster: number;
    readonly transceiver: number;
    readonly epoch: bigint;
    readonly expiresAtMs: number;
    readonly nonce: number;
  },
  keys: DerivedKeys,
): string {
  const block = Buffer.alloc(16);
  block[0] = TOKEN_KIND_TRANSCEIVER;
  block.writeUInt16BE(fields.cluster, 2);
  block.writeUInt32BE(fields.transceiver, 4);
  block.writeUInt16BE(Math.ceil(fields.expiresAtMs / EXPIRY_TICK_MS) % 0x10000, 8);
  block.writeUInt16BE(Number(BigInt.asUintN(16, fields.epoch)), 10);
  block.writeUInt32BE(fields.nonce, 12);

  const bytes = Buffer.alloc(TOKEN_BYTES);
  bytes[0] = (TOKEN_VERSION << 6) | keys.id;
  blockCiphers(keys).seal.update(block).copy(bytes, BLOCK_START);
  siphash24(keys.tokenTag, bytes, 0, TAG_START, tagScratch, 0);
  tagScratch.copy(bytes, TAG_START, 0, TOKEN_BYTES - TAG_START);
  return encodeIceChars(bytes);
}

/** What the ufrag says, if one of the keys in `ring` made it. Any string may be given. */
export function openToken(ufrag: string, ring: KeyRing): OpenedToken {
  if (!decodeIceChars(ufrag, scratch)) return CHARACTERS;
  const first = scratch[0]!;
  if (first >>> 6 !== TOKEN_VERSION) return VERSION;
  const keys = ring.get(first & 0x3f);
  if (keys === undefined) return KEY;
  siphash24(keys.tokenTag, scratch, 0, TAG_START, tagScratch, 0);
  let difference = 0;
  for (let i = TAG_START; i < TOKEN_BYTES; i++) difference |= scratch[i]! ^ tagScratch[i - TAG_START]!;
  if (difference !== 0) return TAG;

  const block = blockCiphers(keys).open.update(scratch.subarray(BLOCK_START, TAG_START));
  const kind = block[0]!;
  if (kind !== TOKEN_KIND_TRANSCEIVER) return KIND;
  if (block[1] !== 0) return RESERVED;
  const token = {
    keyId: keys.id,
    kind,
    cluster: block.readUInt16BE(2),
    transceiver: block.readUInt32BE(4),
    expiry: block.readUInt16BE(8),
    epoch: block.readUInt16BE(10),
    nonce: block.readUInt32BE(12),
  };
  return { ok: true, token, keys };
}

/** Whether the token's time is over. Serial arithmetic: right for 24 days to either side of the expiry. */
export function tokenExpired(token: Token, nowMs: number): boolean {
  const now = Math.floor(nowMs / EXPIRY_TICK_MS) % 0x10000;
  return ((now - token.expiry) & 0xffff) < 0x8000;
}

/** The ICE password that belongs to this ufrag: 24 characters. Relay and transceiver both derive it, neither stores it. */
export function icePassword(ufrag: string, keys: DerivedKeys): string {
  return hmac("sha256", keys.icePassword, "base64", Buffer.from(ufrag, "latin1")).slice(0, PASSWORD_CHARS);
}

function blockCiphers(keys: DerivedKeys): BlockCiphers {
  let ciphers = ciphersOf.get(keys);
  if (ciphers === undefined) {
    ciphers = {
      seal: createCipheriv("aes-128-ecb", keys.tokenBlock, null).setAutoPadding(false),
      open: createDecipheriv("aes-128-ecb", keys.tokenBlock, null).setAutoPadding(false),
    };
    ciphersOf.set(keys, ciphers);
  }
  return ciphers;
}
