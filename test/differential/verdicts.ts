/**
 * What the TypeScript readers say of a datagram, in the eight bytes that native_verdicts.cc gives too. Owns no
 * judgement: it asks the readers and writes down the answer.
 */
import { SocketAddress } from "node:net";
import { clientPath } from "../../src/engine/js/client-source.ts";
import { packetClass } from "../../src/engine/js/packet-class.ts";
import type { KeyRing } from "../../src/keys/key-ring.ts";
import {
  findStunAttribute,
  localUfrag,
  readStun,
  STUN_ATTRIBUTE,
  STUN_METHOD_BINDING,
} from "../../src/stun/stun-reader.ts";
import { openToken } from "../../src/token/token.ts";
import { TRUNK_HEADER_BYTES, TRUNK_TAG_BYTES, TrunkReader, type TrunkReject } from "../../src/trunk/datagram.ts";
import { DIRECTION, type Direction, readFrames } from "../../src/trunk/frame.ts";
import { pathIngress, pathPort } from "../../src/trunk/path.ts";

export const VERDICT_BYTES = 8;

/** Who we are, whom we know, and with which keys: the same on both sides. */
export interface World {
  readonly cluster: number;
  readonly targetId: number;
  readonly targetEpoch: number;
  readonly senders: readonly { readonly id: number; readonly epoch: bigint }[];
  readonly ring: KeyRing;
}

/** An empty datagram is dropped before it is classified. */
const NO_CLASS = 0xff;
/** native/core's StunKind: malformed, another method, then the classes from 2 on. */
const MALFORMED = 0;
const OTHER_METHOD = 1;
const FIRST_CLASS = 2;
const TOKEN = { characters: 1, foreign: 2, ours: 3 } as const;
const REJECTED: Record<TrunkReject, number> = { malformed: 1, key: 2, tag: 3, target: 4, sender: 5, replay: 6 };

/** FNV-1a's step on 32-bit words. */
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
const step = (digest: number, word: number): number => Math.imul(digest ^ word, FNV_PRIME);

export class Verdicts {
  readonly #world: World;
  readonly #readers: Record<Direction, TrunkReader>;
  #digest = 0;

  constructor(world: World) {
    this.#world = world;
    this.#readers = { [DIRECTION.up]: this.#reader(DIRECTION.up), [DIRECTION.down]: this.#reader(DIRECTION.down) };
  }

  #reader(direction: Direction): TrunkReader {
    const { cluster, targetId, targetEpoch, senders, ring } = this.#world;
    return new TrunkReader({
      direction,
      cluster,
      targetId,
      targetEpoch,
      keys: () => ring,
      acceptSender: (id, epoch) => senders.some((sender) => sender.id === id && sender.epoch === epoch),
    });
  }

  clientDatagram(datagram: Buffer, out: Buffer, at: number): void {
    out.fill(0, at, at + VERDICT_BYTES);
    out[at] = datagram.length === 0 ? NO_CLASS : packetClass(datagram[0]!);
    const message = readStun(datagram);
    if (message === undefined) {
      out[at + 1] = MALFORMED;
      return;
    }
    out[at + 1] = message.method === STUN_METHOD_BINDING ? FIRST_CLASS + message.class : OTHER_METHOD;
    const ufrag = localUfrag(message);
    if (ufrag === undefined) return;
    out.writeUInt16BE(findStunAttribute(message, STUN_ATTRIBUTE.username)!.offset, at + 2);
    out.writeUInt16BE(ufrag.length, at + 4);
    out[at + 6] = this.#tokenVerdict(ufrag);
  }

  #tokenVerdict(ufrag: string): number {
    const opened = openToken(ufrag, this.#world.ring);
    // The worker sees the outside only: a right tag is ours, whatever is inside.
    if (opened.ok || opened.reason === "kind" || opened.reason === "reserved") return TOKEN.ours;
    return opened.reason === "characters" ? TOKEN.characters : TOKEN.foreign;
  }

  trunkDatagram(datagram: Buffer, direction: Direction, out: Buffer, at: number): void {
    let digest = FNV_OFFSET;
    const header = this.#readers[direction].open(datagram);
    if (typeof header === "string") {
      out[at] = REJECTED[header];
    } else {
      out[at] = 0;
      digest = step(digest, header.keyId);
      digest = step(digest, header.senderId);
      digest = step(digest, header.targetEpoch);
      for (const value of [header.senderEpoch, header.sequence]) {
        digest = step(step(digest, Number(value >> 32n)), Number(value & 0xffff_ffffn));
      }
    }
    this.#digest = digest;
    let frames = 0;
    let readable = true;
    if (datagram.length >= TRUNK_HEADER_BYTES + TRUNK_TAG_BYTES) {
      const end = datagram.length - TRUNK_TAG_BYTES;
      readable = readFrames(datagram, TRUNK_HEADER_BYTES, end, direction, (kind, path, payload) => {
        frames += 1;
        this.#frame(kind, path, payload.byteOffset - datagram.byteOffset, payload.length);
      });
    }
    out[at + 1] = readable ? 0 : 1;
    out.writeUInt16BE(frames, at + 2);
    out.writeUInt32BE(this.#digest >>> 0, at + 4);
  }

  #frame(kind: number, path: Buffer | undefined, payloadStart: number, payloadLength: number): void {
    let digest = step(step(step(this.#digest, kind), payloadStart), payloadLength);
    digest = step(digest, path === undefined ? 0 : path[0]!);
    if (path !== undefined) {
      digest = step(step(digest, pathIngress(path)), pathPort(path));
      for (let at = 5; at < path.length; at += 4) digest = step(digest, path.readUInt32BE(at));
    }
    this.#digest = digest;
  }

  source(source: Source, out: Buffer, at: number): void {
    out.fill(0, at, at + VERDICT_BYTES);
    const path = clientPath(3, source.ingressIsLoopback, hostOf(source), source.port);
    if (path === undefined) return;
    out[at] = 1;
    out.writeUInt32BE(path.reduce(step, FNV_OFFSET) >>> 0, at + 4);
  }
}

export interface Source {
  readonly ingressIsLoopback: boolean;
  readonly port: number;
  /** 4 or 16 bytes */
  readonly address: Buffer;
}

const LINK_LOCAL_GROUP = 0xfe80;
const LINK_LOCAL_MASK = 0xffc0;

/** The address as Node's datagram sockets give it: libuv's spelling, and the interface behind a link-local one. */
function hostOf({ address }: Source): string {
  if (address.length === 4) return address.join(".");
  const groups = Array.from({ length: 8 }, (_, group) => address.readUInt16BE(2 * group));
  const text = groups.map((group) => group.toString(16)).join(":");
  const host = new SocketAddress({ address: text, family: "ipv6" }).address;
  return (groups[0]! & LINK_LOCAL_MASK) === LINK_LOCAL_GROUP ? `${host}%eth0` : host;
}
