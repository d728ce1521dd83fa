/** The relay's metrics: the packet counters of native/core/counters.def by stage, and a few gauges beside them. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { CONTROL_COUNTERS, WORKER_COUNTER, WORKER_COUNTERS } from "../engine/counters.ts";
import type { Engine } from "../engine/engine.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { ControlCounters } from "./control-counters.ts";
import type { TransceiverState } from "./directory.ts";

export interface RelayMetricsSources {
  readonly engine: Engine;
  readonly counters: ControlCounters;
  readonly keys: () => KeyRing;
  readonly transceivers: () => Record<TransceiverState, number>;
}

export function relayRegistry({ engine, counters, keys, transceivers }: RelayMetricsSources): Registry {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: "earshot_relay_" });

  for (const [i, { name, help }] of WORKER_COUNTERS.entries()) {
    new Counter({
      name: `earshot_relay_${name}_total`,
      help,
      labelNames: ["worker"],
      registers,
      collect() {
        this.reset();
        for (const [w, values] of engine.counters().entries()) this.inc({ worker: w + 1 }, values[i]!);
      },
    });
  }
  for (const { name, help } of CONTROL_COUNTERS) {
    new Counter({
      name: `earshot_relay_${name}_total`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(counters.get(name));
      },
    });
  }
  new Counter({
    name: "earshot_relay_kernel_drops_total",
    help: "datagrams that the kernel dropped because a receive buffer was full; not among the received",
    labelNames: ["socket"],
    registers,
    collect() {
      this.reset();
      const drops = engine.kernelDrops();
      if (drops === undefined) return;
      this.inc({ socket: "public" }, drops.public);
      this.inc({ socket: "trunk" }, drops.trunk);
    },
  });
  new Gauge({
    name: "earshot_relay_receive_buffer_bytes",
    help: "receive buffer that the kernel granted, the least of all sockets of that kind; less than the setting receiveBuffer where net.core.rmem_max is lower",
    labelNames: ["socket"],
    registers,
    collect() {
      const granted = engine.receiveBufferBytes();
      this.set({ socket: "public" }, granted.public);
      this.set({ socket: "trunk" }, granted.trunk);
    },
  });
  new Gauge({
    name: "earshot_relay_held",
    help: "binding requests on their way to the control plane or back, and datagrams of paths that are looked up",
    registers,
    collect() {
      this.set(held(engine, counters));
    },
  });
  new Gauge({
    name: "earshot_relay_flows",
    help: "flows in the table, by state",
    labelNames: ["state"],
    registers,
    collect() {
      const { flows, tentative } = engine.flowCounts();
      this.set({ state: "tentative" }, tentative);
      this.set({ state: "assured" }, flows - tentative);
    },
  });
  new Gauge({
    name: "earshot_relay_flow_capacity",
    help: "flows that the table can hold",
    registers,
    collect() {
      this.set(engine.flowCounts().capacity);
    },
  });
  new Gauge({
    name: "earshot_relay_transceivers",
    help: "transceivers in the directory, by state",
    labelNames: ["state"],
    registers,
    collect() {
      for (const [state, count] of Object.entries(transceivers())) this.set({ state }, count);
    },
  });
  new Gauge({
    name: "earshot_relay_fleet_key",
    help: "fleet keys that verify, by id: 1 for the one that signs, 0 for the others",
    labelNames: ["id"],
    registers,
    collect() {
      this.reset();
      for (const { id } of keys().all) this.set({ id }, id === keys().signing.id ? 1 : 0);
    },
  });
  new Gauge({
    name: "earshot_relay_engine_info",
    help: "1 for the engine that forwards",
    labelNames: ["engine"],
    registers,
    collect() {
      this.set({ engine: engine.kind }, 1);
    },
  });
  return registry;
}

function held(engine: Engine, counters: ControlCounters): number {
  let waiting = 0;
  for (const values of engine.counters()) {
    waiting += values[WORKER_COUNTER.up_missed]! - values[WORKER_COUNTER.up_reoffered]!;
    waiting += values[WORKER_COUNTER.up_held]! - values[WORKER_COUNTER.up_released]!;
  }
  for (const { name } of CONTROL_COUNTERS) {
    if (name.startsWith("miss_drop_")) waiting -= counters.get(name);
  }
  return waiting;
}
