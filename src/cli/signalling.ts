/** What `start` and `transceiver` have in common: who may make calls, and with what the HTTP server is built. */
import type { Logger } from "pino";
import { type AddressPort, formatAddressPort, isLoopback } from "../config/address-port.ts";
import type { Config } from "../config/schema.ts";
import { BearerAuth } from "../signalling/bearer-auth.ts";
import type { CallService } from "../signalling/call-service.ts";
import { iceServerLink } from "../signalling/links.ts";
import type { ServerOptions } from "../signalling/server.ts";

type SignallingConfig = Pick<
  Config<"transceiver">,
  "authTokens" | "jwtKeys" | "jwtIssuer" | "jwtAudience" | "corsOrigin" | "iceServers"
>;

/** Undefined if everybody may make calls. Throws AUTH_FILE_MISSING and AUTH_FILE_INVALID. */
export function openAuth(config: SignallingConfig, logger: Logger): Promise<BearerAuth | undefined> {
  return BearerAuth.open({
    tokensFile: config.authTokens,
    jwtKeysFile: config.jwtKeys,
    issuer: config.jwtIssuer,
    audience: config.jwtAudience,
    logger,
  });
}

export function signallingOptions(
  config: SignallingConfig,
  service: CallService,
  auth: BearerAuth | undefined,
): NonNullable<ServerOptions["calls"]> {
  return {
    service,
    corsOrigin: config.corsOrigin,
    links: config.iceServers.map(iceServerLink),
    authorize: auth && ((header) => auth.authorize(header)),
  };
}

/** An operator who opens the address to others is to know that it is open to all of them. */
export function warnIfOpen(http: AddressPort, auth: BearerAuth | undefined, logger: Logger): void {
  if (auth !== undefined || isLoopback(http.address)) return;
  logger.warn(
    { http: formatAddressPort(http) },
    "everybody who reaches the HTTP address may make calls: give --auth-tokens or --jwt-keys, or put your own authentication in front",
  );
}
