/**
 * Which relays are gone, and which others there are to try. A relay has ids for its ports, `relay id << 8 | port`; port 0
 * is its control plane's, which pings once a second. Pure: asks the trunk what it has heard, and sends nothing.
 */
import { RELAY_GONE_MS, RELAY_SILENCE_MS, SEEK_RELAYS } from "./limits.ts";
import type { RelayPort, RelayPortState } from "./trunk-end.ts";

interface Relay {
  heardMs: number;
  control: RelayPortState | undefined;
}

interface Heard {
  readonly ports: ReadonlyMap<RelayPort, RelayPortState>;
  readonly relays: ReadonlyMap<number, Relay>;
}

export class RelayWatch {
  readonly #ports: (nowMs: number) => Iterable<RelayPortState>;
  #heard: Heard = { ports: new Map(), relays: new Map() };
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(ports: (nowMs: number) => Iterable<RelayPortState>) {
    this.#ports = ports;
  }

  /** Whether the process behind this port is gone: silent, or followed by another. */
  isGone(id: RelayPort, nowMs: number): boolean {
    const { ports, relays } = this.#look(nowMs);
    const port = ports.get(id);
    const relay = relays.get(relayIdOf(id));
    if (port === undefined || relay === undefined) return true;
    if (nowMs - port.heardMs < RELAY_GONE_MS / 2) return false;
    if (nowMs - relay.heardMs >= RELAY_GONE_MS) return true;
    return port.epoch < (relay.control?.epoch ?? port.epoch) || isFollowed(relay, relays.values());
  }

  /** Control ports of the relays that are there, those heard of most lately first. */
  present(nowMs: number): readonly RelayPort[] {
    const found: RelayPortState[] = [];
    for (const { heardMs, control } of this.#look(nowMs).relays.values()) {
      if (control !== undefined && nowMs - heardMs < RELAY_GONE_MS) found.push(control);
    }
    const latest = found.sort((a, b) => b.heardMs - a.heardMs).slice(0, SEEK_RELAYS);
    return latest.map(({ id }) => id);
  }

  /** How many relay ports were heard from in the last 3 s. */
  live(nowMs: number): number {
    let live = 0;
    for (const { heardMs } of this.#ports(nowMs)) if (nowMs - heardMs < RELAY_SILENCE_MS) live++;
    return live;
  }

  /** What is known of each relay; the same for all who ask at the same time. */
  #look(nowMs: number): Heard {
    if (nowMs === this.#lookedMs) return this.#heard;
    this.#lookedMs = nowMs;
    const ports = new Map<RelayPort, RelayPortState>();
    const relays = new Map<number, Relay>();
    for (const port of this.#ports(nowMs)) {
      ports.set(port.id, port);
      const id = relayIdOf(port.id);
      const relay = relays.get(id) ?? { heardMs: port.heardMs, control: undefined };
      relay.heardMs = Math.max(relay.heardMs, port.heardMs);
      if (port.id === controlPortOf(port.id)) relay.control = port;
      relays.set(id, relay);
    }
    this.#heard = { ports, relays };
    return this.#heard;
  }
}

/** The port of the control plane of the relay that has this port. */
export const controlPortOf = (id: RelayPort): RelayPort => (id & ~0xff) >>> 0;

const relayIdOf = (id: RelayPort): number => id >>> 8;

/** Whether a relay of another id is now where this one was. */
function isFollowed({ control, heardMs }: Relay, relays: Iterable<Relay>): boolean {
  if (control === undefined) return false;
  for (const { control: next, heardMs: nextHeardMs } of relays) {
    if (next === undefined || next === control || nextHeardMs < heardMs) continue;
    if (next.address === control.address && next.port === control.port) return true;
  }
  return false;
}
