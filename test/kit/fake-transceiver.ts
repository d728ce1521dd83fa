/** Owns a transceiver's end of the trunk: keeps the frames that come up, sends frames down. Knows nothing of sessions. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import type { Slot, TransceiverEntry } from "../../src/engine/engine.ts";
import type { KeyRing } from "../../src/keys/key-ring.ts";
import { TrunkReader, TrunkWriter } from "../../src/trunk/datagram.ts";
import { DIRECTION, FRAME_KIND, readFrames } from "../../src/trunk/frame.ts";
import { siphash24 } from "../../src/trunk/siphash.ts";
import { type RawHeader, sealTrunk } from "./trunk-datagrams.ts";

export interface UpFrame {
  readonly kind: number;
  readonly path: Buffer;
  readonly payload: Buffer;
  /** The lane that sent it. */
  readonly senderId: number;
}

/** A lane's end of the trunk. */
export interface TrunkTarget {
  readonly senderId: number;
  readonly epoch: bigint;
  readonly port: number;
}

export type DownFrame = readonly [kind: number, path: Buffer | undefined, payload: Buffer];

const HOST = "127.0.0.1";

export class FakeTransceiver {
  readonly id: number;
  readonly epoch: bigint;
  readonly cluster: number;
  readonly entry: TransceiverEntry;
  /** The engine's number for it. */
  slot: Slot = 0;
  readonly frames: UpFrame[] = [];
  /** Of the largest trunk datagram that carried several frames. */
  largestShared = 0;
  #ring: KeyRing;
  readonly #socket: Socket;
  readonly #lanes: readonly TrunkTarget[];
  readonly #writers = new Map<number, TrunkWriter>();

  private constructor(socket: Socket, options: FakeTransceiverOptions) {
    this.#socket = socket;
    this.id = options.id;
    this.epoch = options.epoch;
    this.cluster = options.cluster;
    this.#ring = options.ring;
    this.#lanes = options.lanes;
    this.entry = { id: this.id, epoch: this.epoch, address: HOST, port: socket.address().port };
    const reader = new TrunkReader({
      direction: DIRECTION.up,
      cluster: this.cluster,
      targetId: this.id,
      targetEpoch: Number(BigInt.asUintN(32, this.epoch)),
      keys: () => this.#ring,
      acceptSender: (id, epoch) => this.#lanes.some((lane) => lane.senderId === id && lane.epoch === epoch),
    });
    socket.on("message", (datagram) => {
      const header = reader.open(datagram);
      if (typeof header === "string") throw new Error(`transceiver ${this.id} was sent a datagram it drops: ${header}`);
      const { framesStart, framesEnd, senderId } = header;
      const before = this.frames.length;
      const readable = readFrames(datagram, framesStart, framesEnd, DIRECTION.up, (kind, path, payload) => {
        this.frames.push({ kind, path: path!, payload, senderId });
      });
      if (!readable) throw new Error(`transceiver ${this.id} was sent an unreadable frame`);
      if (this.frames.length > before + 1) this.largestShared = Math.max(this.largestShared, datagram.length);
    });
  }

  static async open(options: FakeTransceiverOptions): Promise<FakeTransceiver> {
    const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
    socket.bind(0, HOST);
    await once(socket, "listening");
    return new FakeTransceiver(socket, options);
  }

  /** The client datagrams that arrived, in order. */
  get payloads(): readonly Buffer[] {
    return this.frames.map((frame) => frame.payload);
  }

  useKeys(ring: KeyRing): void {
    this.#ring = ring;
  }

  /** Sends a client's datagram down, by way of `lane`. */
  async data(path: Buffer, payload: Buffer, lane = this.#lanes[0]!): Promise<void> {
    await this.sendRaw(this.#seal([[FRAME_KIND.data, path, payload]], lane), lane);
  }

  /** Sends these frames in as few datagrams as they fit in. */
  async send(...frames: readonly DownFrame[]): Promise<void> {
    await this.sendRaw(this.#seal(frames, this.#lanes[0]!));
  }

  /** The datagrams that `send` would send. */
  seal(...frames: readonly DownFrame[]): readonly Buffer[] {
    return this.#seal(frames, this.#lanes[0]!);
  }

  /** One datagram with anything in it, sealed as this transceiver, but for what `header` says otherwise. */
  sealRaw(frames: Buffer, sequence: bigint, header: Partial<RawHeader> = {}): Buffer {
    const { senderId, epoch } = this.#lanes[0]!;
    const keys = this.#ring.signing;
    const own: RawHeader = {
      keyId: keys.id,
      cluster: this.cluster,
      senderId: this.id,
      targetId: senderId,
      targetEpoch: Number(BigInt.asUintN(32, epoch)),
      senderEpoch: this.epoch,
      sequence,
    };
    return sealTrunk({ ...own, ...header }, frames, keys.trunkDown);
  }

  /** The same, but with the key of the other direction: what an attacker gets who sends the relay's own back. */
  reflected(frames: Buffer, sequence: bigint): Buffer {
    const datagram = this.sealRaw(frames, sequence);
    siphash24(this.#ring.signing.trunkUp, datagram, 0, datagram.length - 8, datagram, datagram.length - 8);
    return datagram;
  }

  async sendRaw(datagrams: readonly Buffer[], lane = this.#lanes[0]!): Promise<void> {
    for (const datagram of datagrams) {
      await new Promise<void>((resolve, reject) => {
        this.#socket.send(datagram, lane.port, HOST, (error) => (error ? reject(error) : resolve()));
      });
    }
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }

  #seal(frames: readonly DownFrame[], lane: TrunkTarget): readonly Buffer[] {
    const writer = this.#writers.get(lane.senderId) ?? this.#newWriter(lane);
    this.#writers.set(lane.senderId, writer);
    for (const [kind, path, payload] of frames) {
      if (!writer.append(kind, path, payload)) throw new Error(`the protocol has no such frame: kind ${kind}`);
    }
    return writer.flush();
  }

  #newWriter(lane: TrunkTarget): TrunkWriter {
    return new TrunkWriter({
      direction: DIRECTION.down,
      cluster: this.cluster,
      senderId: this.id,
      targetId: lane.senderId,
      targetEpoch: Number(BigInt.asUintN(32, lane.epoch)),
      senderEpoch: this.epoch,
      keys: () => this.#ring.signing,
    });
  }
}

export interface FakeTransceiverOptions {
  readonly id: number;
  readonly epoch: bigint;
  readonly cluster: number;
  readonly ring: KeyRing;
  readonly lanes: readonly TrunkTarget[];
}
