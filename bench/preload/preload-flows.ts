/** The flows that are preloaded: whose they are, and their records as another relay would have written them. */
import type { Redis } from "ioredis";
import type { DerivedKeys } from "../../src/keys/key-ring.ts";
import { flowBody, RECORD_KIND, sealRecord } from "../../src/redis/record.ts";
import { FLOW_KEY } from "../../src/redis/write-behind.ts";
import { sealToken } from "../../src/token/token.ts";
import { pathBytes } from "../../src/trunk/path.ts";

export const CLUSTER = 1;
export const TRANSCEIVER = 7;
export const EPOCH = 1_790_000_000_000n;
export const CAPACITY = 131_072;
/** So long records are valid: a few runs fit into it. */
export const RECORD_S = 90;

export interface Loaded {
  readonly ms: number;
  readonly cpuMs: number;
  /** For which nothing else had a turn. */
  readonly heldMs: number;
}

export async function fill(client: Redis, keys: DerivedKeys, prefix: string, flows: number): Promise<void> {
  const expiresAtMs = Date.now() + 3_600_000;
  let pipeline = client.pipeline();
  for (let nonce = 0; nonce < flows; nonce++) {
    const path = pathBytes(1, `10.${nonce >> 16}.${(nonce >> 8) & 255}.${nonce & 255}`, 40_000);
    const token = { cluster: CLUSTER, transceiver: TRANSCEIVER, epoch: EPOCH, expiresAtMs, nonce };
    const body = flowBody({ transceiver: TRANSCEIVER, epoch: EPOCH, ufrags: [sealToken(token, keys)] });
    const record = sealRecord(keys, CLUSTER, path, { kind: RECORD_KIND.flow, timeMs: Date.now(), body });
    pipeline.set(`${prefix}{${CLUSTER}}:${FLOW_KEY}${path.toString("hex")}`, record, "EX", RECORD_S);
    if (pipeline.length < 1_000) continue;
    await pipeline.exec();
    pipeline = client.pipeline();
  }
  await pipeline.exec();
}
