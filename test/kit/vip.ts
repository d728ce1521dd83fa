/**
 * Owns one public address with several relays behind it, as a load balancer or a router is one: clients send to its port,
 * and it decides which relay gets that. Every client keeps one source towards all relays.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

const HOST = "127.0.0.1";

export class Vip {
  /** Ports of the relays' ingresses; each client goes to one of them. */
  relays: readonly number[] = [];
  /** Which relay a client goes to, by its place in `relays`. */
  choose: (clientPort: number) => number = () => 0;
  /** What goes to all relays, as if each had got one of several in a row. */
  spreads: (datagram: Buffer) => boolean = () => false;
  /** What of clients is lost on the way. */
  loses: (datagram: Buffer) => boolean = () => false;
  readonly #public: Socket;
  readonly #clients = new Map<number, Socket>();

  private constructor(socket: Socket) {
    this.#public = socket;
    socket.on("message", (datagram, { port }) => {
      if (this.loses(datagram)) return;
      const to = this.relays[this.choose(port)];
      const all = this.spreads(datagram) ? this.relays : to === undefined ? [] : [to];
      for (const relay of all) this.#client(port).send(datagram, relay, HOST);
    });
  }

  static async open(): Promise<Vip> {
    const socket = createSocket({ type: "udp4", recvBufferSize: 8 << 20 });
    socket.bind(0, HOST);
    await once(socket, "listening");
    return new Vip(socket);
  }

  /** Where clients send to. */
  get port(): number {
    return this.#public.address().port;
  }

  /** As if this client had sent it, whatever of it is lost otherwise. */
  inject(clientPort: number, datagram: Buffer): void {
    this.#client(clientPort).send(datagram, this.relays[this.choose(clientPort)]!, HOST);
  }

  /** NAT rebinding: from now on relays see this client's datagrams come from elsewhere. */
  rebind(): void {
    for (const socket of this.#clients.values()) socket.close();
    this.#clients.clear();
  }

  async close(): Promise<void> {
    for (const socket of [this.#public, ...this.#clients.values()]) {
      await new Promise<void>((resolve) => socket.close(resolve));
    }
  }

  #client(port: number): Socket {
    const known = this.#clients.get(port);
    if (known !== undefined) return known;
    const socket = createSocket("udp4");
    socket.on("message", (datagram) => this.#public.send(datagram, port, HOST));
    this.#clients.set(port, socket);
    return socket;
  }
}

/** A Binding request or indication: what browsers and we send every few seconds to keep a path alive. */
export const isCheck = (datagram: Buffer): boolean =>
  datagram.length >= 20 && datagram[0] === 0 && datagram[1] !== 0x21;
