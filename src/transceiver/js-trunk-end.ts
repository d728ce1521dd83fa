/**
 * The pure-JS end of the trunk, over node:dgram: to compare the native end with.
 * The kernel's drops and the age of what it reads are hidden from it, so it cannot tell stale media.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import { bindError } from "../engine/bind-error.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { DIRECTION, type TrunkHeader, TrunkReader, TrunkWriter } from "../trunk/datagram.ts";
import { FRAME_KIND, type FrameKind, readFrames } from "../trunk/frame.ts";
import { pathKey } from "../trunk/path.ts";
import { MAX_RELAY_PORTS, TRUNK_RECEIVE_BUFFER_BYTES } from "./limits.ts";
import type { AddressPort, RelayPort, RelayPortState, TrunkEnd, TrunkEndOptions } from "./trunk-end.ts";

interface Port extends RelayPortState {
  readonly writer: TrunkWriter;
  epoch: bigint;
  address: string;
  port: number;
  heardMs: number;
  /** Whether frames wait in its writer. */
  waiting: boolean;
}

const STATE_LIVE = 0;
const STATE_DRAINING = 1;
const NOTHING = Buffer.alloc(0);

const low32 = (epoch: bigint): number => Number(BigInt.asUintN(32, epoch));

export class JsTrunkEnd implements TrunkEnd {
  readonly kind = "js";
  readonly warnings: readonly string[] = [];
  readonly #options: TrunkEndOptions;
  readonly #reader: TrunkReader;
  readonly #ports = new Map<RelayPort, Port>();
  #keys: KeyRing;
  #socket: Socket | undefined;
  #draining = false;
  /** Ports whose writers hold frames, while a datagram is handled or until the next turn of the event loop. */
  #waiting: Port[] = [];
  #handling = false;
  #flushPlanned: NodeJS.Immediate | undefined;
  readonly #sent = (error: Error | null) => {
    if (error !== null) this.#options.counters.count.trunk_send_failed++;
  };

  constructor(options: TrunkEndOptions) {
    this.#options = options;
    this.#keys = options.keys;
    this.#reader = new TrunkReader({
      direction: DIRECTION.up,
      cluster: options.cluster,
      targetId: options.id,
      targetEpoch: low32(options.epoch),
      keys: () => this.#keys,
      // Whoever holds the fleet key may be a relay of ours; there is no list of relays to compare with.
      acceptSender: () => true,
      discovery: true,
    });
  }

  async start(): Promise<AddressPort> {
    const { address, port } = this.#options.local;
    const socket = createSocket({
      type: isIPv6(address) ? "udp6" : "udp4",
      // Relay addresses are literals: this spares a trip through the resolver's queue for each datagram.
      lookup: (host, _options, callback) => callback(null, host, isIPv6(host) ? 6 : 4),
    });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("error", reject);
        socket.bind({ address, port }, () => {
          socket.off("error", reject);
          resolve();
        });
      });
    } catch (error) {
      socket.close();
      const cause = error as NodeJS.ErrnoException;
      throw bindError(cause.code ?? "EUNKNOWN", "trunk", { address, port }, cause);
    }
    // ICMP errors of earlier sends surface here; they say nothing about the next datagram.
    socket.on("error", () => {
      this.#options.counters.count.trunk_send_failed++;
    });
    socket.on("message", (datagram, from) => this.#receive(datagram, from));
    socket.setRecvBufferSize(TRUNK_RECEIVE_BUFFER_BYTES);
    this.#socket = socket;
    const bound = socket.address();
    return { address: bound.address, port: bound.port };
  }

  setKeys(keys: KeyRing): void {
    this.#keys = keys;
  }

  send(to: RelayPort, kind: FrameKind, path: Buffer | undefined, payload: Buffer): void {
    const { count } = this.#options.counters;
    if (this.#socket === undefined) return;
    const port = this.#ports.get(to);
    if (!port?.writer.append(kind, path, payload)) {
      count.frame_unsendable++;
      return;
    }
    count.frame_sent++;
    if (!port.waiting) {
      port.waiting = true;
      this.#waiting.push(port);
    }
    if (!this.#handling) this.#flushPlanned ??= setImmediate(() => this.#flush());
  }

  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    for (const id of this.#ports.keys()) this.send(id, FRAME_KIND.drain, undefined, NOTHING);
  }

  relayPorts(): Iterable<RelayPortState> {
    return this.#ports.values();
  }

  kernelDrops(): undefined {}

  async stop(): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#flush();
    this.#socket = undefined;
    await new Promise<void>((resolve) => socket.close(resolve));
  }

  #receive(datagram: Buffer, from: RemoteInfo): void {
    const { counters, onData, onUnknownPath } = this.#options;
    const { count } = counters;
    const nowMs = Date.now();
    count.trunk_received++;
    // Node throws on sending to port 0; the kernel lets datagrams come from there.
    const header = from.port === 0 ? "malformed" : this.#reader.open(datagram);
    if (typeof header === "string") {
      count[`trunk_drop_${header}`]++;
      return;
    }
    count.trunk_accepted++;
    const port = this.#port(header, from, nowMs);
    this.#handling = true;
    try {
      const { framesStart, framesEnd } = header;
      const readable = readFrames(datagram, framesStart, framesEnd, DIRECTION.up, (kind, path, payload) => {
        count.frame_received++;
        if (kind === FRAME_KIND.data) {
          count.frame_data++;
          onData(pathKey(path!), payload, port.id, nowMs);
        } else if (kind === FRAME_KIND.ping) {
          count.frame_ping++;
          this.#pong(payload, port, from);
        } else {
          count.frame_unknown_path++;
          onUnknownPath(pathKey(path!), port.id);
        }
      });
      if (!readable) count.frame_malformed++;
    } finally {
      this.#handling = false;
      this.#flush();
    }
  }

  #port(header: TrunkHeader, from: AddressPort, nowMs: number): Port {
    const { senderId, senderEpoch, targetEpoch } = header;
    const known = this.#ports.get(senderId);
    if (known === undefined) return this.#learn(header, from, nowMs);
    known.heardMs = nowMs;
    if (known.epoch !== senderEpoch) {
      // What waits is for the process that was there before.
      this.#flush();
      known.epoch = senderEpoch;
      known.writer.targetEpoch = low32(senderEpoch);
    } else if (targetEpoch === 0) {
      // A ping that does not name our epoch may be one to an earlier process of ours, replayed from elsewhere.
      return known;
    }
    known.address = from.address;
    known.port = from.port;
    return known;
  }

  #learn({ senderId, senderEpoch }: TrunkHeader, { address, port }: AddressPort, nowMs: number): Port {
    if (this.#ports.size >= MAX_RELAY_PORTS) this.#forgetMostSilent();
    const { cluster, id, epoch } = this.#options;
    const writer = new TrunkWriter({
      direction: DIRECTION.down,
      cluster,
      senderId: id,
      targetId: senderId,
      targetEpoch: low32(senderEpoch),
      senderEpoch: epoch,
      keys: () => this.#keys.signing,
    });
    const learnt = { id: senderId, epoch: senderEpoch, address, port, heardMs: nowMs, writer, waiting: false };
    this.#ports.set(senderId, learnt);
    return learnt;
  }

  #forgetMostSilent(): void {
    let silent: Port | undefined;
    for (const port of this.#ports.values()) {
      if (silent === undefined || port.heardMs < silent.heardMs) silent = port;
    }
    if (silent !== undefined) this.#ports.delete(silent.id);
  }

  /** To where this ping came from and nowhere else: if it was replayed, later pongs still go where theirs come from. */
  #pong(ping: Buffer, { writer }: Port, from: AddressPort): void {
    const { count } = this.#options.counters;
    this.#flush(); // what waits is for where the relay port is known to be
    writer.append(
      FRAME_KIND.pong,
      undefined,
      Buffer.concat([ping, Buffer.of(this.#draining ? STATE_DRAINING : STATE_LIVE)]),
    );
    count.frame_sent++;
    for (const datagram of writer.flush()) {
      count.trunk_sent++;
      this.#socket?.send(datagram, from.port, from.address, this.#sent);
    }
  }

  #flush(): void {
    if (this.#flushPlanned !== undefined) {
      clearImmediate(this.#flushPlanned);
      this.#flushPlanned = undefined;
    }
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    for (const port of waiting) {
      port.waiting = false;
      for (const datagram of port.writer.flush()) {
        this.#options.counters.count.trunk_sent++;
        this.#socket?.send(datagram, port.port, port.address, this.#sent);
      }
    }
  }
}
