/** The two ends of a trunk for tests: a relay's worker, a transceiver, and what they say to each other. */
import assert from "node:assert/strict";
import { KeyRing } from "../../src/keys/key-ring.ts";
import {
  DIRECTION,
  type Direction,
  TRUNK_HEADER_BYTES,
  TRUNK_TAG_BYTES,
  type TrunkHeader,
  TrunkReader,
  type TrunkReaderOptions,
  TrunkWriter,
  type TrunkWriterOptions,
} from "../../src/trunk/datagram.ts";
import { FRAME_KIND, readFrames } from "../../src/trunk/frame.ts";
import { pathBytes } from "../../src/trunk/path.ts";
import { siphash24 } from "../../src/trunk/siphash.ts";

const CLUSTER = 0x0102;
export const RELAY_PORT = 0x00abcd02;
export const RELAY_EPOCH = 0x19c_1c3a_8640n;
export const TRANSCEIVER = 0x0a0b0c0d;
export const TRANSCEIVER_EPOCH = 0x19c_1c38_a400n;
export const low32 = (epoch: bigint): number => Number(BigInt.asUintN(32, epoch));

export const ring = new KeyRing([
  { id: 3, secret: Buffer.alloc(32, 1), signs: true },
  { id: 60, secret: Buffer.alloc(32, 2), signs: false },
]);
export const V4 = pathBytes(7, "192.0.2.1", 32853);
export const V6 = pathBytes(8, "2001:db8::4711", 49152);
export const UFRAG = Buffer.from("A/SbQFHpmHWCBalcVlC0f1wd4ATh+SqM");

export const writerUp = (changes: Partial<TrunkWriterOptions> = {}): TrunkWriter =>
  new TrunkWriter({
    direction: DIRECTION.up,
    cluster: CLUSTER,
    senderId: RELAY_PORT,
    targetId: TRANSCEIVER,
    targetEpoch: low32(TRANSCEIVER_EPOCH),
    senderEpoch: RELAY_EPOCH,
    keys: () => ring.signing,
    ...changes,
  });
export const writerDown = (): TrunkWriter =>
  new TrunkWriter({
    direction: DIRECTION.down,
    cluster: CLUSTER,
    senderId: TRANSCEIVER,
    targetId: RELAY_PORT,
    targetEpoch: low32(RELAY_EPOCH),
    senderEpoch: TRANSCEIVER_EPOCH,
    keys: () => ring.signing,
  });
export const readerUp = (changes: Partial<TrunkReaderOptions> = {}): TrunkReader =>
  new TrunkReader({
    direction: DIRECTION.up,
    cluster: CLUSTER,
    targetId: TRANSCEIVER,
    targetEpoch: low32(TRANSCEIVER_EPOCH),
    keys: () => ring,
    acceptSender: () => true,
    ...changes,
  });

export type Frame = [kind: number, path: Buffer | undefined, payload: Buffer];

/** One datagram that holds these frames. */
export function packed(writer: TrunkWriter, ...frames: Frame[]): Buffer {
  for (const [kind, path, payload] of frames) assert.ok(writer.append(kind, path, payload));
  const datagrams = writer.flush();
  assert.equal(datagrams.length, 1);
  return datagrams[0]!;
}

export const oneFrame = (writer: TrunkWriter): Buffer => packed(writer, [FRAME_KIND.data, V4, Buffer.from("media")]);

export function framesOf(datagram: Buffer, direction: Direction): { frames: Frame[]; readable: boolean } {
  const frames: Frame[] = [];
  const end = datagram.length - TRUNK_TAG_BYTES;
  const readable = readFrames(datagram, TRUNK_HEADER_BYTES, end, direction, (...frame) => frames.push(frame));
  return { frames, readable };
}

export function opened(reader: TrunkReader, datagram: Buffer): TrunkHeader {
  const header = reader.open(datagram);
  if (typeof header === "string") assert.fail(`expected the datagram to open, got ${header}`);
  return header;
}

/** The datagram with one change, tagged again as a holder of the key would. */
export function retagged(datagram: Buffer, change: (copy: Buffer) => void, key = ring.signing.trunkUp): Buffer {
  const copy = Buffer.from(datagram);
  change(copy);
  const tagStart = copy.length - TRUNK_TAG_BYTES;
  siphash24(key, copy, 0, tagStart, copy, tagStart);
  return copy;
}
