/** Owns a server that speaks RESP as a test wants it to: honest until told otherwise, and then as hostile as it likes. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

/** What it sends for a command; nothing if undefined. It may do with the socket what it likes. */
export type Answer = (command: readonly string[], socket: Socket) => string | Buffer | undefined;

export class FakeRedis {
  /** For what no handshake needs. */
  answer: Answer = () => undefined;
  /** For the handshake. */
  greet: Answer = honestly;
  connections = 0;
  /** How often each command has come, since somebody last cleared it. */
  readonly asked = new Map<string, number>();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => this.#serve(socket));
  }

  static async open(): Promise<FakeRedis> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FakeRedis(server);
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Everybody has to come again. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.hangUp();
    await closed;
  }

  #serve(socket: Socket): void {
    this.connections++;
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
    let bytes = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (let read = readCommand(bytes); read !== undefined; read = readCommand(bytes)) {
        bytes = bytes.subarray(read.end);
        const name = read.command[0]!;
        this.asked.set(name, (this.asked.get(name) ?? 0) + 1);
        const reply = (HANDSHAKE.has(name) ? this.greet : this.answer)(read.command, socket);
        if (reply !== undefined && socket.writable) socket.write(reply);
      }
    });
  }
}

export const honestly: Answer = ([name]) => (name === "info" ? bulk("role:master\r\nloading:0\r\n") : "+OK\r\n");

export const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;

const HANDSHAKE = new Set(["auth", "select", "client", "info", "hello"]);

/** An array of bulk strings, as clients send it; undefined if it is not whole yet. The first word in lower case. */
function readCommand(bytes: Buffer): { readonly command: readonly string[]; readonly end: number } | undefined {
  let at = 0;
  const line = (): number | undefined => {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return undefined;
    const value = Number(bytes.toString("latin1", at + 1, end));
    at = end + 2;
    return value;
  };
  const count = line();
  if (count === undefined) return undefined;
  const words: string[] = [];
  while (words.length < count) {
    const length = line();
    if (length === undefined || bytes.length < at + length + 2) return undefined;
    words.push(bytes.toString("latin1", at, at + length));
    at += length + 2;
  }
  return { command: [words[0]!.toLowerCase(), ...words.slice(1)], end: at };
}
