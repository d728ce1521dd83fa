/** Owns the ICE of a client by hand: checks to a session, and answers to the session's own checks. */
import { randomBytes } from "node:crypto";
import { readStun, STUN_ATTRIBUTE, STUN_CLASS, stunAttribute } from "../../src/stun/stun-reader.ts";
import { u32, u64, writeStun } from "../../src/stun/stun-writer.ts";
import type { IceCredentials } from "../../src/transceiver/ice-agent.ts";

/** What a client knows of its session. */
export interface IceSession {
  /** The transceiver's. */
  readonly ours: IceCredentials;
  /** The client's. */
  readonly theirs: IceCredentials;
}

/** As a browser sends it. */
export function iceCheck({ ours, theirs }: IceSession, options: { nominates?: boolean } = {}): Buffer {
  return writeStun({
    class: STUN_CLASS.request,
    transactionId: randomBytes(12),
    attributes: [
      [STUN_ATTRIBUTE.username, Buffer.from(`${ours.ufrag}:${theirs.ufrag}`)],
      [STUN_ATTRIBUTE.iceControlling, u64(7n)],
      [STUN_ATTRIBUTE.priority, u32(1_845_501_695)],
      ...(options.nominates ? ([[STUN_ATTRIBUTE.useCandidate, Buffer.alloc(0)]] as const) : []),
    ],
    password: ours.password,
  });
}

/** The client's answer to a check of the session. */
export function iceAnswer(check: Buffer, { theirs }: IceSession): Buffer {
  const { transactionId } = readStun(check)!;
  return writeStun({ class: STUN_CLASS.success, transactionId, attributes: [], password: theirs.password });
}

/** Whether it is a check of this session to its client. */
export function isCheckOf({ ours, theirs }: IceSession, datagram: Buffer): boolean {
  const message = readStun(datagram);
  if (message?.class !== STUN_CLASS.request) return false;
  return stunAttribute(message, STUN_ATTRIBUTE.username)?.toString() === `${theirs.ufrag}:${ours.ufrag}`;
}

/** What an SDP says for its first m-line. */
export function credentialsOf(sdp: string): IceCredentials {
  const value = (name: string): string => new RegExp(`^a=${name}:(.*?)\\r?$`, "m").exec(sdp)![1]!;
  return { ufrag: value("ice-ufrag"), password: value("ice-pwd") };
}
