/**
 * The addon's DTLS and SRTP as TypeScript sees them. native/addon/dtls.cc is the other side, and the protocol is in
 * native/dtls. Owns the meaning of the numbers that cross; keys never do.
 */
import { loadAddon } from "../../addon.ts";

/** A key and the certificate that says so; the key cannot be had. */
export interface NativeIdentity {
  /** DER. */
  readonly certificate: Buffer;
  /** SHA-256 of it. */
  readonly fingerprint: Buffer;
}

/** Everything returns a number of flags: read them with {@link stateOf} and {@link FLAG}. */
export interface NativeSession {
  /** One datagram of the client's, DTLS by its first byte. */
  feed(datagram: Uint8Array): number;
  /** One message to the client; nothing happens unless connected. */
  send(message: Uint8Array): number;
  onTimeout(): number;
  /** When `onTimeout` is due; -1 when it is not. */
  timeoutMs(): number;
  /** Says goodbye to the client, and wipes the keys. */
  close(): number;
  /** To be sent, in this order. */
  takeDatagrams(): Buffer[];
  /** Received. */
  takeMessages(): Buffer[];
  details(): {
    readonly failure: number;
    /** 1, 7, or 0 for none. */
    readonly srtpProfile: number;
    readonly cipher: string;
    /** The client's, in DER; empty without one. */
    readonly certificate: Buffer;
  };
  /**
   * Packets are changed in place; to protect takes `srtpRoom` bytes behind them. Each gives the length that it has come to,
   * a negative number that is in {@link srtpRefusal}, or undefined when there are no keys.
   */
  protectRtp(buffer: Uint8Array, length: number): number | undefined;
  protectRtcp(buffer: Uint8Array, length: number): number | undefined;
  unprotectRtp(packet: Uint8Array): number | undefined;
  unprotectRtcp(packet: Uint8Array): number | undefined;
}

export interface CryptoBinding {
  readonly DtlsIdentity: new () => NativeIdentity;
  readonly DtlsSession: {
    /** Fingerprints of SHA-256, SHA-384 or SHA-512. Without SRTP a client may come that knows none. */
    new (identity: NativeIdentity, fingerprints: readonly Uint8Array[], needsSrtp: boolean): NativeSession;
    readonly srtpRoom: number;
  };
}

export const FLAG = { datagrams: 4, messages: 8, refused: 16 } as const;

const STATES = ["handshaking", "connected", "closed", "failed"] as const;
export const stateOf = (flags: number): (typeof STATES)[number] => STATES[(flags & 3) as 0 | 1 | 2 | 3];

/** In the order of `DtlsFailure`. */
const FAILURES = [
  "none",
  "profile",
  "certificate",
  "fingerprint",
  "signature",
  "timeout",
  "handshake",
  "record",
] as const;
export type DtlsFailure = Exclude<(typeof FAILURES)[number], "none">;
export function dtlsFailure(number: number): DtlsFailure {
  const failure = FAILURES[number];
  return failure === undefined || failure === "none" ? "handshake" : failure;
}

/** In the order of `SrtpRefusal`, from -1 down; "keyless" when there are no keys. */
const REFUSALS = ["keyless", "malformed", "forged", "replayed", "ssrcs", "reused", "unable"] as const;
export type SrtpRefusal = (typeof REFUSALS)[number];
export const srtpRefusal = (result: number | undefined): SrtpRefusal => REFUSALS[-(result ?? 0)] ?? "unable";

/** Throws ADDON_UNAVAILABLE: there is no other DTLS. */
export const loadCrypto = (): CryptoBinding => loadAddon() as CryptoBinding;
