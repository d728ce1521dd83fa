/** Owns a socket that only listens: a silent client, a victim, or an attacker who hopes for an answer. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

export class Listener {
  readonly received: Buffer[] = [];
  readonly host: string;
  readonly port: number;
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const { address, port } = socket.address();
    this.host = address;
    this.port = port;
    socket.on("message", (datagram) => this.received.push(datagram));
  }

  static async open(host = "127.0.0.1"): Promise<Listener> {
    const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
    socket.bind(0, host);
    await once(socket, "listening");
    return new Listener(socket);
  }

  /** From here, for those who have no raw socket. Resolves when the kernel has them. */
  async send(port: number, ...datagrams: readonly Buffer[]): Promise<void> {
    for (const datagram of datagrams) {
      await new Promise<void>((resolve, reject) => {
        this.#socket.send(datagram, port, "127.0.0.1", (error) => (error ? reject(error) : resolve()));
      });
    }
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }
}
