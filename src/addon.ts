/**
 * Loads the addon; the only file that knows where it is. What is in it is said by those who use it: engine/native/binding.ts,
 * transceiver/trunk-end-binding.ts and transceiver/werift/crypto-binding.ts.
 */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { EarshotError } from "./earshot-error.ts";
import { packageRoot } from "./package-root.ts";

/** The keys that are derived from one fleet key, as both ends of the trunk get them. */
export interface NativeKey {
  readonly id: number;
  readonly tokenTag: Buffer;
  readonly trunkUp: Buffer;
  readonly trunkDown: Buffer;
}

let loaded: object | undefined;

/** Throws an `EarshotError` ADDON_UNAVAILABLE when the addon is not built, or not for this Node. */
export function loadAddon(): object {
  if (loaded !== undefined) return loaded;
  const file = fileURLToPath(new URL("build/Release/earshot.node", packageRoot));
  try {
    loaded = createRequire(import.meta.url)(file) as object;
    return loaded;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new EarshotError("ADDON_UNAVAILABLE", `the addon cannot be loaded (${why}): run "npm run build"`, {
      cause,
    });
  }
}
