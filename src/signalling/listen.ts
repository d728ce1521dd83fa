/** Binds the HTTP server, and says what to do where that fails. */
import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import { type AddressPort, formatAddressPort } from "../config/address-port.ts";
import { EarshotError } from "../earshot-error.ts";

const WHAT_TO_DO: Readonly<Record<string, string>> = {
  EADDRINUSE: "is in use. Stop what uses it, or choose another with --http",
  EADDRNOTAVAIL: "is not an address of this host. Choose one that is with --http",
  EACCES: "may not be bound by this user. Choose a port above 1023 with --http",
};

/** Where it listens, with the port that the kernel chose. Throws with the system's code: EADDRINUSE, ... */
export async function listen(app: FastifyInstance, place: AddressPort): Promise<AddressPort> {
  try {
    await app.listen({ host: place.address, port: place.port });
  } catch (error) {
    const { code = "HTTP_LISTEN", message } = error as NodeJS.ErrnoException;
    const what = WHAT_TO_DO[code] ?? `cannot be bound: ${message}`;
    throw new EarshotError(code, `TCP ${formatAddressPort(place)} ${what}`, { cause: error });
  }
  return { address: place.address, port: (app.server.address() as AddressInfo).port };
}
