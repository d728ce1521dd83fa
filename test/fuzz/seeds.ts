/** Owns what each fuzz driver starts from: the RFC's samples, the test vectors, our own writers' output, and the corpora. */
import { readFileSync } from "node:fs";
import { deriveKeys } from "../../src/keys/key-ring.ts";
import { STUN_CLASS } from "../../src/stun/stun-reader.ts";
import { TRUNK_HEADER_BYTES, TRUNK_TAG_BYTES, TrunkWriter } from "../../src/trunk/datagram.ts";
import { DIRECTION, type Direction, FRAME_KIND } from "../../src/trunk/frame.ts";
import { pathBytes } from "../../src/trunk/path.ts";
import { bindingRequest, stunMessage, tokenUfrag } from "../kit/datagrams.ts";
import { CONTENT, dtlsRecord, handshakeFragment, unauthenticRecords } from "../kit/dtls-records.ts";
import { stunCorpus } from "../kit/stun-corpus.ts";
import * as rfc5769 from "../vectors/rfc5769.ts";

const vectors = JSON.parse(
  readFileSync(new URL("../../../test/vectors/trunk-v1.json", import.meta.url), "utf8"),
) as Record<string, string>;
const rfc7714 = JSON.parse(
  readFileSync(new URL("../../../test/vectors/rfc7714.json", import.meta.url), "utf8"),
) as Record<string, string>;
const vector = (name: string): Buffer => Buffer.from(vectors[name]!, "hex");

const keys = deriveKeys({ id: 3, secret: Buffer.alloc(32, 1), signs: true });
const transceiver = { id: 0x0a0b0c0d, epoch: 1_770_000_000_000n, cluster: 0x0102 };
const ufrag = Buffer.from(tokenUfrag(keys, transceiver));
const paths = ["192.0.2.1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "2001:db8::1", "::1", "::", "fe80::1", "ff02::1"].map(
  (host) => pathBytes(7, host, 32_853),
);

/** A datagram of each kind of frame that this direction has, and one with all of them. */
function trunkDatagrams(direction: Direction, kinds: readonly number[]): Buffer[] {
  const writer = new TrunkWriter({
    direction,
    cluster: 0x0102,
    senderId: 0x00abcd02,
    targetId: transceiver.id,
    targetEpoch: 1,
    senderEpoch: transceiver.epoch,
    keys: () => keys,
  });
  const append = (kind: number): void => {
    for (const path of [paths[0], paths[4], undefined]) {
      for (const payload of [ufrag, Buffer.alloc(8), Buffer.alloc(9), Buffer.alloc(0)])
        writer.append(kind, path, payload);
    }
  };
  const alone = kinds.flatMap((kind) => {
    append(kind);
    return writer.flush();
  });
  for (const kind of kinds) append(kind);
  return [...alone, ...writer.flush()];
}

/** As test/fuzz/chunks.h reads them. */
function chunks(datagrams: readonly Buffer[]): Buffer {
  return Buffer.concat(
    datagrams.flatMap((datagram) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(datagram.length);
      return [length, datagram];
    }),
  );
}

/** The client's flights by their shape: a hello, then the rest. */
const flights = [
  dtlsRecord(CONTENT.handshake, 0, handshakeFragment(1, 0, Buffer.alloc(60, 1))),
  Buffer.concat([
    ...[11, 16, 15].map((type, index) =>
      dtlsRecord(CONTENT.handshake, 0, handshakeFragment(type, index + 1, Buffer.alloc(40, index))),
    ),
    dtlsRecord(CONTENT.changeCipherSpec, 0, Buffer.of(1)),
    dtlsRecord(CONTENT.handshake, 1, Buffer.alloc(48)),
  ]),
];
const pieces = [0, 20, 40].map((offset) =>
  dtlsRecord(CONTENT.handshake, 0, handshakeFragment(1, 0, Buffer.alloc(20, 1), { length: 60, offset })),
);
/** Which datagram of the client's, where, and what is XORed there. */
const changed = (index: number, at: number, ...bits: number[]): Buffer => Buffer.from([0, index, at >> 8, at, ...bits]);
const goOn = Buffer.alloc(0);

/** What native/core/hand_over.h describes, without its tag: two transceivers, what two lanes have heard, and these flows. */
function flowRecords(flows: readonly Buffer[]): Buffer {
  const integer = (bytes: 1 | 2 | 4 | 8, value: number) => {
    const out = Buffer.alloc(8);
    out.writeBigUInt64BE(BigInt(value));
    return out.subarray(8 - bytes);
  };
  const filled = (path: Buffer) => Buffer.concat([path, Buffer.alloc(21 - path.length)]);
  const slots = [1, 2].map((slot) =>
    Buffer.concat([
      integer(2, slot),
      integer(1, slot),
      integer(4, slot),
      integer(8, 9),
      filled(pathBytes(0, "::1", 1)),
    ]),
  );
  const heard = [1, 2].map((lane) =>
    Buffer.concat([integer(1, lane), integer(2, lane), integer(4, lane), integer(8, 9), integer(8, 500)]),
  );
  const claim = (slot: number) => Buffer.concat([integer(2, slot), integer(8, slot * 77), integer(8, 0)]);
  const calls = flows.map((path, index) =>
    Buffer.concat([filled(path), integer(1, index % 2), integer(8, 2_000), claim(1), claim(index % 3)]),
  );
  const counts = [slots, heard, calls].map(({ length }) => integer(4, length));
  const header = [Buffer.from("EARSHAVE"), integer(4, 1), ...counts, integer(8, 1_000), Buffer.alloc(16, 5)];
  return Buffer.concat([...header, ...slots, ...heard, ...calls]);
}

const { data, promote, flowEnd, unknownPath, assert, ping, pong, drain } = FRAME_KIND;

/** By the name of the driver. */
export const SEEDS: Readonly<Record<string, () => readonly Buffer[]>> = {
  client_datagram: () => [
    rfc5769.SAMPLE_REQUEST,
    rfc5769.SAMPLE_IPV4_RESPONSE,
    rfc5769.SAMPLE_IPV6_RESPONSE,
    rfc5769.SAMPLE_LONG_TERM_REQUEST,
    bindingRequest(ufrag.toString(), { password: "a password of no matter" }),
    ...Object.values(STUN_CLASS).map((each) => stunMessage(each)),
    ...stunCorpus(),
  ],
  token: () => [
    Buffer.from(vectors.ufrag!),
    ufrag,
    Buffer.concat([vector("token"), Buffer.alloc(8)]),
    Buffer.alloc(32, "A"),
    Buffer.alloc(32, "/"),
  ],
  trunk_datagram: () => [
    vector("upDatagram"),
    vector("downDatagram"),
    ...trunkDatagrams(DIRECTION.up, [data, unknownPath, ping]),
    ...trunkDatagrams(DIRECTION.down, [data, promote, flowEnd, assert, pong, drain]),
  ],
  dtls_gate: () => [chunks(flights), chunks(pieces), chunks([...flights, ...unauthenticRecords().values()])],
  dtls_server: () => [
    Buffer.concat([Buffer.of(0), chunks([goOn, goOn])]),
    Buffer.concat([Buffer.of(0), chunks([changed(0, 30, 1), goOn, changed(1, 100, 255), goOn])]),
    Buffer.concat([Buffer.of(0), chunks([...pieces, ...flights])]),
    Buffer.concat([Buffer.of(1), chunks([changed(0, 0), changed(1, 0), changed(1, 200, 1)])]),
    ...[0, 1].map((mode) => Buffer.concat([Buffer.of(mode), chunks([...unauthenticRecords().values()])])),
  ],
  srtp: () => ["rtp", "srtp", "rtcp", "srtcp", "srtcpTagged"].map((name) => Buffer.from(rfc7714[name]!, "hex")),
  trunk_end: () => {
    const frames = (datagram: Buffer) => datagram.subarray(TRUNK_HEADER_BYTES, datagram.length - TRUNK_TAG_BYTES);
    const record = (frame: Buffer) => Buffer.concat([Buffer.of(0, 0, 0, 0), frame]);
    return [
      vector("upDatagram"),
      ...trunkDatagrams(DIRECTION.up, [data, unknownPath, ping]).map(frames),
      ...trunkDatagrams(DIRECTION.down, [data, promote, flowEnd, assert]).map((datagram) => record(frames(datagram))),
    ];
  },
  path: () => [vector("pathV4"), vector("pathV6"), ...paths],
  hand_over: () => [flowRecords([]), flowRecords(paths.slice(0, 1)), flowRecords(paths.slice(0, 6))],
};
