/**
 * Owns a trunk datagram's way through the JS engine: check it, read its frames, send each to its client. Every datagram
 * and every frame ends in exactly one counter. Sends only to a path that has a flow, and only what its owner or pending
 * session may send: the relay is no open proxy.
 */
import type { Socket } from "node:dgram";
import type { KeyRing } from "../../keys/key-ring.ts";
import { readStun, STUN_CLASS, STUN_METHOD_BINDING } from "../../stun/stun-reader.ts";
import { DIRECTION, TrunkReader, type TrunkReject } from "../../trunk/datagram.ts";
import { FRAME_KIND, readFrames } from "../../trunk/frame.ts";
import { pathIngress, pathKey } from "../../trunk/path.ts";
import { WORKER_COUNTER } from "../counters.ts";
import { CONTROL_KIND, type ControlKind, type Slot } from "../engine.ts";
import type { ControlQueue } from "./control-queue.ts";
import type { FlowTable } from "./flow-table.ts";
import { send } from "./sockets.ts";
import type { TransceiverTable } from "./transceiver-table.ts";
import { UnknownPaths } from "./unknown-paths.ts";
import { RECEIVE_BUFFER_BYTES } from "./uplink.ts";

const REJECTED = {
  malformed: WORKER_COUNTER.down_drop_malformed,
  key: WORKER_COUNTER.down_drop_key,
  tag: WORKER_COUNTER.down_drop_tag,
  target: WORKER_COUNTER.down_drop_target,
  sender: WORKER_COUNTER.down_drop_sender,
  replay: WORKER_COUNTER.down_drop_replay,
} as const satisfies Record<TrunkReject, number>;

const CONTROL_KIND_OF = new Map<number, ControlKind>([
  [FRAME_KIND.promote, CONTROL_KIND.promote],
  [FRAME_KIND.flowEnd, CONTROL_KIND.flowEnd],
  [FRAME_KIND.assert, CONTROL_KIND.assert],
]);

const NOTHING = Buffer.alloc(0);

/** The counter that a frame ended in, or undefined where the kernel's answer to the send decides. */
type Outcome = number | undefined;

export interface DownlinkOptions {
  readonly worker: number;
  readonly cluster: number;
  readonly targetId: number;
  readonly targetEpoch: number;
  readonly counters: Float64Array;
  readonly flows: FlowTable;
  readonly transceivers: TransceiverTable;
  readonly control: ControlQueue;
  readonly keys: () => KeyRing;
  readonly socketOf: (ingress: number) => Socket | undefined;
}

export class Downlink {
  readonly #options: DownlinkOptions;
  readonly #reader: TrunkReader;
  readonly #sent: (error: Error | null) => void;
  readonly #unknownPaths = new UnknownPaths();

  constructor(options: DownlinkOptions) {
    this.#options = options;
    const { cluster, targetId, targetEpoch, keys, transceivers, counters } = options;
    this.#reader = new TrunkReader({
      direction: DIRECTION.down,
      cluster,
      targetId,
      targetEpoch,
      keys,
      acceptSender: (id, epoch) => transceivers.slotOf(id, epoch) !== undefined,
    });
    this.#sent = (error) => {
      counters[error ? WORKER_COUNTER.frame_drop_send : WORKER_COUNTER.frame_forwarded]! += 1;
    };
  }

  receive(datagram: Buffer): void {
    const { counters, transceivers } = this.#options;
    counters[WORKER_COUNTER.down_received]! += 1;
    if (datagram.length > RECEIVE_BUFFER_BYTES) {
      counters[WORKER_COUNTER.down_drop_truncated]! += 1;
      return;
    }
    const header = this.#reader.open(datagram);
    if (typeof header === "string") {
      counters[REJECTED[header]]! += 1;
      return;
    }
    counters[WORKER_COUNTER.down_accepted]! += 1;
    const sender = transceivers.slotOf(header.senderId, header.senderEpoch)!;
    const { framesStart, framesEnd } = header;
    const readable = readFrames(datagram, framesStart, framesEnd, DIRECTION.down, (kind, path, payload) => {
      this.#count(this.#place(sender, kind, path, payload));
    });
    if (!readable) this.#count(WORKER_COUNTER.frame_drop_malformed);
  }

  #count(outcome: Outcome): void {
    const { counters } = this.#options;
    counters[WORKER_COUNTER.frame_received]! += 1;
    if (outcome !== undefined) counters[outcome]! += 1;
  }

  #place(sender: Slot, kind: number, path: Buffer | undefined, payload: Buffer): Outcome {
    // Pong and drain are for the control plane's port.
    if (!path) return WORKER_COUNTER.frame_drop_malformed;
    if (kind === FRAME_KIND.data) return this.#placeData(sender, path, payload);
    const controlKind = CONTROL_KIND_OF.get(kind);
    if (controlKind === undefined) return WORKER_COUNTER.frame_drop_malformed;
    const { worker, control } = this.#options;
    const queued = control.push({ kind: controlKind, worker, path, slot: sender, payload });
    return queued ? WORKER_COUNTER.frame_control : WORKER_COUNTER.frame_drop_control_full;
  }

  #placeData(sender: Slot, path: Buffer, payload: Buffer): Outcome {
    const { flows, socketOf } = this.#options;
    const key = pathKey(path);
    const flow = flows.get(key);
    if (!flow) {
      this.#tellUnknown(sender, path, key);
      return WORKER_COUNTER.frame_drop_unknown_path;
    }
    const isOwner = flow.owner.slot === sender;
    if (!isOwner && flow.pending?.slot !== sender) return WORKER_COUNTER.frame_drop_not_owner;
    if (!isOwner || !flow.assured) {
      const message = readStun(payload);
      if (message?.method !== STUN_METHOD_BINDING) return WORKER_COUNTER.frame_drop_not_stun;
      // Before it is sent: the client's next datagram may be on its way as soon as it has this one.
      if (isOwner && message.class === STUN_CLASS.success) flows.assure(flow);
    }
    const socket = socketOf(flow.ingress);
    if (!socket) return WORKER_COUNTER.frame_drop_unknown_path;
    if (isOwner) flows.seen(flow);
    send(socket, payload, flow.port, flow.host, this.#sent);
    return undefined;
  }

  /** The sender may own a path that was forgotten here: the control plane is told, and asks it. */
  #tellUnknown(sender: Slot, path: Buffer, key: string): void {
    const { worker, control, socketOf } = this.#options;
    if (!socketOf(pathIngress(path)) || !this.#unknownPaths.take(key, performance.now())) return;
    control.push({ kind: CONTROL_KIND.unknownPath, worker, path, slot: sender, payload: NOTHING });
  }
}
