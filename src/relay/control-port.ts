/**
 * The control plane's own trunk port: it pings transceivers and hears their pongs. Frames about flows never come here;
 * those go to the worker that the path's last datagram came from.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { bindError } from "../engine/bind-error.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { DIRECTION, TrunkReader, TrunkWriter } from "../trunk/datagram.ts";
import { FRAME_KIND, readFrames } from "../trunk/frame.ts";

export interface Pong {
  readonly transceiver: number;
  readonly epoch: bigint;
  /** The 8 bytes of the ping that it answers. */
  readonly nonce: Buffer;
  readonly draining: boolean;
}

export interface ControlPortOptions {
  readonly trunk: { readonly address: string; readonly port: number };
  readonly cluster: number;
  /** 24 bits */
  readonly relayId: number;
  readonly epoch: bigint;
  readonly keys: () => KeyRing;
  /** Whether a transceiver of this id is expected to answer. */
  readonly knows: (transceiver: number) => boolean;
  readonly onPong: (pong: Pong) => void;
}

export class ControlPort {
  readonly #options: ControlPortOptions;
  readonly #socket: Socket;
  readonly #reader: TrunkReader;
  readonly #writers = new Map<number, TrunkWriter>();

  constructor(options: ControlPortOptions) {
    this.#options = options;
    this.#socket = createSocket(isIPv6(options.trunk.address) ? "udp6" : "udp4");
    this.#reader = new TrunkReader({
      direction: DIRECTION.down,
      cluster: options.cluster,
      targetId: this.#portId,
      targetEpoch: Number(options.epoch & 0xffff_ffffn),
      keys: options.keys,
      acceptSender: (id) => options.knows(id),
    });
    this.#socket.on("message", (datagram) => this.#receive(datagram));
  }

  /** Throws an `EarshotError` with the name of the errno as its code. */
  async open(): Promise<void> {
    this.#socket.bind(this.#options.trunk.port, this.#options.trunk.address);
    try {
      await once(this.#socket, "listening");
    } catch (error) {
      const cause = error as NodeJS.ErrnoException;
      throw bindError(cause.code ?? "EUNKNOWN", "trunk", this.#options.trunk, cause);
    }
    // An error here is about an earlier ping, whose answer will be missed; nothing else depends on it.
    this.#socket.on("error", () => {});
  }

  /** As bound. */
  get port(): number {
    return this.#socket.address().port;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  /** `nonce` is 8 bytes. */
  ping(transceiver: number, to: { readonly address: string; readonly port: number }, nonce: Buffer): void {
    const writer = this.#writer(transceiver);
    writer.append(FRAME_KIND.ping, undefined, nonce);
    for (const datagram of writer.flush()) this.#socket.send(datagram, to.port, to.address, () => {});
  }

  get #portId(): number {
    return (this.#options.relayId << 8) >>> 0;
  }

  #writer(transceiver: number): TrunkWriter {
    let writer = this.#writers.get(transceiver);
    if (writer === undefined) {
      writer = new TrunkWriter({
        direction: DIRECTION.up,
        cluster: this.#options.cluster,
        senderId: this.#portId,
        targetId: transceiver,
        targetEpoch: 0, // any: the pong tells
        senderEpoch: this.#options.epoch,
        keys: () => this.#options.keys().signing,
      });
      this.#writers.set(transceiver, writer);
    }
    return writer;
  }

  #receive(datagram: Buffer): void {
    const header = this.#reader.open(datagram);
    if (typeof header === "string") return;
    readFrames(datagram, header.framesStart, header.framesEnd, DIRECTION.down, (kind, _path, payload) => {
      if (kind !== FRAME_KIND.pong) return;
      this.#options.onPong({
        transceiver: header.senderId,
        epoch: header.senderEpoch,
        nonce: payload.subarray(0, 8),
        draining: payload[8] === 1,
      });
    });
  }
}
