/** Who a relay is on the trunk. It stays the same while its keeper lives, whichever process does the work. */
export interface RelayIdentity {
  /** 24 bits */
  readonly relayId: number;
  /** Start time in ms since 1970; its low 32 bits are never 0, which would mean "any" on the trunk. */
  readonly epoch: bigint;
}

export function relayIdentity(relayId: number, startMs: number): RelayIdentity {
  const epoch = BigInt(startMs);
  return { relayId, epoch: (epoch & 0xffff_ffffn) === 0n ? epoch + 1n : epoch };
}
