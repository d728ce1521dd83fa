/**
 * The classical pure-JS forwarder: what a UDP relay written straight down on node:dgram does, one message and one send at a
 * time. A rival in benchmarks, never part of Earshot. bench:pps and bench:latency share it, and it speaks as classical.cc
 * does: the same options, the same header of 4 bytes between it and its upstreams, the same lines of JSON.
 *
 *   node dist/bench/forwarders/classical-js.js --address 127.0.0.1 --upstream-port P [--upstreams 1] [--port 0]
 *        [--receive-buffer-bytes 212992]
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const HEADER_BYTES = 4;

interface Flow {
  readonly address: string;
  readonly port: number;
  readonly header: Buffer;
  readonly upstream: Socket;
}

const { values } = parseArgs({
  options: {
    address: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "0" },
    "upstream-port": { type: "string" },
    upstreams: { type: "string", default: "1" },
    "receive-buffer-bytes": { type: "string", default: "212992" },
  },
});
if (values["upstream-port"] === undefined) throw new Error("--upstream-port needs a value");

const counts = { upReceived: 0, upForwarded: 0, downReceived: 0, downForwarded: 0, dropped: 0 };
const flows: Flow[] = [];
const byClient = new Map<string, Flow>();
const upstreams: Socket[] = [];
const recvBufferSize = Number(values["receive-buffer-bytes"]);
const clients = createSocket({ type: "udp4", recvBufferSize });

function flowOf({ address, port }: RemoteInfo): Flow {
  const key = `${address}:${port}`;
  const known = byClient.get(key);
  if (known !== undefined) return known;
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(flows.length);
  const flow: Flow = { address, port, header, upstream: upstreams[flows.length % upstreams.length]! };
  byClient.set(key, flow);
  flows.push(flow);
  return flow;
}

function counting(name: "upForwarded" | "downForwarded"): (error: Error | null) => void {
  return (error) => {
    counts[error === null ? name : "dropped"]++;
  };
}
const sentUp = counting("upForwarded");
const sentDown = counting("downForwarded");

clients.on("message", (message, from) => {
  counts.upReceived++;
  const { header, upstream } = flowOf(from);
  upstream.send([header, message], sentUp);
});

function takeDown(message: Buffer): void {
  counts.downReceived++;
  const flow = message.length > HEADER_BYTES ? flows[message.readUInt32LE()] : undefined;
  if (flow === undefined) counts.dropped++;
  else clients.send(message.subarray(HEADER_BYTES), flow.port, flow.address, sentDown);
}

for (let i = 0; i < Number(values.upstreams); i++) {
  const upstream = createSocket({ type: "udp4", recvBufferSize });
  upstream.connect(Number(values["upstream-port"]) + i, values.address);
  await once(upstream, "connect");
  upstream.on("message", takeDown);
  // A refused datagram of before: ECONNREFUSED. It has been counted when it was sent.
  upstream.on("error", () => {});
  upstreams.push(upstream);
}
clients.bind(Number(values.port), values.address);
await once(clients, "listening");
console.log(JSON.stringify({ port: clients.address().port }));

const input = createInterface({ input: process.stdin });
input.on("line", () => console.log(JSON.stringify(counts)));
input.once("close", () => process.exit(0));
