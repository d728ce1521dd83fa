/**
 * Which relays are gone, and which others there are to try. A relay has ids for its ports, `relay id << 8 | port`; port 0
 * is its control plane's, which pings once a second. Pure: asks the trunk what it has heard, and sends nothing.
 */
import { RELAY_GONE_MS, SEEK_RELAYS } from "./limits.ts";
import type { RelayPort } from "./trunk-socket.ts";

interface Relay {
  heardMs: number;
  control: RelayPort | undefined;
}

const CONTROL_PORT = 0;

export class RelayWatch {
  readonly #ports: () => Iterable<RelayPort>;
  #relays = new Map<number, Relay>();
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(ports: () => Iterable<RelayPort>) {
    this.#ports = ports;
  }

  /** Whether the process behind this port is gone: silent, or followed by another. */
  isGone(port: RelayPort, nowMs: number): boolean {
    // Most ports have been heard of just now.
    if (nowMs - port.heardMs < RELAY_GONE_MS / 2) return false;
    const relay = this.#look(nowMs).get(relayIdOf(port));
    if (relay === undefined || nowMs - relay.heardMs >= RELAY_GONE_MS) return true;
    return port.epoch < (relay.control?.epoch ?? port.epoch) || this.#isFollowed(relay);
  }

  /** Control ports of the relays that are there, those heard of most lately first. */
  present(nowMs: number): readonly RelayPort[] {
    const found: RelayPort[] = [];
    for (const { heardMs, control } of this.#look(nowMs).values()) {
      if (control !== undefined && nowMs - heardMs < RELAY_GONE_MS) found.push(control);
    }
    return found.sort((a, b) => b.heardMs - a.heardMs).slice(0, SEEK_RELAYS);
  }

  /** Whether a relay of another id is now where this one was. */
  #isFollowed({ control, heardMs }: Relay): boolean {
    if (control === undefined) return false;
    for (const other of this.#relays.values()) {
      const { control: next } = other;
      if (next === undefined || next === control || other.heardMs < heardMs) continue;
      if (next.address === control.address && next.port === control.port) return true;
    }
    return false;
  }

  /** What is known of each relay; the same for all who ask at the same time. */
  #look(nowMs: number): ReadonlyMap<number, Relay> {
    if (nowMs === this.#lookedMs) return this.#relays;
    this.#lookedMs = nowMs;
    this.#relays = new Map();
    for (const port of this.#ports()) {
      const id = relayIdOf(port);
      const relay = this.#relays.get(id) ?? { heardMs: port.heardMs, control: undefined };
      relay.heardMs = Math.max(relay.heardMs, port.heardMs);
      if ((port.id & 0xff) === CONTROL_PORT) relay.control = port;
      this.#relays.set(id, relay);
    }
    return this.#relays;
  }
}

const relayIdOf = (port: RelayPort): number => port.id >>> 8;
