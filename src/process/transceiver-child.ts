/** Entry of a transceiver process: hosts one Transceiver. It never speaks HTTP, and never shares a process with a relay. */
import type { Logger } from "pino";
import { type AddressPort, addressFamily, isWildcard } from "../config/address-port.ts";
import { hostAddresses } from "../config/ingresses.ts";
import { KeyRing } from "../keys/key-ring.ts";
import { Heartbeats } from "../redis/heartbeats.ts";
import { RedisLink } from "../redis/redis-link.ts";
import type { RedisSettings } from "../relay/relay.ts";
import { loadBackend } from "../transceiver/backends/load-backend.ts";
import { TransceiverCounters } from "../transceiver/counters.ts";
import { Transceiver } from "../transceiver/transceiver.ts";
import { hostChild } from "./child-host.ts";
import type { TransceiverCalls, TransceiverEvents, TransceiverInit, TransceiverReady } from "./messages.ts";

hostChild<TransceiverInit, TransceiverReady, TransceiverCalls, TransceiverEvents>(
  "transceiver",
  async (init, logger, emit) => {
    const counters = new TransceiverCounters();
    const epoch = processEpoch();
    let keys = new KeyRing(init.fleetKeys);
    const transceiver = new Transceiver({
      ...(await loadBackend(init.backend, counters)),
      counters,
      maxQueuedAudioMs: init.maxQueuedAudioMs,
      id: init.id,
      cluster: init.cluster,
      epoch,
      keys,
      trunk: init.trunk,
      advertise: init.advertise,
      maxCallMs: init.maxCallMs,
      maxIdleMs: init.maxIdleMs,
      limits: { maxCalls: init.maxCalls },
      logger,
      onCallEnded: (callId, reason) => emit("callEnded", { callId, reason }),
    });
    const trunk = await transceiver.start();
    const heartbeats = init.redis && startHeartbeats(init, init.redis, epoch, trunk, transceiver, () => keys, logger);
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
          keys = new KeyRing(fleetKeys);
          transceiver.setKeys(keys);
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
      stop: async () => {
        await heartbeats?.stop();
        await transceiver.stop();
      },
    };
  },
);

/** An epoch's low 32 bits are never 0 (docs/trunk-protocol.md, "Ids"). */
function processEpoch(): bigint {
  const now = BigInt(Date.now());
  return (now & 0xffffffffn) === 0n ? now + 1n : now;
}

/** Says in Redis where this transceiver is, until it is stopped. */
function startHeartbeats(
  { id, cluster }: TransceiverInit,
  redis: RedisSettings,
  epoch: bigint,
  trunk: AddressPort,
  transceiver: Transceiver,
  keys: () => KeyRing,
  logger: Logger,
): { stop(): Promise<void> } {
  const link = new RedisLink({ ...redis, cluster, logger });
  link.open();
  // A wildcard is no place to send to: the first address of this host stands for it.
  const address = isWildcard(trunk.address) ? hostAddresses(addressFamily(trunk.address))[0] : trunk.address;
  const place = { id, address: address ?? trunk.address, port: trunk.port };
  const isDraining = () => !transceiver.health().ok;
  const heartbeats = new Heartbeats({ link, cluster, keys, place, epoch, isDraining });
  return {
    stop: async () => {
      await heartbeats.stop();
      await link.close();
    },
  };
}
