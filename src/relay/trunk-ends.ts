/**
 * The trunk's own addresses and ports. No client can have one of them: who sends from there to an ingress has made the
 * source up, to have the relay send clients' datagrams into the trunk.
 */

import { isWildcard } from "../config/address-port.ts";
import { hostAddresses } from "../config/ingresses.ts";
import { pathBytes, pathKey } from "../trunk/path.ts";

interface End {
  readonly address: string;
  readonly port: number;
}

export class TrunkEnds {
  #relay: ReadonlySet<string> = new Set();
  #transceivers: ReadonlySet<string> = new Set();

  /** The ports of this relay's trunk, control plane and lanes; a wildcard address stands for all of this host. */
  setRelay(address: string, ports: readonly number[]): void {
    const addresses = isWildcard(address) ? hostAddresses(address.includes(":") ? 6 : 4) : [address];
    this.#relay = keysOf(addresses.flatMap((one) => ports.map((port) => ({ address: one, port }))));
  }

  setTransceivers(ends: readonly End[]): void {
    this.#transceivers = keysOf(ends);
  }

  /** Whether the path's client address and port are one of these, whatever its ingress. */
  has(path: Buffer): boolean {
    const end = Buffer.from(path);
    end.writeUInt16BE(NO_INGRESS, 1);
    const key = pathKey(end);
    return this.#relay.has(key) || this.#transceivers.has(key);
  }
}

const NO_INGRESS = 0;

const keysOf = (ends: readonly End[]): ReadonlySet<string> =>
  new Set(ends.map(({ address, port }) => pathKey(pathBytes(NO_INGRESS, address, port))));
