/**
 * A path says where a client can be reached: ingress id, client address, client port. On the trunk and as a key it is
 * its *path bytes*: family (4 or 6), ingress id (u16), port (u16), address (4 or 16 bytes). Pure: no sockets.
 */
import ipaddr from "ipaddr.js";

export const PATH_BYTES_V4 = 9;
export const PATH_BYTES_V6 = 21;

/** Path bytes of a client address. `host` is a literal IPv4 or IPv6 address; v4-mapped IPv6 becomes IPv4. */
export function pathBytes(ingress: number, host: string, port: number): Buffer {
  const address = ipaddr.process(host).toByteArray();
  const bytes = Buffer.allocUnsafe(5 + address.length);
  bytes[0] = address.length === 4 ? 4 : 6;
  bytes.writeUInt16BE(ingress, 1);
  bytes.writeUInt16BE(port, 3);
  bytes.set(address, 5);
  return bytes;
}

/** How many bytes a path of this family takes, or 0 for a family that is none. */
export function pathLength(family: number): number {
  return family === 4 ? PATH_BYTES_V4 : family === 6 ? PATH_BYTES_V6 : 0;
}

/** A string that is equal exactly for equal paths: fit for a Map, not for reading. */
export function pathKey(path: Buffer): string {
  return path.toString("latin1");
}

/** The path bytes that `pathKey` has made this of. */
export function pathOfKey(key: string): Buffer {
  return Buffer.from(key, "latin1");
}

export const pathIngress = (path: Buffer): number => path.readUInt16BE(1);
export const pathPort = (path: Buffer): number => path.readUInt16BE(3);

/** The client's address in its usual notation. */
export function pathHost(path: Buffer): string {
  return ipaddr.fromByteArray([...path.subarray(5)]).toString();
}
