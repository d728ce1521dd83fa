/**
 * Owns the JS engine's sockets: one for each ingress, one for the trunk. Opens all or none, and turns every way in which
 * a send can fail into its callback. Knows nothing of what the datagrams mean.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIP, isIPv6 } from "node:net";
import ipaddr from "ipaddr.js";
import { bindError } from "../bind-error.ts";
import type { EngineOptions, Ingress } from "../engine.ts";

export interface PublicSocket {
  readonly ingress: Ingress;
  readonly socket: Socket;
}

export type SendDone = (error: Error | null) => void;

export interface SocketHandlers {
  readonly onPublic: (datagram: Buffer, ingress: Ingress, isLoopback: boolean, source: RemoteInfo) => void;
  readonly onTrunk: (datagram: Buffer) => void;
}

export class EngineSockets {
  readonly publicSockets: readonly PublicSocket[];
  readonly trunk: Socket;

  private constructor(publicSockets: readonly PublicSocket[], trunk: Socket) {
    this.publicSockets = publicSockets;
    this.trunk = trunk;
  }

  /**
   * Handlers are called from the moment of binding on, the trunk's first. Throws an EarshotError whose code is the
   * kernel's errno name, and then leaves nothing open.
   */
  static async open(options: EngineOptions, handlers: SocketHandlers): Promise<EngineSockets> {
    const opened: Socket[] = [];
    type OnMessage = (datagram: Buffer, source: RemoteInfo) => void;
    const bind = async (
      address: string,
      port: number,
      what: "ingress" | "trunk",
      onMessage: OnMessage,
    ): Promise<Socket> => {
      if (isIP(address) === 0) throw bindError("EINVAL", what, { address, port });
      const socket = newSocket(address, options.receiveBufferBytes);
      socket.on("message", onMessage);
      opened.push(socket);
      try {
        const listening = once(socket, "listening");
        socket.bind({ address, port, exclusive: true });
        await listening;
      } catch (error) {
        const cause = error as NodeJS.ErrnoException;
        throw bindError(cause.code ?? "EUNKNOWN", what, { address, port }, cause);
      }
      // Without a listener an error of the kernel's, which says nothing about us, would end the process.
      socket.on("error", () => {});
      return socket;
    };
    try {
      const { address, port } = options.trunk;
      const trunk = await bind(address, port === 0 ? 0 : port + 1, "trunk", handlers.onTrunk);
      const publicSockets: PublicSocket[] = [];
      for (const ingress of options.ingresses) {
        const isLoopback = ipaddr.process(ingress.address).range() === "loopback";
        const socket = await bind(ingress.address, ingress.port, "ingress", (datagram, source) => {
          handlers.onPublic(datagram, ingress, isLoopback, source);
        });
        publicSockets.push({ ingress: { ...ingress, port: socket.address().port }, socket });
      }
      return new EngineSockets(publicSockets, trunk);
    } catch (error) {
      await Promise.all(opened.map(closeSocket));
      throw error;
    }
  }

  /** Linux doubles what it grants, for its own bookkeeping, and reports the double. */
  receiveBufferBytes(): { readonly public: number; readonly trunk: number } {
    return {
      public: Math.min(...this.publicSockets.map(({ socket }) => socket.getRecvBufferSize() / 2)),
      trunk: this.trunk.getRecvBufferSize() / 2,
    };
  }

  async close(): Promise<void> {
    for (const socket of this.#all()) socket.removeAllListeners("message");
    await Promise.all(this.#all().map(closeSocket));
  }

  #all(): readonly Socket[] {
    return [this.trunk, ...this.publicSockets.map((open) => open.socket)];
  }
}

/** `address` is a literal. Answers through `done` only: dgram throws for ports and addresses that the kernel would refuse. */
export function send(socket: Socket, datagram: Buffer, port: number, address: string, done: SendDone): void {
  try {
    socket.send(datagram, port, address, done);
  } catch (error) {
    done(error as Error);
  }
}

function newSocket(address: string, receiveBufferBytes: number): Socket {
  const family = isIPv6(address) ? 6 : 4;
  return createSocket({
    type: family === 6 ? "udp6" : "udp4",
    ipv6Only: family === 6,
    recvBufferSize: receiveBufferBytes,
    // Addresses are literals: the resolver would only put each datagram off to another tick.
    lookup: (hostname, _options, callback) => callback(null, hostname, family),
  });
}

async function closeSocket(socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => socket.close(resolve));
}
