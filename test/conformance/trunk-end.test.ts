/** Both ends of a transceiver's trunk, held to one contract over real sockets: what is delivered, sent and counted. */
import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { afterEach, beforeEach, describe, test } from "node:test";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { type CounterName, TransceiverCounters } from "../../src/transceiver/counters.ts";
import { JsTrunkEnd } from "../../src/transceiver/js-trunk-end.ts";
import { NativeTrunkEnd } from "../../src/transceiver/native-trunk-end.ts";
import type { RelayPort, TrunkEnd, TrunkEndOptions } from "../../src/transceiver/trunk-end.ts";
import { DIRECTION, TRUNK_MAX_BYTES, TrunkReader, TrunkWriter } from "../../src/trunk/datagram.ts";
import { FRAME_KIND, readFrames } from "../../src/trunk/frame.ts";
import { pathBytes, pathKey } from "../../src/trunk/path.ts";
import { rawFrame, sealTrunk } from "../kit/trunk-datagrams.ts";
import { until } from "../kit/until.ts";

const CLUSTER = 3;
const ID = 12;
const EPOCH = 1_770_000_000_000n;
const RELAY_EPOCH = 1_770_000_123_456n;
const RELAY_PORT = 0xabcdef02;
const HOST = "127.0.0.1";
const PATH = pathBytes(7, "192.0.2.1", 32853);
const PATH_V6 = pathBytes(8, "2001:db8::4711", 49152);
const UFRAG = Buffer.from("A/SbQFHpmHWCBalcVlC0f1wd4ATh+SqM");
const NONCE = Buffer.from("pingping");
const low32 = (epoch: bigint): number => Number(BigInt.asUintN(32, epoch));
const fleetKey = (id: number, signs: boolean) => ({ id, secret: Buffer.alloc(32, id), signs });
const OLD = new KeyRing([fleetKey(3, true), fleetKey(60, false)]);
const ROTATED = new KeyRing([fleetKey(3, false), fleetKey(60, true)]);

type Down = [kind: number, path: Buffer | undefined, payload: Buffer];

/** One socket of a relay's, which may speak for any port id and epoch. */
class Relay {
  readonly received: Buffer[] = [];
  readonly port: number;
  readonly #socket: Socket;
  readonly #to: number;

  private constructor(socket: Socket, to: number) {
    this.#socket = socket;
    this.#to = to;
    this.port = socket.address().port;
    socket.on("message", (datagram) => this.received.push(datagram));
  }

  static async open(to: number): Promise<Relay> {
    const socket = createSocket("udp4");
    socket.bind(0, HOST);
    await once(socket, "listening");
    return new Relay(socket, to);
  }

  async send(...datagrams: readonly Buffer[]): Promise<void> {
    for (const datagram of datagrams) {
      await new Promise<void>((resolve, reject) => {
        this.#socket.send(datagram, this.#to, HOST, (error) => (error ? reject(error) : resolve()));
      });
    }
  }

  /** The frames that came, and for which epoch of the relay port; every datagram has to open. */
  frames(epoch = RELAY_EPOCH, id = RELAY_PORT, keys = OLD): Down[] {
    const reader = new TrunkReader({
      direction: DIRECTION.down,
      cluster: CLUSTER,
      targetId: id,
      targetEpoch: low32(epoch),
      keys: () => keys,
      acceptSender: (senderId, senderEpoch) => senderId === ID && senderEpoch === EPOCH,
    });
    const frames: Down[] = [];
    for (const datagram of this.received) {
      const header = reader.open(datagram);
      if (typeof header === "string") assert.fail(`the transceiver sent what a relay drops: ${header}`);
      const { framesStart, framesEnd } = header;
      assert.ok(readFrames(datagram, framesStart, framesEnd, DIRECTION.down, (...frame) => frames.push(frame)));
    }
    return frames;
  }

  async got(datagrams: number): Promise<void> {
    await until(
      () => this.received.length >= datagrams,
      () => `${this.received.length} of ${datagrams} datagrams came`,
    );
    assert.equal(this.received.length, datagrams);
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }
}

interface WriterChanges {
  readonly epoch?: bigint;
  readonly targetEpoch?: number;
  readonly id?: number;
  readonly targetId?: number;
  readonly cluster?: number;
  readonly keys?: KeyRing;
}

function writer(changes: WriterChanges = {}): TrunkWriter {
  const {
    epoch = RELAY_EPOCH,
    targetEpoch = low32(EPOCH),
    id = RELAY_PORT,
    targetId = ID,
    cluster = CLUSTER,
  } = changes;
  const keys = changes.keys ?? OLD;
  return new TrunkWriter({
    direction: DIRECTION.up,
    cluster,
    senderId: id,
    senderEpoch: epoch,
    targetId,
    targetEpoch,
    keys: () => keys.signing,
  });
}

function packed(from: TrunkWriter, ...frames: Down[]): Buffer {
  for (const [kind, path, payload] of frames) assert.ok(from.append(kind, path, payload));
  const datagrams = from.flush();
  assert.equal(datagrams.length, 1);
  return datagrams[0]!;
}

const data = (text: string, path = PATH): Down => [FRAME_KIND.data, path, Buffer.from(text)];
const ping: Down = [FRAME_KIND.ping, undefined, NONCE];
const NOTHING = Buffer.alloc(0);

const ENDS: Record<TrunkEnd["kind"], new (options: TrunkEndOptions) => TrunkEnd> = {
  native: NativeTrunkEnd,
  js: JsTrunkEnd,
};

for (const [kind, End] of Object.entries(ENDS)) {
  describe(`the ${kind} end of a transceiver's trunk`, () => {
    let end: TrunkEnd;
    let counters: TransceiverCounters;
    let port: number;
    let relay: Relay;
    let opened: Relay[];
    let arrived: { pathKey: string; text: string; from: RelayPort }[];
    let unknown: { pathKey: string; from: RelayPort }[];
    let onArrival: (pathKey: string, datagram: Buffer, from: RelayPort) => void;

    const openRelay = async (): Promise<Relay> => {
      const another = await Relay.open(port);
      opened.push(another);
      return another;
    };
    /** Those that are not 0. */
    const counted = () => Object.fromEntries(Object.entries(counters.count).filter(([, count]) => count !== 0));
    const whenCounted = (name: CounterName, count: number) =>
      until(
        () => counters.count[name] >= count,
        () => `${name} is ${counters.count[name]}, expected ${count}`,
      );

    beforeEach(async () => {
      counters = new TransceiverCounters();
      arrived = [];
      unknown = [];
      opened = [];
      onArrival = () => {};
      end = new End({
        id: ID,
        cluster: CLUSTER,
        epoch: EPOCH,
        keys: OLD,
        local: { address: HOST, port: 0 },
        counters,
        onData: (key, datagram, from) => {
          arrived.push({ pathKey: key, text: datagram.toString(), from });
          onArrival(key, datagram, from);
        },
        onUnknownPath: (key, from) => unknown.push({ pathKey: key, from }),
      });
      ({ port } = await end.start());
      relay = await openRelay();
    });

    afterEach(async () => {
      await end.stop();
      for (const each of opened) await each.close();
    });

    test("says which it is, and hands on frames of both families with their paths and relay port", async () => {
      assert.equal(end.kind, kind);
      const up = writer();
      await relay.send(packed(up, data("voice"), data("more", PATH_V6), [FRAME_KIND.unknownPath, PATH, NOTHING]));
      await whenCounted("frame_received", 3);
      assert.deepEqual(arrived, [
        { pathKey: pathKey(PATH), text: "voice", from: RELAY_PORT },
        { pathKey: pathKey(PATH_V6), text: "more", from: RELAY_PORT },
      ]);
      assert.deepEqual(unknown, [{ pathKey: pathKey(PATH), from: RELAY_PORT }]);
      assert.deepEqual(counted(), {
        trunk_received: 1,
        trunk_accepted: 1,
        frame_received: 3,
        frame_data: 2,
        frame_unknown_path: 1,
      });
      const [state, ...others] = end.relayPorts(Date.now());
      assert.deepEqual(others, []);
      assert.equal(state!.id, RELAY_PORT);
      assert.equal(state!.epoch, RELAY_EPOCH);
      assert.equal(state!.address, HOST);
      assert.equal(state!.port, relay.port);
      assert.ok(Math.abs(Date.now() - state!.heardMs) < 10_000);
    });

    test("a datagram that is kept stays as it came, whatever comes after it", async () => {
      const kept: Buffer[] = [];
      onArrival = (_key, datagram) => kept.push(datagram);
      const up = writer();
      const texts = Array.from({ length: 600 }, (_, i) => `${i} `.repeat(200).slice(0, 1_000));
      for (const text of texts) await relay.send(packed(up, data(text)));
      await whenCounted("frame_data", texts.length);
      assert.deepEqual(kept.map(String), texts);
    });

    test("answers of one turn are packed, in order, and go to where the relay port is", async () => {
      const texts = Array.from({ length: 30 }, (_, i) => `answer ${i} ${"x".repeat(100)}`);
      onArrival = (_key, _datagram, from) => {
        for (const text of texts) end.send(from, FRAME_KIND.data, PATH_V6, Buffer.from(text));
        end.send(from, FRAME_KIND.promote, PATH, UFRAG);
      };
      await relay.send(packed(writer(), data("go")));
      await relay.got(4);
      assert.ok(relay.received.every(({ length }) => length <= TRUNK_MAX_BYTES));
      assert.deepEqual(relay.frames(), [
        ...texts.map((text) => [FRAME_KIND.data, PATH_V6, Buffer.from(text)]),
        [FRAME_KIND.promote, PATH, UFRAG],
      ]);
      assert.equal(counters.count.frame_sent, 31);
      assert.equal(counters.count.trunk_sent, 4);
    });

    test("a frame that is sent in a turn of its own goes out without anything coming in", async () => {
      await relay.send(packed(writer(), data("here I am")));
      await whenCounted("frame_data", 1);
      end.send(RELAY_PORT, FRAME_KIND.flowEnd, PATH, UFRAG);
      await relay.got(1);
      assert.deepEqual(relay.frames(), [[FRAME_KIND.flowEnd, PATH, UFRAG]]);
    });

    test("a frame larger than a shared datagram goes alone", async () => {
      const large = Buffer.alloc(1_472, 7);
      await relay.send(packed(writer(), data("here I am")));
      await whenCounted("frame_data", 1);
      for (const payload of [Buffer.of(1), large, Buffer.of(2)]) {
        end.send(RELAY_PORT, FRAME_KIND.data, PATH, payload);
      }
      await relay.got(3);
      assert.deepEqual(
        relay.frames().map(([, , payload]) => payload.length),
        [1, 1_472, 1],
      );
    });

    test("what no trunk datagram can carry, or nobody is there for, is counted and not sent", async () => {
      await relay.send(packed(writer(), data("here I am")));
      await whenCounted("frame_data", 1);
      end.send(RELAY_PORT, FRAME_KIND.data, PATH, Buffer.alloc(65_507));
      end.send(RELAY_PORT, FRAME_KIND.data, PATH, NOTHING);
      end.send(RELAY_PORT, FRAME_KIND.ping, undefined, NONCE);
      end.send(RELAY_PORT + 1, FRAME_KIND.data, PATH, Buffer.of(1));
      end.send(RELAY_PORT, FRAME_KIND.data, PATH, Buffer.of(9));
      await relay.got(1);
      assert.equal(counters.count.frame_unsendable, 4);
      assert.equal(counters.count.frame_sent, 1);
      assert.deepEqual(relay.frames(), [[FRAME_KIND.data, PATH, Buffer.of(9)]]);
    });

    test("whatever is wrong with a datagram, it is dropped with the counter of the first check that it fails", async () => {
      const good = packed(writer(), data("good"));
      await relay.send(good);
      await whenCounted("trunk_accepted", 1);
      const flipped = Buffer.from(good);
      flipped[40]! ^= 1;
      const down = Buffer.from(good);
      down[0]! |= 1;
      const unknownKey = Buffer.from(good);
      unknownKey[1] = 9;
      const impossibleKey = Buffer.from(good);
      impossibleKey[1] = 200;
      const wrong: readonly [CounterName, Buffer][] = [
        ["trunk_drop_malformed", NOTHING],
        ["trunk_drop_malformed", good.subarray(0, 43)],
        ["trunk_drop_malformed", down],
        ["trunk_drop_key", unknownKey],
        ["trunk_drop_key", impossibleKey],
        ["trunk_drop_tag", flipped],
        ["trunk_drop_tag", good.subarray(0, good.length - 1)],
        ["trunk_drop_target", packed(writer({ cluster: CLUSTER + 1 }), data("x"))],
        ["trunk_drop_target", packed(writer({ targetId: ID + 1 }), data("x"))],
        ["trunk_drop_target", packed(writer({ targetEpoch: low32(EPOCH) + 1 }), data("x"))],
        ["trunk_drop_target", packed(writer({ targetEpoch: 0 }), data("x"))],
        ["trunk_drop_target", packed(writer({ targetEpoch: 0 }), ping, data("x"))],
        ["trunk_drop_sender", packed(writer({ epoch: RELAY_EPOCH - 1n }), data("x"))],
        ["trunk_drop_replay", good],
      ];
      const expected = new Map<string, number>();
      const stranger = await openRelay();
      for (const [name, datagram] of wrong) {
        await stranger.send(datagram);
        expected.set(name, (expected.get(name) ?? 0) + 1);
        await whenCounted(name, expected.get(name)!);
      }
      // Nothing of it was taken, and nothing of it has moved the relay port.
      end.send(RELAY_PORT, FRAME_KIND.data, PATH, Buffer.of(1));
      await relay.got(1);
      assert.equal(arrived.length, 1);
      assert.deepEqual(stranger.received, []);
      assert.deepEqual(counted(), {
        trunk_received: 1 + wrong.length,
        trunk_accepted: 1,
        ...Object.fromEntries(expected),
        frame_received: 1,
        frame_data: 1,
        frame_sent: 1,
        trunk_sent: 1,
      });
    });

    test("frames before one that cannot be read stand, the rest is lost and counted once", async () => {
      const frames = Buffer.concat([rawFrame(FRAME_KIND.data, PATH, Buffer.from("stands")), Buffer.of(0, 9, 99, 0)]);
      const header = { versionAndFlags: 0x10, keyId: 3, cluster: CLUSTER, senderId: RELAY_PORT, targetId: ID };
      const epochs = { targetEpoch: low32(EPOCH), senderEpoch: RELAY_EPOCH, sequence: 5n };
      await relay.send(sealTrunk({ ...header, ...epochs }, frames, OLD.signing.trunkUp));
      await whenCounted("frame_malformed", 1);
      assert.deepEqual(
        arrived.map(({ text }) => text),
        ["stands"],
      );
      assert.deepEqual(counted(), {
        trunk_received: 1,
        trunk_accepted: 1,
        frame_received: 1,
        frame_data: 1,
        frame_malformed: 1,
      });
    });

    test("pings are answered where they come from, and say whether it is draining", async () => {
      const up = writer();
      await relay.send(packed(up, ping));
      await relay.got(1);
      end.drain();
      await relay.got(2);
      end.drain();
      await relay.send(packed(up, ping));
      await relay.got(3);
      assert.deepEqual(relay.frames(), [
        [FRAME_KIND.pong, undefined, Buffer.concat([NONCE, Buffer.of(0)])],
        [FRAME_KIND.drain, undefined, NOTHING],
        [FRAME_KIND.pong, undefined, Buffer.concat([NONCE, Buffer.of(1)])],
      ]);
      assert.deepEqual(counted(), {
        trunk_received: 2,
        trunk_accepted: 2,
        frame_received: 2,
        frame_ping: 2,
        frame_sent: 3,
        trunk_sent: 3,
      });
    });

    test("a ping that names no epoch is answered, and does not move a relay port that is known", async () => {
      await relay.send(packed(writer(), data("here I am")));
      await whenCounted("frame_data", 1);
      const elsewhere = await openRelay();
      const discovering = writer({ targetEpoch: 0 });
      discovering.append(...ping);
      discovering.flush(); // sequence 1 has been seen
      await elsewhere.send(packed(discovering, ping));
      await elsewhere.got(1);
      end.send(RELAY_PORT, FRAME_KIND.data, PATH, Buffer.of(1));
      await relay.got(1);
      assert.equal(elsewhere.received.length, 1);
    });

    test("a relay port is answered at the source of its last authentic datagram", async () => {
      const up = writer();
      await relay.send(packed(up, data("from here")));
      await whenCounted("frame_data", 1);
      const moved = await openRelay();
      await moved.send(packed(up, data("now from there")));
      await whenCounted("frame_data", 2);
      end.send(RELAY_PORT, FRAME_KIND.data, PATH, Buffer.of(1));
      await moved.got(1);
      assert.deepEqual(relay.received, []);
    });

    test("a relay that has begun anew is answered with its new epoch, and its old one is no sender any more", async () => {
      await relay.send(packed(writer(), data("before")));
      await whenCounted("frame_data", 1);
      const again = RELAY_EPOCH + 5_000n;
      await relay.send(packed(writer({ epoch: again }), data("after")));
      await whenCounted("frame_data", 2);
      await relay.send(packed(writer(), data("before")));
      await whenCounted("trunk_drop_sender", 1);
      end.send(RELAY_PORT, FRAME_KIND.data, PATH, Buffer.of(1));
      await relay.got(1);
      assert.deepEqual(relay.frames(again), [[FRAME_KIND.data, PATH, Buffer.of(1)]]);
    });

    test("keys change while it runs: every known one verifies, the signing one seals", async () => {
      await relay.send(packed(writer(), ping));
      await relay.got(1);
      assert.equal(relay.received[0]![1], 3);
      end.setKeys(ROTATED);
      const up = writer({ id: RELAY_PORT + 1, keys: ROTATED });
      await relay.send(packed(up, ping), packed(writer({ id: RELAY_PORT + 2 }), ping));
      await relay.got(3);
      assert.deepEqual(
        relay.received.map((datagram) => datagram[1]),
        [3, 60, 60],
      );
    });

    test("each relay port has its answers, and those of one never go to another", async () => {
      const ports = await Promise.all(Array.from({ length: 20 }, openRelay));
      for (const [index, each] of ports.entries()) {
        await each.send(packed(writer({ id: RELAY_PORT + index }), data(`from ${index}`)));
      }
      await whenCounted("frame_data", ports.length);
      for (const { from, text } of arrived) end.send(from, FRAME_KIND.data, PATH, Buffer.from(`to ${text}`));
      for (const [index, each] of ports.entries()) {
        await each.got(1);
        const [frame] = each.frames(RELAY_EPOCH, RELAY_PORT + index);
        assert.equal(String(frame![2]), `to from ${index}`);
      }
      assert.equal([...end.relayPorts(Date.now())].length, ports.length);
    });

    test("a port that is taken is a clear error, and an end that has stopped sends nothing", async () => {
      const second = new End({
        id: ID,
        cluster: CLUSTER,
        epoch: EPOCH,
        keys: OLD,
        local: { address: HOST, port },
        counters: new TransceiverCounters(),
        onData: () => {},
        onUnknownPath: () => {},
      });
      await assert.rejects(second.start(), { code: "EADDRINUSE" });
      await relay.send(packed(writer(), data("here I am")));
      await whenCounted("frame_data", 1);
      end.send(RELAY_PORT, FRAME_KIND.data, PATH, Buffer.of(1));
      await end.stop();
      await end.stop();
      end.send(RELAY_PORT, FRAME_KIND.data, PATH, Buffer.of(2));
      end.drain();
      await relay.got(1);
      assert.deepEqual(relay.frames(), [[FRAME_KIND.data, PATH, Buffer.of(1)]]);
    });
  });
}
