/**
 * The control plane's own trunk port: it pings transceivers and hears their pongs, and asks them about paths that this
 * relay does not know. Downlink that comes here is sent to nobody: a transceiver sends it here when the relay of a path is
 * gone, so that this one asks for the path.
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

/** Where a transceiver is, and which process of it. */
export interface TransceiverEnd {
  readonly id: number;
  readonly epoch: bigint;
  readonly address: string;
  readonly port: number;
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
  /** A transceiver says whose a path is. `path` is a view. */
  readonly onAssert: (transceiver: number, epoch: bigint, path: Buffer, ufrag: string) => void;
  /** A session has left a path that this relay may know. `path` is a view. */
  readonly onFlowEnd: (transceiver: number, epoch: bigint, path: Buffer, ufrag: string) => void;
  /** A transceiver has sent here what is for a client. `path` is a view. */
  readonly onDownlink: (transceiver: number, epoch: bigint, path: Buffer) => void;
}

const NOTHING = Buffer.alloc(0);
/** In datagrams of pings only: any epoch, the pong tells which. */
const ANY_EPOCH = 0;

/** What is on its way to one transceiver. */
interface Link {
  readonly writer: TrunkWriter;
  /** Of the questions that wait in the writer. */
  to: TransceiverEnd | undefined;
}

export class ControlPort {
  readonly #options: ControlPortOptions;
  readonly #socket: Socket;
  readonly #reader: TrunkReader;
  readonly #links = new Map<number, Link>();
  /** Links with questions in them, until the next turn of the event loop. */
  #asking: Link[] = [];
  #flushPlanned: NodeJS.Immediate | undefined;

  constructor(options: ControlPortOptions) {
    this.#options = options;
    this.#socket = createSocket(isIPv6(options.trunk.address) ? "udp6" : "udp4");
    this.#reader = new TrunkReader({
      direction: DIRECTION.down,
      cluster: options.cluster,
      targetId: this.#portId,
      targetEpoch: low32(options.epoch),
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
    clearImmediate(this.#flushPlanned);
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  /** `nonce` is 8 bytes. */
  ping(transceiver: number, to: { readonly address: string; readonly port: number }, nonce: Buffer): void {
    const link = this.#link(transceiver);
    this.#flushLink(link);
    link.writer.targetEpoch = ANY_EPOCH;
    link.writer.append(FRAME_KIND.ping, undefined, nonce);
    this.#send(link.writer, to);
  }

  /** Tells a transceiver that this path is not known here. Questions of one turn of the event loop share datagrams. */
  askAbout(path: Buffer, to: TransceiverEnd): void {
    const link = this.#link(to.id);
    if (link.to !== undefined && link.to !== to) this.#flushLink(link);
    if (link.to === undefined) {
      link.to = to;
      link.writer.targetEpoch = low32(to.epoch);
      this.#asking.push(link);
    }
    link.writer.append(FRAME_KIND.unknownPath, path, NOTHING);
    this.#flushPlanned ??= setImmediate(() => this.#flush());
  }

  get #portId(): number {
    return (this.#options.relayId << 8) >>> 0;
  }

  #flush(): void {
    this.#flushPlanned = undefined;
    const asking = this.#asking;
    this.#asking = [];
    for (const link of asking) this.#flushLink(link);
  }

  #flushLink(link: Link): void {
    if (link.to !== undefined) this.#send(link.writer, link.to);
    link.to = undefined;
  }

  #send(writer: TrunkWriter, to: { readonly address: string; readonly port: number }): void {
    for (const datagram of writer.flush()) this.#socket.send(datagram, to.port, to.address, () => {});
  }

  #link(transceiver: number): Link {
    let link = this.#links.get(transceiver);
    if (link === undefined) {
      const writer = new TrunkWriter({
        direction: DIRECTION.up,
        cluster: this.#options.cluster,
        senderId: this.#portId,
        targetId: transceiver,
        targetEpoch: ANY_EPOCH,
        senderEpoch: this.#options.epoch,
        keys: () => this.#options.keys().signing,
        // Under the same epoch another process may have sent before: nobody sends a datagram each microsecond.
        lastSequence: Number(process.hrtime.bigint() / 1000n),
      });
      link = { writer, to: undefined };
      this.#links.set(transceiver, link);
    }
    return link;
  }

  #receive(datagram: Buffer): void {
    const header = this.#reader.open(datagram);
    if (typeof header === "string") return;
    const { onPong, onAssert, onFlowEnd, onDownlink } = this.#options;
    const { senderId, senderEpoch, framesStart, framesEnd } = header;
    readFrames(datagram, framesStart, framesEnd, DIRECTION.down, (kind, path, payload) => {
      if (kind === FRAME_KIND.pong) {
        onPong({
          transceiver: senderId,
          epoch: senderEpoch,
          nonce: payload.subarray(0, 8),
          draining: payload[8] === 1,
        });
      } else if (kind === FRAME_KIND.assert) {
        onAssert(senderId, senderEpoch, path!, payload.toString("latin1"));
      } else if (kind === FRAME_KIND.flowEnd) {
        onFlowEnd(senderId, senderEpoch, path!, payload.toString("latin1"));
      } else if (kind === FRAME_KIND.data) {
        onDownlink(senderId, senderEpoch, path!);
      }
    });
  }
}

const low32 = (epoch: bigint): number => Number(BigInt.asUintN(32, epoch));
