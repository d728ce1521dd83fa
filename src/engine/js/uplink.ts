/**
 * Owns a client datagram's way through the JS engine: check the source, classify, look up, put it on its way to its
 * transceiver. Every datagram ends in exactly one counter. Never answers a client, and decides nothing: what it cannot
 * place it drops or hands to the control plane.
 */
import type { KeyRing } from "../../keys/key-ring.ts";
import { localUfrag, readStun, STUN_CLASS, STUN_METHOD_BINDING, type StunMessage } from "../../stun/stun-reader.ts";
import { openToken } from "../../token/token.ts";
import { pathKey } from "../../trunk/path.ts";
import { WORKER_COUNTER } from "../counters.ts";
import { CONTROL_KIND, type ControlRecord, type HoldVerdict, type Slot } from "../engine.ts";
import { clientPath } from "./client-source.ts";
import type { ControlQueue } from "./control-queue.ts";
import { type Flow, type FlowTable, holdsUfrag } from "./flow-table.ts";
import { Hold } from "./hold.ts";
import { PACKET_CLASS, packetClass } from "./packet-class.ts";
import type { TransceiverTable } from "./transceiver-table.ts";

/** What the native engine's receive buffers hold. An Ethernet UDP payload is at most 1,472 bytes. */
export const RECEIVE_BUFFER_BYTES = 2_048;

const NOTHING = Buffer.alloc(0);

/** The counter that a datagram ended in, or undefined where the trunk will count it when the kernel has answered. */
type Outcome = number | undefined;

/** How a datagram ends that was held for a path without a flow. */
const HOLD_DROP = {
  unknown: WORKER_COUNTER.up_drop_hold_unknown,
  failed: WORKER_COUNTER.up_drop_hold_failed,
  budget: WORKER_COUNTER.up_drop_hold_budget,
} as const satisfies Record<HoldVerdict, number>;

export interface UplinkOptions {
  readonly worker: number;
  readonly counters: Float64Array;
  readonly flows: FlowTable;
  readonly transceivers: TransceiverTable;
  readonly control: ControlQueue;
  readonly keys: () => KeyRing;
}

export class Uplink {
  readonly #options: UplinkOptions;
  readonly #hold = new Hold();
  /** How long a datagram may be held, ms; 0 = not at all. */
  #holdMs = 0;

  constructor(options: UplinkOptions) {
    this.#options = options;
  }

  receive(datagram: Buffer, ingress: number, ingressIsLoopback: boolean, host: string, port: number): void {
    const { counters } = this.#options;
    counters[WORKER_COUNTER.up_received]! += 1;
    const outcome = this.#place(datagram, ingress, ingressIsLoopback, host, port);
    if (outcome !== undefined) counters[outcome]! += 1;
  }

  /** A miss comes back, because the control plane has made room for it; it is looked up once more. */
  reoffer(record: ControlRecord): void {
    const { counters } = this.#options;
    counters[WORKER_COUNTER.up_reoffered]! += 1;
    const message = readStun(record.payload);
    const ufrag = message && localUfrag(message);
    const flow = this.#flow(record.path);
    const slot = flow && ufrag !== undefined ? this.#slotOfUfrag(flow, ufrag) : undefined;
    if (slot === undefined) {
      counters[WORKER_COUNTER.up_drop_still_unknown]! += 1;
    } else {
      this.#options.transceivers.forward(slot, record.path, record.payload);
    }
  }

  hold(mostMs: number): void {
    this.#holdMs = mostMs;
    if (mostMs > 0) return;
    this.#hold.settleAll(this.#release(WORKER_COUNTER.up_drop_hold_over));
  }

  settle(path: Buffer, verdict: HoldVerdict): void {
    this.#hold.settle(path, performance.now(), this.#release(HOLD_DROP[verdict]));
  }

  #release(withoutFlow: number): (path: Buffer, datagram: Buffer, untilMs: number) => void {
    const { counters } = this.#options;
    const nowMs = performance.now();
    return (path, datagram, untilMs) => {
      counters[WORKER_COUNTER.up_released]! += 1;
      const isStale = nowMs > untilMs;
      const outcome = isStale ? WORKER_COUNTER.up_drop_hold_stale : this.#placeByClass(datagram, path);
      if (outcome === undefined) return;
      counters[outcome === WORKER_COUNTER.up_drop_no_flow ? withoutFlow : outcome]! += 1;
    };
  }

  #place(datagram: Buffer, ingress: number, ingressIsLoopback: boolean, host: string, port: number): Outcome {
    if (datagram.length === 0) return WORKER_COUNTER.up_drop_empty;
    if (datagram.length > RECEIVE_BUFFER_BYTES) return WORKER_COUNTER.up_drop_truncated;
    const path = clientPath(ingress, ingressIsLoopback, host, port);
    if (!path) return WORKER_COUNTER.up_drop_source;
    const outcome = this.#placeByClass(datagram, path);
    return outcome === WORKER_COUNTER.up_drop_no_flow ? this.#unplaced(datagram, path) : outcome;
  }

  #placeByClass(datagram: Buffer, path: Buffer): Outcome {
    const kind = packetClass(datagram[0]!);
    if (kind === PACKET_CLASS.other) return WORKER_COUNTER.up_drop_class;
    return kind === PACKET_CLASS.stun ? this.#placeStun(datagram, path) : this.#placeMedia(datagram, path);
  }

  /** Nobody knows its path here. Soon after a start Redis may, and the control plane asks. */
  #unplaced(datagram: Buffer, path: Buffer): Outcome {
    if (this.#holdMs === 0) return WORKER_COUNTER.up_drop_no_flow;
    const { worker, control } = this.#options;
    const nowMs = performance.now();
    const ask = () => control.push({ kind: CONTROL_KIND.heldPath, worker, path, slot: 0, payload: NOTHING });
    switch (this.#hold.put(path, datagram, nowMs, nowMs + this.#holdMs, ask)) {
      case "held":
        return WORKER_COUNTER.up_held;
      case "full":
        return WORKER_COUNTER.up_drop_hold_full;
      case "settled-lately":
        return WORKER_COUNTER.up_drop_no_flow;
    }
  }

  #placeMedia(datagram: Buffer, path: Buffer): Outcome {
    const flow = this.#flow(path);
    if (!flow) return WORKER_COUNTER.up_drop_no_flow;
    if (!flow.assured) return WORKER_COUNTER.up_drop_tentative;
    this.#options.transceivers.forward(flow.owner.slot, path, datagram);
    return undefined;
  }

  #placeStun(datagram: Buffer, path: Buffer): Outcome {
    const message = readStun(datagram);
    if (!message) return WORKER_COUNTER.up_drop_stun_malformed;
    if (message.method !== STUN_METHOD_BINDING) return WORKER_COUNTER.up_drop_stun_method;
    if (message.class === STUN_CLASS.request) return this.#placeRequest(message, path);

    const flow = this.#flow(path);
    if (!flow) return WORKER_COUNTER.up_drop_no_flow;
    const { transceivers, counters } = this.#options;
    transceivers.forward(flow.owner.slot, path, datagram);
    // A response names nobody: it may answer the owner's check or the pending session's.
    if (message.class !== STUN_CLASS.indication && flow.pending && !transceivers.isRetired(flow.pending.slot)) {
      transceivers.forward(flow.pending.slot, path, datagram, true);
      counters[WORKER_COUNTER.up_copied]! += 1;
    }
    return undefined;
  }

  #placeRequest(message: StunMessage, path: Buffer): Outcome {
    const ufrag = localUfrag(message);
    if (ufrag === undefined) return WORKER_COUNTER.up_drop_ufrag;
    const flow = this.#flow(path);
    const slot = flow && this.#slotOfUfrag(flow, ufrag);
    if (slot !== undefined) {
      this.#options.transceivers.forward(slot, path, message.bytes);
      return undefined;
    }
    const { worker, control, keys } = this.#options;
    const opened = openToken(ufrag, keys());
    // A tag that is right makes it a miss, whatever is inside: that is the control plane's to judge.
    if (!opened.ok) {
      if (opened.reason === "characters") return WORKER_COUNTER.up_drop_ufrag;
      if (opened.reason !== "kind" && opened.reason !== "reserved") return WORKER_COUNTER.up_drop_tag;
    }
    const queued = control.push({ kind: CONTROL_KIND.miss, worker, path, slot: 0, payload: message.bytes });
    return queued ? WORKER_COUNTER.up_missed : WORKER_COUNTER.up_drop_miss_full;
  }

  /** The path's flow, unless its owner is gone: then the path is free for whoever asks next. */
  #flow(path: Buffer): Flow | undefined {
    const flow = this.#options.flows.get(pathKey(path));
    return flow && !this.#options.transceivers.isRetired(flow.owner.slot) ? flow : undefined;
  }

  #slotOfUfrag(flow: Flow, ufrag: string): Slot | undefined {
    if (holdsUfrag(flow.owner, ufrag)) return flow.owner.slot;
    const { pending } = flow;
    if (!pending || !holdsUfrag(pending, ufrag)) return undefined;
    return this.#options.transceivers.isRetired(pending.slot) ? undefined : pending.slot;
  }
}
