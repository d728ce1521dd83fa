/**
 * The JS engine alone, for bench:pps: with every flow installed from the start and without the control plane. The counterpart
 * of earshot_native.cc: the same options, the same lines of JSON, and who is who as in scene.h.
 */
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { WORKER_COUNTER, type WorkerCounterName } from "../../src/engine/counters.ts";
import { JsEngine } from "../../src/engine/js/js-engine.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { pathBytes } from "../../src/trunk/path.ts";

const KEY_ID = 1;
const INGRESS = 1;
const EPOCH = 1n;
const FIRST_ADDRESS = 0x7f40_0000;
const UFRAG = "u".repeat(32);

const { values } = parseArgs({
  options: {
    "upstream-port": { type: "string" },
    upstreams: { type: "string", default: "1" },
    "client-port": { type: "string" },
    flows: { type: "string", default: "1000" },
    "receive-buffer-bytes": { type: "string", default: "212992" },
  },
});
const flows = Number(values.flows);
const upstreams = Number(values.upstreams);

const keys = new KeyRing([{ id: KEY_ID, secret: randomBytes(32), signs: true }]);
const engine = new JsEngine({
  ingresses: [{ id: INGRESS, address: "127.0.0.1", port: 0 }],
  trunk: { address: "127.0.0.1", port: 0 },
  lanes: 1,
  workers: 1,
  cpus: [],
  gatherUs: 0,
  relayId: 1,
  epoch: EPOCH,
  cluster: 1,
  flowCapacity: flows,
  tentativeQuota: flows,
  receiveBufferBytes: Number(values["receive-buffer-bytes"]),
});
engine.setKeys(keys);
await engine.start(() => engine.takeControl(64));
const slots = Array.from({ length: upstreams }, (_, t) =>
  engine.addTransceiver({
    id: t + 1,
    epoch: EPOCH,
    address: "127.0.0.1",
    port: Number(values["upstream-port"]) + t,
  }),
);
for (let flow = 0; flow < flows; flow++) {
  const address = FIRST_ADDRESS + flow;
  const text = [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
  engine.restore(pathBytes(INGRESS, text, Number(values["client-port"])), slots[flow % upstreams]!, [UFRAG]);
}

const count = (name: WorkerCounterName): number => engine.counters()[0]![WORKER_COUNTER[name]]!;
const port = engine.ingresses[0]!.port;
const trunkDown = keys.signing.trunkDown.toString("hex");
console.log(JSON.stringify({ port, trunkPorts: engine.trunkPorts, trunkDown }));
const input = createInterface({ input: process.stdin });
input.on("line", () => {
  const counts = {
    upReceived: count("up_received"),
    upForwarded: count("up_forwarded"),
    downReceived: count("frame_received"),
    downForwarded: count("frame_forwarded"),
    dropped: 0,
  };
  console.log(JSON.stringify(counts));
});
input.once("close", () => process.exit(0));
