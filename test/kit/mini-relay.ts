/**
 * Owns a relay's end of the trunk, reduced to carrying bytes: client UDP in, trunk frames out, and back. It admits
 * everybody and keeps no owner, so a transceiver behind it gets everything that a real relay would have kept away.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import type { KeyRing } from "../../src/keys/key-ring.ts";
import { TrunkReader, TrunkWriter } from "../../src/trunk/datagram.ts";
import { DIRECTION, FRAME_KIND, type FrameKind, readFrames } from "../../src/trunk/frame.ts";
import { pathBytes, pathHost, pathIngress, pathPort } from "../../src/trunk/path.ts";

export interface ControlFrame {
  readonly kind: FrameKind;
  readonly path: Buffer | undefined;
  readonly payload: Buffer;
}

export interface MiniRelayOptions {
  readonly keys: KeyRing;
  readonly cluster: number;
  readonly transceiver: { readonly id: number; readonly epoch: bigint };
  /** Local addresses of the ingresses; ingress ids count from 1. */
  readonly addresses: readonly string[];
}

const SENDER_ID = (7 << 8) | 1;

export class MiniRelay {
  readonly ingresses: { address: string; port: number }[] = [];
  /** Frames from the transceiver that are no client's datagrams. */
  readonly control: ControlFrame[] = [];
  /** Where client datagrams have come from. */
  readonly clients: Buffer[] = [];
  /** Trunk datagrams that came down, and the frames in them. */
  readonly down = { datagrams: 0, frames: 0 };
  /** While true, nothing goes from clients to the transceiver. */
  deaf = false;
  readonly #options: MiniRelayOptions;
  readonly #trunk: Socket;
  readonly #public: Socket[] = [];
  /** Port of a client's socket -> the port that its datagrams seem to come from. */
  readonly #moved = new Map<number, number>();
  #writer: TrunkWriter | undefined;
  #transceiverPort = 0;

  private constructor(options: MiniRelayOptions) {
    this.#options = options;
    this.#trunk = createSocket("udp4");
  }

  static async open(options: MiniRelayOptions): Promise<MiniRelay> {
    const relay = new MiniRelay(options);
    for (const [index, address] of options.addresses.entries()) {
      const socket = createSocket({ type: isIPv6(address) ? "udp6" : "udp4", ipv6Only: isIPv6(address) });
      socket.bind(0, address);
      await once(socket, "listening");
      socket.on("message", (datagram, from) => relay.#fromClient(index + 1, datagram, from));
      relay.#public.push(socket);
      relay.ingresses.push({ address, port: socket.address().port });
    }
    relay.#trunk.bind(0, "127.0.0.1");
    await once(relay.#trunk, "listening");
    return relay;
  }

  /** Begins to speak with the transceiver, once that has a port. */
  connect(port: number): void {
    const { keys, cluster, transceiver } = this.#options;
    const epoch = BigInt(Date.now());
    this.#transceiverPort = port;
    this.#writer = new TrunkWriter({
      direction: DIRECTION.up,
      cluster,
      senderId: SENDER_ID,
      targetId: transceiver.id,
      targetEpoch: Number(BigInt.asUintN(32, transceiver.epoch)),
      senderEpoch: epoch,
      keys: () => keys.signing,
    });
    const reader = new TrunkReader({
      direction: DIRECTION.down,
      cluster,
      targetId: SENDER_ID,
      targetEpoch: Number(BigInt.asUintN(32, epoch)),
      keys: () => keys,
      acceptSender: (id, senderEpoch) => id === transceiver.id && senderEpoch === transceiver.epoch,
    });
    this.#trunk.on("message", (datagram) => {
      const header = reader.open(datagram);
      if (typeof header === "string") throw new Error(`the transceiver sent what a relay drops: ${header}`);
      this.down.datagrams++;
      const { framesStart, framesEnd } = header;
      const readable = readFrames(datagram, framesStart, framesEnd, DIRECTION.down, (kind, path, payload) => {
        this.down.frames++;
        if (kind === FRAME_KIND.data) this.#toClient(path!, payload);
        else this.control.push({ kind, path, payload });
      });
      if (!readable) throw new Error("the transceiver sent an unreadable frame");
    });
  }

  /** Frames of this kind that have come from the transceiver. */
  controlOf(kind: FrameKind): ControlFrame[] {
    return this.control.filter((frame) => frame.kind === kind);
  }

  /** Sends one frame to the transceiver. */
  up(kind: FrameKind, path: Buffer | undefined, payload: Buffer): void {
    if (!this.#writer?.append(kind, path, payload)) throw new Error(`the protocol has no such frame: kind ${kind}`);
    for (const datagram of this.#writer.flush()) this.#trunk.send(datagram, this.#transceiverPort, "127.0.0.1");
  }

  /** As when a NAT forgets a client: its datagrams come from another port, and nothing gets to it by the one of before. */
  move(port: number): number {
    const seenAs = port > 32_768 ? port - 20_000 : port + 20_000;
    this.#moved.set(port, seenAs);
    return seenAs;
  }

  /** Sends any bytes to a client, as anybody could who can forge an ingress address. */
  forge(path: Buffer, datagram: Buffer): void {
    this.#toClient(path, datagram);
  }

  /** Sends any bytes to the transceiver's trunk port. */
  upRaw(datagram: Buffer): void {
    this.#trunk.send(datagram, this.#transceiverPort, "127.0.0.1");
  }

  async close(): Promise<void> {
    for (const socket of [this.#trunk, ...this.#public]) {
      await new Promise<void>((resolve) => socket.close(() => resolve()));
    }
  }

  #fromClient(ingress: number, datagram: Buffer, from: RemoteInfo): void {
    if (this.deaf || datagram.length === 0) return;
    const path = pathBytes(ingress, from.address, this.#moved.get(from.port) ?? from.port);
    if (!this.clients.some((known) => known.equals(path))) this.clients.push(path);
    this.up(FRAME_KIND.data, path, datagram);
  }

  #toClient(path: Buffer, payload: Buffer): void {
    const seenAs = pathPort(path);
    if (this.#moved.has(seenAs)) return;
    const port = [...this.#moved].find(([, moved]) => moved === seenAs)?.[0] ?? seenAs;
    this.#public[pathIngress(path) - 1]?.send(payload, port, pathHost(path));
  }
}
