/** Who opens HTTP connections and never ends a request keeps nobody else out. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, createServer, request, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, beforeEach, test } from "node:test";
import { limitConnections } from "../../src/signalling/connection-limit.ts";
import { serveSignalling } from "../kit/signalling-server.ts";
import { until } from "../kit/until.ts";

/** Node has it as a property, its types do not. */
type Checked = Server & { readonly connectionsCheckingInterval: number };

const MOST = 8;
const HALF = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf";

let server: Server;
let evicted: number;
let open: Set<Socket>;
const sockets: Socket[] = [];

beforeEach(async () => {
  evicted = 0;
  const connections = new Set<Socket>();
  open = connections;
  server = createServer((incoming, response) => incoming.resume().on("end", () => response.end("fine")));
  server.on("connection", (socket) => {
    connections.add(socket);
    socket.once("close", () => connections.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function stall(): Promise<Socket> {
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  sockets.push(socket.on("error", () => {}));
  await once(socket, "connect");
  socket.write(HALF);
  return socket;
}

async function ask(agent: Agent | false = false): Promise<string> {
  const { port } = server.address() as AddressInfo;
  const [response] = await once(request({ port, host: "127.0.0.1", agent }).end(), "response");
  let text = "";
  for await (const piece of response) text += piece;
  return text;
}

const opened = (count: number): Promise<void> =>
  until(
    () => open.size === count,
    () => `${open.size} connections are open, not ${count}`,
  );

test("of too many the one that has waited longest is closed, and the others stay", async () => {
  limitConnections(server, MOST, () => evicted++);
  const first = await stall();
  await opened(1);
  for (let n = 1; n < MOST; n++) await stall();
  await opened(MOST);
  assert.equal(await ask(), "fine");
  assert.equal(evicted, 1);
  await until(
    () => first.closed,
    () => "the first connection is still open",
  );
  await opened(MOST - 1);
});

test("a connection that gets answers outlasts those that do not end their requests", async () => {
  limitConnections(server, MOST, () => evicted++);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  await ask(agent);
  for (let n = 0; n < 3 * MOST; n++) {
    await stall();
    assert.equal(await ask(agent), "fine");
  }
  await opened(MOST);
  assert.equal(evicted, 2 * MOST + 1);
  agent.destroy();
});

test("what is late is noticed sooner than it is late, and not by Node's own interval", async () => {
  const { app } = await serveSignalling();
  const { headersTimeout, connectionsCheckingInterval } = app.server as Checked;
  assert.ok(headersTimeout > 0 && connectionsCheckingInterval < headersTimeout);
  assert.ok((server as Checked).connectionsCheckingInterval > headersTimeout);
  await app.close();
});

test("control: with the limit of Node.js instead, the others are kept out", async () => {
  server.maxConnections = MOST;
  for (let n = 0; n < MOST; n++) await stall();
  await opened(MOST);
  await assert.rejects(ask());
});
