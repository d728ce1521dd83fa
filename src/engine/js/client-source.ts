/** Owns the question whether a client can have an address, and its path. Pure: no sockets. */
import { isIPv4 } from "node:net";
import { PATH_BYTES_V4, pathBytes } from "../../trunk/path.ts";

const FIRST_LINK_LOCAL = 0xfe80;
const LAST_LINK_LOCAL = 0xfebf;

/**
 * The path of a datagram's source, or undefined where no client can have that source. Loopback counts only where the
 * ingress itself is on loopback, or one host could be made to talk to its own services.
 */
export function clientPath(
  ingress: number,
  ingressIsLoopback: boolean,
  host: string,
  port: number,
): Buffer | undefined {
  if (port === 0) return undefined;
  if (isIPv4(host)) {
    const path = ipv4Path(ingress, host, port);
    const first = path[5]!;
    // "This network", multicast, reserved and broadcast.
    if (first === 0 || first >= 224) return undefined;
    return first !== 127 || ingressIsLoopback ? path : undefined;
  }
  // A zone follows link-local addresses only: a reply would need the interface.
  if (host.includes("%")) return undefined;
  const path = pathBytes(ingress, host, port);
  // IPv6 sockets are V6ONLY: a v4-mapped source is never on the wire.
  if (path.length === PATH_BYTES_V4) return undefined;
  const group = path.readUInt16BE(5);
  if (group >= 0xff00 || (group >= FIRST_LINK_LOCAL && group <= LAST_LINK_LOCAL)) return undefined;
  // ::/96 holds loopback, the unspecified address, and IPv4 in a notation withdrawn by RFC 4291, section 2.5.5.1.
  if (path.subarray(5, 17).every((byte) => byte === 0)) return host === "::1" && ingressIsLoopback ? path : undefined;
  return path;
}

/** pathBytes for the dotted notation that the kernel's addresses come in; it is run for every datagram. */
function ipv4Path(ingress: number, host: string, port: number): Buffer {
  const bytes = Buffer.allocUnsafe(PATH_BYTES_V4);
  bytes[0] = 4;
  bytes.writeUInt16BE(ingress, 1);
  bytes.writeUInt16BE(port, 3);
  let at = 5;
  let octet = 0;
  for (let i = 0; i < host.length; i += 1) {
    const char = host.charCodeAt(i);
    if (char === 0x2e) {
      bytes[at] = octet;
      at += 1;
      octet = 0;
    } else {
      octet = octet * 10 + char - 0x30;
    }
  }
  bytes[at] = octet;
  return bytes;
}
