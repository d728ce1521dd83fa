/** Entry of a thread that owns a native trunk end: says its port, then says each time that something came. */
import { parentPort } from "node:worker_threads";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { TRUNK_COUNTERS } from "../../src/transceiver/trunk-counters.ts";
import { loadTrunkEnd } from "../../src/transceiver/trunk-end-binding.ts";

const TrunkEnd = loadTrunkEnd();
const buffer = Buffer.alloc(TrunkEnd.batchBytes);
const places = new Uint32Array(4 * TrunkEnd.batchPlaces);
const options = { id: 1, cluster: 1, epoch: 5n, local: { address: "127.0.0.1", port: 0 } };
const end = new TrunkEnd(
  { ...options, receiveBufferBytes: 0, maxMediaAgeMs: 200 },
  new Float64Array(TRUNK_COUNTERS.length),
  () => {
    end.receive(buffer, 0, places);
    parentPort!.postMessage("read");
  },
);
const keys = new KeyRing([{ id: 3, secret: Buffer.alloc(32, 1), signs: true }]);
end.setKeys(3, keys.all);
const bound = end.start();
if ("port" in bound) parentPort!.postMessage(bound.port);
