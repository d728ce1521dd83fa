/**
 * How the client gets its connections: to a place that somebody else finds, by TLS or not, and with a guard before the parser. It
 * gives up only when it is told to; a place that cannot be reached is the client's reason to try again later.
 */
import { createConnection, isIP, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { AbstractConnector } from "ioredis";
import { CONNECT_TIMEOUT_MS, RECONNECT_MOST_MS } from "./limits.ts";
import type { RedisPlace } from "./redis-url.ts";
import { ReplyGuard } from "./reply-guard.ts";

export interface Connecting {
  /** Where to connect now; rejects where nobody says. */
  readonly find: () => Promise<RedisPlace>;
  readonly tls: boolean;
  /** Replies that commands wait for. */
  readonly awaited: () => number;
  /** Whether a server that says this of itself (INFO) is the right one. */
  readonly isRight: (info: unknown) => boolean;
  /** Nobody wants a connection any more. */
  readonly isClosed: () => boolean;
}

export class GuardedConnector extends AbstractConnector {
  readonly #options: Connecting;

  constructor(options: Connecting) {
    super(CONNECT_TIMEOUT_MS);
    this.#options = options;
  }

  override check(info: unknown): boolean {
    return this.#options.isRight(info);
  }

  override async connect(report: (type: string, error: Error) => void): Promise<Socket> {
    const { tls, awaited } = this.#options;
    const { host, port } = await this.#found(report);
    // A name is what the certificate has to be for; SNI must not be an address.
    const socket = tls
      ? connectTls({ host, port, ...(isIP(host) === 0 && { servername: host }) })
      : createConnection({ host, port });
    socket.on("error", (error) => {
      this.firstError = error;
    });
    guard(socket, awaited);
    this.stream = socket;
    return socket;
  }

  /** Now, not when the other side agrees: until then it could go on sending. */
  override disconnect(): void {
    this.stream?.destroy();
  }

  /** The client never tries again if it is not given a connection, so the wait for a place is here. */
  async #found(report: (type: string, error: Error) => void): Promise<RedisPlace> {
    for (let pauseMs = 100; !this.#options.isClosed(); pauseMs = Math.min(2 * pauseMs, RECONNECT_MOST_MS)) {
      try {
        const place = await this.#options.find();
        if (!this.#options.isClosed()) return place;
      } catch (error) {
        report("error", error as Error);
        await sleep(pauseMs, undefined, { ref: false });
      }
    }
    throw new Error("closed");
  }
}

/** What is refused gets to no listener, and ends the connection. */
function guard(socket: Socket, awaited: () => number): void {
  const guarding = new ReplyGuard();
  const emit = socket.emit.bind(socket) as (event: string, ...args: unknown[]) => boolean;
  socket.emit = (event: string, ...args: unknown[]): boolean => {
    if (event !== "data") return emit(event, ...args);
    if (socket.destroyed) return false;
    const why = guarding.refusal(args[0] as Buffer, awaited());
    if (why === undefined) return emit(event, ...args);
    socket.destroy(new Error(`it sent ${why}`));
    return false;
  };
}
