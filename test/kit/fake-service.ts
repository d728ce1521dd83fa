/** Owns a Realtime service on loopback that does what a test says: answers, misbehaves, goes away. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { until } from "./until.ts";

export interface Received {
  readonly type: string;
  readonly [field: string]: unknown;
}

export class FakeService {
  readonly received: Received[] = [];
  /** Of every connection that was asked for. */
  readonly requests: { readonly url: string; readonly headers: NodeJS.Dict<string | string[]> }[] = [];
  readonly connections: WebSocket[] = [];
  /** Answered instead of a connection. */
  refuseWith: number | undefined;
  readonly #server: WebSocketServer;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on("connection", (connection) => {
      this.connections.push(connection);
      connection.on("message", (data) => this.received.push(JSON.parse(String(data))));
    });
  }

  static async open(port = 0): Promise<FakeService> {
    let service: FakeService | undefined;
    const server = new WebSocketServer({
      host: "127.0.0.1",
      port,
      verifyClient: ({ req }, done) => {
        service!.requests.push({ url: req.url ?? "", headers: req.headers });
        const { refuseWith } = service!;
        if (refuseWith === undefined) done(true);
        else done(false, refuseWith);
      },
    });
    service = new FakeService(server);
    await once(server, "listening");
    return service;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }
  get url(): string {
    return `ws://127.0.0.1:${this.port}/v1/realtime?model=tiny`;
  }

  /** The events of one type, in order. */
  of(type: string): Received[] {
    return this.received.filter((event) => event.type === type);
  }

  send(event: object | string): void {
    const connection = this.connections.at(-1);
    assert.ok(connection, "nobody is connected");
    connection.send(typeof event === "string" ? event : JSON.stringify(event));
  }

  say(audio: Int16Array, ids: { response?: string; item?: string } = {}): void {
    const { response = "resp_1", item = "item_1" } = ids;
    this.send({
      type: "response.output_audio.delta",
      response_id: response,
      item_id: item,
      output_index: 0,
      content_index: 0,
      delta: Buffer.from(audio.buffer).toString("base64"),
    });
  }

  async connected(count = 1): Promise<void> {
    await until(
      () => this.connections.length >= count && this.of("session.update").length >= count,
      () => `${this.connections.length} of ${count} connections`,
    );
  }

  async got(type: string, count = 1): Promise<Received[]> {
    await until(
      () => this.of(type).length >= count,
      () => `${this.of(type).length} of ${count} ${type}`,
    );
    return this.of(type);
  }

  async close(): Promise<void> {
    for (const connection of this.connections) connection.terminate();
    this.#server.close();
    await once(this.#server, "close");
  }
}
