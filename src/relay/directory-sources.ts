/**
 * Which transceivers there may be, from several sources: the operator's list, DNS, heartbeats in Redis. Owns what they have
 * named and what of that is believed; that a transceiver is there at all, only its answer to a ping says. So a source that goes
 * silent removes nobody who still answers, and one that names another address for him moves nobody. Nothing outside the
 * allowed networks gets in. Pure: the time is an argument.
 */
import ipaddr from "ipaddr.js";
import type { Logger } from "pino";
import type { DirectoryEntry } from "./directory.ts";
import { FORGET_UNNAMED_MS } from "./limits.ts";

/** Whose word counts first, first. */
export const SOURCES = ["static", "dns", "redis"] as const;
export type SourceName = (typeof SOURCES)[number];

export interface DirectorySourcesOptions {
  /** Whether the trunk may send there. */
  readonly isAllowed: (address: string) => boolean;
  /** Whether this transceiver answers pings, where it is believed to be. */
  readonly answers: (id: number) => boolean;
  /** Takes the whole list, when it has changed. */
  readonly apply: (entries: readonly DirectoryEntry[]) => void;
  readonly logger: Logger;
}

interface Believed {
  readonly entry: DirectoryEntry;
  readonly source: SourceName;
  namedMs: number;
}

export class DirectorySources {
  /** Entries that were refused because of where they are. */
  readonly refused: Record<SourceName, number> = { static: 0, dns: 0, redis: 0 };
  readonly #options: DirectorySourcesOptions;
  readonly #named: Record<SourceName, ReadonlyMap<number, DirectoryEntry>> = {
    static: new Map(),
    dns: new Map(),
    redis: new Map(),
  };
  readonly #believed = new Map<number, Believed>();
  #applied = "";

  constructor(options: DirectorySourcesOptions) {
    this.#options = options;
  }

  /** All that a source names now. A source that cannot be asked says nothing. */
  set(source: SourceName, entries: readonly DirectoryEntry[], nowMs: number): void {
    const named = new Map<number, DirectoryEntry>();
    for (const { id, address: given, port } of entries) {
      const address = ipaddr.process(given).toString();
      if (this.#options.isAllowed(address)) named.set(id, { id, address, port });
      else this.#refuse(source, id, address);
    }
    this.#named[source] = named;
    this.tick(nowMs);
  }

  /**
   * Those of the process before this one. Sources take a while to name them again; until then, and as long as they answer, they
   * stay, as if a source had named them that is now silent.
   */
  adopt(entries: readonly DirectoryEntry[], nowMs: number): void {
    for (const { id, address, port } of entries) {
      this.#believed.set(id, { entry: { id, address, port }, source: "redis", namedMs: nowMs });
    }
    this.tick(nowMs);
  }

  /** To be called now and then: who stays away is forgotten. */
  tick(nowMs: number): void {
    const { answers, apply } = this.#options;
    const ids = new Set(this.#believed.keys());
    for (const source of SOURCES) for (const id of this.#named[source].keys()) ids.add(id);
    for (const id of ids) {
      const source = SOURCES.find((one) => this.#named[one].has(id));
      const now = this.#believed.get(id);
      if (source !== undefined) {
        const entry = this.#named[source].get(id)!;
        const isMoved = now !== undefined && (now.entry.address !== entry.address || now.entry.port !== entry.port);
        if (isMoved && source !== "static" && answers(id)) now.namedMs = nowMs;
        else this.#believed.set(id, { entry, source, namedMs: nowMs });
      } else if (now !== undefined) {
        const stays = now.source !== "static" && (answers(id) || nowMs - now.namedMs < FORGET_UNNAMED_MS);
        if (!stays) this.#believed.delete(id);
      }
    }
    const entries = [...this.#believed.values()].map(({ entry }) => entry).sort((a, b) => a.id - b.id);
    const text = JSON.stringify(entries);
    if (text === this.#applied) return;
    this.#applied = text;
    apply(entries);
  }

  #refuse(source: SourceName, id: number, address: string): void {
    // A source that names it names it again and again: one line tells as much as a thousand.
    if (this.refused[source]++ === 0) {
      const what = "a transceiver outside the allowed networks is not used; name its network in directoryNetworks";
      this.#options.logger.warn({ source, transceiver: id, address }, what);
    }
  }
}

/** A network in CIDR notation, as ipaddr.js has it. */
export type Network = readonly [address: ipaddr.IPv4 | ipaddr.IPv6, bits: number];

/** v4-mapped IPv6 in either counts as IPv4. */
export function networkOf(cidr: string): Network | undefined {
  const [text = "", bitsText, ...rest] = cidr.trim().split("/");
  if (rest.length > 0 || !ipaddr.isValid(text)) return undefined;
  const given = ipaddr.parse(text);
  const address = ipaddr.process(text);
  const mapped = given.kind() !== address.kind() ? 96 : 0;
  const most = address.kind() === "ipv4" ? 32 : 128;
  const bits = bitsText === undefined ? most : /^\d{1,3}$/.test(bitsText) ? Number(bitsText) - mapped : -1;
  return bits < 0 || bits > most ? undefined : [address, bits];
}

export function isInNetworks(address: string, networks: readonly Network[]): boolean {
  const one = ipaddr.process(address);
  return networks.some(([network, bits]) => one.kind() === network.kind() && one.match(network as ipaddr.IPv4, bits));
}
