/** A connection to Redis that takes its time: what goes through it arrives that much later. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export class SlowProxy {
  delayMs = 0;
  /** Nobody gets through. */
  cut = false;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(toPort: number): Promise<SlowProxy> {
    const server = createServer();
    const proxy = new SlowProxy(server);
    server.on("connection", (client) => {
      if (proxy.cut) client.destroy();
      else proxy.#join(client, connect(toPort, "127.0.0.1"));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(one: Socket, other: Socket): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => to.destroy());
      from.on("data", (bytes) => {
        setTimeout(() => to.writable && to.write(bytes), this.delayMs);
      });
    }
  }
}
