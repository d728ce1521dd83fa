/** Owns a native engine on loopback that nobody sends to: for what the control plane costs with its table. */
import { NativeEngine } from "../../src/engine/native/native-engine.ts";
import type { KeyRing } from "../../src/keys/key-ring.ts";

export async function startIdleEngine(options: {
  readonly epoch: bigint;
  readonly cluster: number;
  readonly flowCapacity: number;
  readonly keys: KeyRing;
}): Promise<NativeEngine> {
  const { epoch, cluster, flowCapacity, keys } = options;
  const engine = new NativeEngine({
    ingresses: [{ id: 1, address: "127.0.0.1", port: 0 }],
    trunk: { address: "127.0.0.1", port: 0 },
    lanes: 1,
    workers: 1,
    cpus: [],
    gatherUs: 0,
    relayId: 1,
    epoch,
    cluster,
    flowCapacity,
    tentativeQuota: flowCapacity,
    receiveBufferBytes: 1 << 16,
  });
  engine.setKeys(keys);
  await engine.start(() => {});
  return engine;
}
