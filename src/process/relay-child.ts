/** Entry of a relay process: hosts one Relay. It never speaks HTTP, and never shares a process with a transceiver. */
import { EarshotError } from "../earshot-error.ts";
import { loadBinding } from "../engine/native/binding.ts";
import { KeyRing } from "../keys/key-ring.ts";
import { Relay } from "../relay/relay.ts";
import { hostChild, type Open } from "./child-host.ts";
import { aboutRelay, type HandOver } from "./hand-over.ts";
import type { RelayCalls, RelayEvents, RelayInit, RelayReady } from "./messages.ts";

// The end of the keeper is the end of its sockets and of this process, before another keeper can start.
if (process.connected) dieWithKeeper();

const open: Open<RelayInit, RelayReady, RelayCalls, RelayEvents> = async (init, logger) => {
  const { fleetKeys, logLevel: _, ...options } = init;
  const relay = new Relay({ ...options, keys: new KeyRing(fleetKeys), logger });
  await relay.start();
  return {
    ready: {
      ingresses: relay.ingresses,
      engineKind: relay.engineKind,
      workers: relay.workers,
      imported: relay.imported,
    },
    answers: {
      setDirectory: (entries) => {
        relay.setDirectory(entries);
        return undefined;
      },
      setKeys: (fleetKeys) => {
        relay.setKeys(new KeyRing(fleetKeys));
        return undefined;
      },
      traffic: () => relay.traffic(),
      metrics: () => relay.registry.metrics(),
      health: () =>
        relay.ready() ? { ok: true } : { ok: false, reason: "the relay does not forward, or no transceiver is live" },
    },
    stop: () => relay.stop(),
    letGo: (handOver) => relay.letGo(handOver as HandOver | undefined),
  };
};

hostChild("relay", open, aboutRelay());

/** Without the addon the channel's end does it, which takes a turn of the event loop. */
function dieWithKeeper(): void {
  try {
    loadBinding().dieWithParent(process.ppid);
  } catch (error) {
    if (!(error instanceof EarshotError)) throw error;
  }
}
