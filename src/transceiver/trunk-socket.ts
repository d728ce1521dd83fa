/**
 * The one UDP socket that all sessions of a transceiver share. Owns the trunk's bytes: it reads frames from relays,
 * remembers each relay port, and packs what goes back. It answers pings itself. It knows neither STUN nor sessions, and
 * nothing that the network brings makes it throw.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import { EarshotError } from "../earshot-error.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { DIRECTION, type TrunkHeader, TrunkReader, TrunkWriter } from "../trunk/datagram.ts";
import { FRAME_KIND, type FrameKind, readFrames } from "../trunk/frame.ts";
import type { TransceiverCounters } from "./counters.ts";
import { MAX_RELAY_PORTS, RELAY_SILENCE_MS, TRUNK_RECEIVE_BUFFER_BYTES } from "./limits.ts";

export interface AddressPort {
  readonly address: string;
  readonly port: number;
}

export interface TrunkSocketOptions {
  /** Of this transceiver. */
  readonly id: number;
  readonly cluster: number;
  readonly epoch: bigint;
  /** Those of now; asked for each datagram. */
  readonly keys: () => KeyRing;
  readonly local: AddressPort;
  readonly counters: TransceiverCounters;
  /** A client's datagram. `path` and `datagram` are views; the datagram may be kept, at the price of what it came in. */
  readonly onData: (path: Buffer, datagram: Buffer, from: RelayPort, nowMs: number) => void;
  /** The relay has no flow for this path. */
  readonly onUnknownPath: (path: Buffer, from: RelayPort) => void;
}

/** One trunk port of one relay, as last heard from. */
export class RelayPort {
  readonly id: number;
  readonly writer: TrunkWriter;
  epoch: bigint;
  address: string;
  port: number;
  heardMs: number;
  /** Whether frames wait in its writer. */
  waiting = false;

  constructor(id: number, epoch: bigint, from: AddressPort, nowMs: number, writer: TrunkWriter) {
    this.id = id;
    this.epoch = epoch;
    this.address = from.address;
    this.port = from.port;
    this.heardMs = nowMs;
    this.writer = writer;
  }
}

const STATE_LIVE = 0;
const STATE_DRAINING = 1;
const NOTHING = Buffer.alloc(0);

const low32 = (epoch: bigint): number => Number(BigInt.asUintN(32, epoch));

export class TrunkSocket {
  readonly #options: TrunkSocketOptions;
  readonly #reader: TrunkReader;
  readonly #relayPorts = new Map<number, RelayPort>();
  #socket: Socket | undefined;
  #draining = false;
  /** Relay ports whose writers hold frames, while a datagram is handled or until the next turn of the event loop. */
  #waiting: RelayPort[] = [];
  #handling = false;
  #flushPlanned: NodeJS.Immediate | undefined;
  readonly #sent = (error: Error | null) => {
    if (error !== null) this.#options.counters.count.trunk_send_failed++;
  };

  constructor(options: TrunkSocketOptions) {
    this.#options = options;
    this.#reader = new TrunkReader({
      direction: DIRECTION.up,
      cluster: options.cluster,
      targetId: options.id,
      targetEpoch: low32(options.epoch),
      keys: options.keys,
      // Whoever holds the fleet key may be a relay of ours; there is no list of relays to compare with.
      acceptSender: () => true,
      discovery: true,
    });
  }

  /** Binds. Throws an `EarshotError` with the code of the operating system (EADDRINUSE, EADDRNOTAVAIL, EACCES, ...). */
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
      const { code = "TRUNK_BIND", message } = error as NodeJS.ErrnoException;
      const advice = "choose an address of this host and a free port for the trunk";
      throw new EarshotError(code, `cannot open the trunk at ${address} port ${port} (${message}): ${advice}`);
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

  /** Sends a client's datagram, or a control frame about its path, to the relay port. */
  send(relayPort: RelayPort, kind: FrameKind, path: Buffer | undefined, payload: Buffer): void {
    const { count } = this.#options.counters;
    if (this.#socket === undefined) return;
    if (!relayPort.writer.append(kind, path, payload)) {
      count.frame_unsendable++;
      return;
    }
    count.frame_sent++;
    if (!relayPort.waiting) {
      relayPort.waiting = true;
      this.#waiting.push(relayPort);
    }
    if (!this.#handling) this.#flushPlanned ??= setImmediate(() => this.#flush());
  }

  /** From now on pongs say "draining"; each relay that is there is also told at once. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    for (const relayPort of this.#relayPorts.values()) this.send(relayPort, FRAME_KIND.drain, undefined, NOTHING);
  }

  /** Every relay port that it remembers, heard of lately or not. */
  relayPorts(): Iterable<RelayPort> {
    return this.#relayPorts.values();
  }

  /** How many relay ports were heard from in the last 3 s. */
  liveRelayPorts(nowMs: number): number {
    let live = 0;
    for (const { heardMs } of this.#relayPorts.values()) if (nowMs - heardMs < RELAY_SILENCE_MS) live++;
    return live;
  }

  /** Sends what waits, and closes. Safe to call twice. */
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
    const relayPort = this.#relayPort(header, from, nowMs);
    this.#handling = true;
    try {
      const { framesStart, framesEnd } = header;
      const readable = readFrames(datagram, framesStart, framesEnd, DIRECTION.up, (kind, path, payload) => {
        count.frame_received++;
        if (kind === FRAME_KIND.data) {
          count.frame_data++;
          onData(path!, payload, relayPort, nowMs);
        } else if (kind === FRAME_KIND.ping) {
          count.frame_ping++;
          this.#pong(payload, relayPort, from);
        } else {
          count.frame_unknown_path++;
          onUnknownPath(path!, relayPort);
        }
      });
      if (!readable) count.frame_malformed++;
    } finally {
      this.#handling = false;
      this.#flush();
    }
  }

  #relayPort(header: TrunkHeader, from: AddressPort, nowMs: number): RelayPort {
    const { senderId, senderEpoch, targetEpoch } = header;
    let relayPort = this.#relayPorts.get(senderId);
    if (relayPort === undefined) {
      if (this.#relayPorts.size >= MAX_RELAY_PORTS) this.#forgetMostSilent();
      const { cluster, id, epoch, keys } = this.#options;
      const writer = new TrunkWriter({
        direction: DIRECTION.down,
        cluster,
        senderId: id,
        targetId: senderId,
        targetEpoch: low32(senderEpoch),
        senderEpoch: epoch,
        keys: () => keys().signing,
      });
      relayPort = new RelayPort(senderId, senderEpoch, from, nowMs, writer);
      this.#relayPorts.set(senderId, relayPort);
      return relayPort;
    }
    if (relayPort.epoch !== senderEpoch) {
      // What waits is for the process that was there before.
      this.#flush();
      relayPort.epoch = senderEpoch;
      relayPort.writer.targetEpoch = low32(senderEpoch);
    } else if (targetEpoch === 0) {
      // A ping that does not name our epoch may be one to an earlier process of ours, replayed from elsewhere.
      relayPort.heardMs = nowMs;
      return relayPort;
    }
    relayPort.address = from.address;
    relayPort.port = from.port;
    relayPort.heardMs = nowMs;
    return relayPort;
  }

  #forgetMostSilent(): void {
    let silent: RelayPort | undefined;
    for (const relayPort of this.#relayPorts.values()) {
      if (silent === undefined || relayPort.heardMs < silent.heardMs) silent = relayPort;
    }
    if (silent !== undefined) this.#relayPorts.delete(silent.id);
  }

  /** To where this ping came from and nowhere else: if it was replayed, later pongs still go where theirs come from. */
  #pong(ping: Buffer, { writer }: RelayPort, from: AddressPort): void {
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
    for (const relayPort of waiting) {
      relayPort.waiting = false;
      for (const datagram of relayPort.writer.flush()) {
        this.#options.counters.count.trunk_sent++;
        this.#socket?.send(datagram, relayPort.port, relayPort.address, this.#sent);
      }
    }
  }
}
