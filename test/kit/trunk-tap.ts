/**
 * Owns somebody on the trunk's network, between one relay and one transceiver: passes everything on, keeps a copy of it, and
 * can send what it likes in anybody's name. Has no keys.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

export interface Captured {
  readonly direction: "up" | "down";
  readonly datagram: Buffer;
  /** Of the relay's side: the worker, or the control plane. */
  readonly relayPort: number;
}

const HOST = "127.0.0.1";

export class TrunkTap {
  /** What has passed, oldest first. */
  readonly captured: Captured[] = [];
  /** What passes nothing on. */
  cut = false;
  /** What of the rest is lost. */
  loses: (passing: Captured) => boolean = () => false;
  #transceiverPort = 0;
  readonly #relaySide: Socket;
  /** The transceiver's side, by the relay's port: replies go to the port that asked. */
  readonly #transceiverSides = new Map<number, Socket>();

  private constructor(socket: Socket) {
    this.#relaySide = socket;
    socket.on("message", (datagram, { port }) => {
      if (this.#passes({ direction: "up", datagram, relayPort: port }))
        this.#transceiverSide(port).send(datagram, this.#transceiverPort, HOST);
    });
  }

  static async open(): Promise<TrunkTap> {
    const socket = createSocket("udp4");
    socket.bind(0, HOST);
    await once(socket, "listening");
    return new TrunkTap(socket);
  }

  /** Where the relay believes that the transceiver is. */
  get port(): number {
    return this.#relaySide.address().port;
  }
  /** Where the transceiver is. */
  get transceiverPort(): number {
    return this.#transceiverPort;
  }

  passTo(transceiverPort: number): void {
    this.#transceiverPort = transceiverPort;
  }

  of(direction: Captured["direction"]): readonly Captured[] {
    return this.captured.filter((each) => each.direction === direction);
  }

  async close(): Promise<void> {
    for (const socket of [this.#relaySide, ...this.#transceiverSides.values()]) {
      await new Promise<void>((resolve) => socket.close(resolve));
    }
  }

  #passes(passing: Captured): boolean {
    this.captured.push(passing);
    return !this.cut && !this.loses(passing);
  }

  #transceiverSide(relayPort: number): Socket {
    const known = this.#transceiverSides.get(relayPort);
    if (known !== undefined) return known;
    const socket = createSocket("udp4");
    socket.on("message", (datagram) => {
      if (this.#passes({ direction: "down", datagram, relayPort })) this.#relaySide.send(datagram, relayPort, HOST);
    });
    this.#transceiverSides.set(relayPort, socket);
    return socket;
  }
}
