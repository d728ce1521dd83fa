/** Owns a client's socket: sends what it is given to one ingress, and keeps what comes back. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import type { Ingress } from "../../src/engine/engine.ts";
import { pathBytes } from "../../src/trunk/path.ts";

export interface ClientDatagram {
  readonly payload: Buffer;
  /** Where it came from. */
  readonly host: string;
  readonly port: number;
}

export class FakeClient {
  readonly received: ClientDatagram[] = [];
  readonly ingress: Ingress;
  /** How the relay knows this client. */
  readonly path: Buffer;
  readonly port: number;
  readonly #socket: Socket;
  readonly #host: string;

  private constructor(socket: Socket, ingress: Ingress, host: string) {
    this.#socket = socket;
    this.#host = host;
    this.ingress = ingress;
    this.port = socket.address().port;
    this.path = pathBytes(ingress.id, socket.address().address, this.port);
    socket.on("message", (payload, { address, port }) => this.received.push({ payload, host: address, port }));
  }

  /** `host` is where it sends to, if not the ingress's own address. */
  static async open(ingress: Ingress, host = ingress.address): Promise<FakeClient> {
    const isV6 = isIPv6(host);
    const socket = createSocket({ type: isV6 ? "udp6" : "udp4", recvBufferSize: 1 << 20 });
    socket.bind(0, isV6 ? "::1" : "127.0.0.1");
    await once(socket, "listening");
    return new FakeClient(socket, ingress, host);
  }

  /** Resolves when the kernel has them. */
  async send(...datagrams: readonly Buffer[]): Promise<void> {
    for (const datagram of datagrams) await this.sendTo(this.ingress.port, datagram);
  }

  /** The same, to another port of the ingress's address. */
  async sendTo(port: number, datagram: Buffer): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.send(datagram, port, this.#host, (error) => (error ? reject(error) : resolve()));
    });
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }
}
