/** Owns what nobody has invited: one datagram of each kind that a client's side can send to a relay, and that it must drop. */
import { randomBytes } from "node:crypto";
import type { DerivedKeys } from "../../src/keys/key-ring.ts";
import { icePassword, sealToken } from "../../src/token/token.ts";
import {
  bindingRequest,
  classified,
  dtlsLike,
  errorResponse,
  indication,
  rtpLike,
  stunMessage,
  successResponse,
  tokenUfrag,
  tokenUfragOf,
} from "./datagrams.ts";

export interface HostileTarget {
  /** Keys that the relay knows: an attacker has tokens made with them, though not the keys. */
  readonly keys: DerivedKeys;
  readonly transceiver: { readonly id: number; readonly epoch: bigint; readonly cluster: number };
}

/** Larger than any receive buffer. */
const TOO_LARGE = 2_100;
const HOUR_MS = 3_600_000;

/** By name. Nothing in them can make a flow. */
export function hostileDatagrams({ keys, transceiver }: HostileTarget): ReadonlyMap<string, Buffer> {
  const ufrag = tokenUfrag(keys, transceiver);
  const password = icePassword(ufrag, keys);
  const valid = bindingRequest(ufrag, { password });
  const flipped = (bytes: Buffer, at: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at < 0 ? copy.length + at : at]! ^= 1;
    return copy;
  };
  const signed = (of: string): Buffer => bindingRequest(of, { password: icePassword(of, keys) });
  const { id, epoch, cluster } = transceiver;
  const token = (fields: Partial<Parameters<typeof sealToken>[0]>): string =>
    sealToken({ cluster, transceiver: id, epoch, expiresAtMs: Date.now() + HOUR_MS, nonce: 1, ...fields }, keys);
  return new Map([
    ["nothing", Buffer.alloc(0)],
    ["too large", rtpLike(TOO_LARGE)],
    ["one byte", Buffer.of(0)],
    ["of no class", classified(64, 100)],
    ["random", randomBytes(200)],
    ["DTLS", dtlsLike()],
    ["RTP", rtpLike()],
    ["RTCP", classified(0x80, 60).fill(200, 1, 2)],
    ["TURN channel data", classified(0x40, 60)],
    ["QUIC", classified(0xc3, 1_200)],
    ["STUN cut short", valid.subarray(0, valid.length - 4)],
    ["STUN with a tail", Buffer.concat([valid, Buffer.alloc(4)])],
    ["STUN without the cookie", flipped(valid, 4)],
    ["success response", successResponse()],
    ["error response", errorResponse()],
    ["indication", indication()],
    ["Allocate request", stunMessage(0, 3)],
    ["GOOG_PING request", stunMessage(0, 0x80)],
    ["request without USERNAME", stunMessage(0)],
    ["request with a short ufrag", bindingRequest("abcd", { password: "p".repeat(24) })],
    ["request with no ice-chars", bindingRequest("-".repeat(32), { password })],
    ["request without a colon", bindingRequest(ufrag, { username: ufrag, password })],
    ["forged token", signed(`${ufrag.slice(0, 31)}${ufrag[31] === "A" ? "B" : "A"}`)],
    ["token of an unknown key", signed(`${ufrag[0] === "/" ? "+" : "/"}${ufrag.slice(1)}`)],
    ["token that opens to rubbish", signed(tokenUfragOf(keys, randomBytes(16)))],
    ["expired token", signed(token({ expiresAtMs: Date.now() - HOUR_MS }))],
    ["token of another cluster", signed(token({ cluster: cluster + 1 }))],
    ["token of an unknown transceiver", signed(token({ transceiver: id + 1 }))],
    ["token of an earlier epoch", signed(token({ epoch: epoch - 1n }))],
    ["request without integrity", bindingRequest(ufrag)],
    ["request with another password", bindingRequest(ufrag, { password: "x".repeat(24) })],
    ["request with a changed transaction", flipped(valid, 10)],
    ["request with a changed integrity", flipped(valid, -20)],
    ["request with a changed fingerprint", flipped(valid, -1)],
  ]);
}
