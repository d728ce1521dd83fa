/** The flows of a load: for each a client of its own, and the request that a transceiver's credentials let it make. */
import { randomBytes } from "node:crypto";
import type { DerivedKeys } from "../../src/keys/key-ring.ts";
import { STUN_ATTRIBUTE, STUN_CLASS } from "../../src/stun/stun-reader.ts";
import { u32, u64, writeStun } from "../../src/stun/stun-writer.ts";
import { icePassword, sealToken } from "../../src/token/token.ts";

const HOUR_MS = 3_600_000;

/**
 * A line for each flow: the client's address, and its first request in hex. Each client is in a /24 of its own. `clients` is
 * the first octet of their addresses.
 */
export function flowLines(
  count: number,
  clients: number,
  keys: DerivedKeys,
  transceiver: { readonly cluster: number; readonly id: number; readonly epoch: bigint },
): string {
  const { cluster, id, epoch } = transceiver;
  const lines = Array.from({ length: count }, (_, i) => {
    const client = `${clients}.${64 + (i & 63)}.${(i >> 6) & 255}.${1 + (i >> 14)}`;
    const token = { cluster, transceiver: id, epoch, expiresAtMs: Date.now() + HOUR_MS, nonce: i };
    const ufrag = sealToken(token, keys);
    const request = writeStun({
      class: STUN_CLASS.request,
      transactionId: randomBytes(12),
      attributes: [
        [STUN_ATTRIBUTE.username, Buffer.from(`${ufrag}:peer`)],
        [STUN_ATTRIBUTE.iceControlling, u64(1n)],
        [STUN_ATTRIBUTE.priority, u32(1_845_501_695)],
      ],
      password: icePassword(ufrag, keys),
    });
    return `${client} ${request.toString("hex")}\n`;
  });
  return lines.join("");
}
