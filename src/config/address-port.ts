/**
 * HOST:PORT as people write it, and what kind of address the host is. Literal addresses only: nothing here may ask a
 * resolver, because what we bind, advertise or send to must not depend on one.
 */
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

export interface AddressPort {
  readonly address: string;
  readonly port: number;
}

/** `127.0.0.1:80`, `[::1]:80` or `localhost:80` (127.0.0.1). v4-mapped IPv6 becomes IPv4. Undefined if it is anything else. */
export function parseAddressPort(text: string): AddressPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text.trim());
  if (match === null) return undefined;
  const [, bracketed, plain, digits] = match;
  const address = bracketed === undefined ? parseAddress(plain ?? "", 4) : parseAddress(bracketed, 6);
  const port = Number(digits);
  return address === undefined || port > 65535 ? undefined : { address, port };
}

/** A literal address in its usual notation, or undefined. */
export function parseAddress(text: string, family?: 4 | 6): string | undefined {
  if (text === "localhost" && family !== 6) return "127.0.0.1";
  const found = isIP(text);
  if (found === 0 || text.includes("%") || (family !== undefined && found !== family)) return undefined;
  return ipaddr.process(text).toString();
}

export function formatAddressPort({ address, port }: AddressPort): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

export const addressFamily = (address: string): 4 | 6 => (address.includes(":") ? 6 : 4);
export const isWildcard = (address: string): boolean => ipaddr.parse(address).range() === "unspecified";
export const isLoopback = (address: string): boolean => ipaddr.parse(address).range() === "loopback";
export const isLinkLocal = (address: string): boolean => ipaddr.parse(address).range() === "linkLocal";

/** Whether a datagram to this address can mean one host: neither a wildcard nor a group. */
export function isOneHost(address: string): boolean {
  return !["unspecified", "multicast", "broadcast"].includes(ipaddr.parse(address).range());
}
