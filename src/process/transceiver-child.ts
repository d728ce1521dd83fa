/** Entry of a transceiver process: hosts one Transceiver. It never speaks HTTP, and never shares a process with a relay. */
import { KeyRing } from "../keys/key-ring.ts";
import { loadBackend } from "../transceiver/backends/load-backend.ts";
import { TransceiverCounters } from "../transceiver/counters.ts";
import { Transceiver } from "../transceiver/transceiver.ts";
import { hostChild } from "./child-host.ts";
import type { TransceiverCalls, TransceiverEvents, TransceiverInit, TransceiverReady } from "./messages.ts";

hostChild<TransceiverInit, TransceiverReady, TransceiverCalls, TransceiverEvents>(
  "transceiver",
  async (init, logger, emit) => {
    const counters = new TransceiverCounters();
    const transceiver = new Transceiver({
      ...(await loadBackend(init.backend, counters)),
      counters,
      maxQueuedAudioMs: init.maxQueuedAudioMs,
      id: init.id,
      cluster: init.cluster,
      epoch: processEpoch(),
      keys: new KeyRing(init.fleetKeys),
      trunk: init.trunk,
      advertise: init.advertise,
      maxCallMs: init.maxCallMs,
      maxIdleMs: init.maxIdleMs,
      limits: { maxCalls: init.maxCalls },
      logger,
      onCallEnded: (callId, reason) => emit("callEnded", { callId, reason }),
    });
    const trunk = await transceiver.start();
    return {
      ready: { trunk },
      answers: {
        createCall: ({ offerSdp, ingest }) => transceiver.createCall(offerSdp, { ingest }),
        updateCall: ({ callId, offerSdp }) => transceiver.updateCall(callId, offerSdp),
        takeFragment: ({ callId, fragment, mayRepeat }) => transceiver.takeFragment(callId, fragment, mayRepeat),
        describeCall: (callId) => transceiver.describeCall(callId),
        endCall: (callId) => transceiver.endCall(callId),
        setAdvertise: (places) => {
          transceiver.setAdvertise(places);
          return undefined;
        },
        setKeys: (fleetKeys) => {
          transceiver.setKeys(new KeyRing(fleetKeys));
          return undefined;
        },
        drain: () => {
          transceiver.drain();
          return undefined;
        },
        metrics: () => transceiver.registry.getMetricsAsJSON(),
        health: () => {
          const { ok, state } = transceiver.health();
          return ok ? { ok } : { ok, reason: `the transceiver is ${state}` };
        },
      },
      absorbFault: (error) => transceiver.absorbFault(error),
      stop: () => transceiver.stop(),
    };
  },
);

/** An epoch's low 32 bits are never 0 (docs/trunk-protocol.md, "Ids"). */
function processEpoch(): bigint {
  const now = BigInt(Date.now());
  return (now & 0xffffffffn) === 0n ? now + 1n : now;
}
