/** Brings the fleet keys of a child process up to date. A child starts with those of its init message. */
import type { Logger } from "pino";
import type { FleetKey, KeyRing } from "../keys/key-ring.ts";

interface KeyedChild {
  readonly name: string;
  readonly up: boolean;
  ask(name: "setKeys", keys: readonly FleetKey[]): Promise<undefined>;
}

/** To be called when the keys have changed, and when the child is ready: they may have changed while it started. */
export function tellKeys(child: KeyedChild, keys: KeyRing, logger: Logger): void {
  if (!child.up) return;
  child
    .ask("setKeys", keys.fleetKeys)
    .catch((error) => logger.error({ err: error, child: child.name }, `the ${child.name} was not told the fleet keys`));
}
