/**
 * Which local addresses a relay listens on, and which of them clients are told. A wildcard becomes one ingress for
 * each address of the host, so that an answer leaves from the address that the client targeted.
 */
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";
import ipaddr from "ipaddr.js";
import { EarshotError } from "../earshot-error.ts";
import type { Ingress } from "../engine/engine.ts";
import {
  type AddressPort,
  addressFamily,
  formatAddressPort,
  isLinkLocal,
  isLoopback,
  isWildcard,
} from "./address-port.ts";

export type Interfaces = NodeJS.Dict<readonly Pick<NetworkInterfaceInfo, "address">[]>;

const MAX_INGRESS_ID = 65535;

/**
 * One ingress for each address:port, with consecutive ids from `firstId` in the order of `listen`; what comes twice
 * counts once. IPv6 link-local addresses are left out of a wildcard: they are of no use without a zone.
 * Throws CONFIG_LISTEN_NONE and CONFIG_INGRESS_IDS.
 */
export function expandListen(
  listen: readonly AddressPort[],
  firstId: number,
  interfaces: Interfaces = networkInterfaces(),
): Ingress[] {
  const places = new Map<string, AddressPort>();
  for (const { address, port } of listen) {
    const addresses = isWildcard(address) ? hostAddresses(addressFamily(address), interfaces) : [address];
    for (const one of addresses) {
      const place = { address: one, port };
      places.set(formatAddressPort(place), place);
    }
  }
  if (places.size === 0) {
    throw new EarshotError(
      "CONFIG_LISTEN_NONE",
      `nothing to listen on: this host has no address of its own for ${listen.map(formatAddressPort).join(", ")}. Name an address that it has with --listen`,
    );
  }
  if (firstId + places.size - 1 > MAX_INGRESS_ID) {
    throw new EarshotError(
      "CONFIG_INGRESS_IDS",
      `${places.size} ingresses starting with id ${firstId} need ids past ${MAX_INGRESS_ID}. Start lower with --ingress-id`,
    );
  }
  return [...places.values()].map((place, index) => ({ id: firstId + index, ...place }));
}

/** The host's own addresses of one family, loopback included, IPv6 link-local left out. */
export function hostAddresses(family: 4 | 6, interfaces: Interfaces = networkInterfaces()): string[] {
  const addresses = Object.values(interfaces).flatMap((entries) => (entries ?? []).map((entry) => entry.address));
  return addresses
    .filter((address) => addressFamily(address) === family && !(family === 6 && isLinkLocal(address)))
    .map((address) => ipaddr.parse(address).toString());
}

/**
 * Where clients are told to send when nothing was configured: every ingress but loopback and link-local ones, unless
 * those were asked for by name or nothing else is there.
 */
export function reachableByClients(ingresses: readonly AddressPort[], listen: readonly AddressPort[]): AddressPort[] {
  const named = new Set(listen.map((place) => place.address));
  const local = ({ address }: AddressPort) => isLoopback(address) || isLinkLocal(address);
  const reachable = ingresses.filter((place) => named.has(place.address) || !local(place));
  return (reachable.length > 0 ? reachable : ingresses).map(({ address, port }) => ({ address, port }));
}
