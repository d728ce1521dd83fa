/** The error that both engines raise when an address cannot be bound: what, where, and what to do. */
import { isIPv6 } from "node:net";
import { EarshotError } from "../earshot-error.ts";

const ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process has it; stop that process or choose another port",
  EADDRNOTAVAIL: "this host has no such address; use one that `ip address` shows",
  EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher port or grant it",
  EINVAL: "expected a literal IPv4 or IPv6 address",
};

/** `code` is the name of an errno, and becomes the error's code. */
export function bindError(
  code: string,
  what: "ingress" | "trunk",
  where: { readonly address: string; readonly port: number },
  cause?: Error,
): EarshotError {
  const place = isIPv6(where.address) ? `[${where.address}]:${where.port}` : `${where.address}:${where.port}`;
  const advice = ADVICE[code] ?? cause?.message ?? "the kernel refused";
  return new EarshotError(code, `cannot bind ${what} to UDP ${place}: ${advice}`, { cause });
}
