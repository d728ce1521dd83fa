/**
 * What the keeper keeps while working processes come and go: the relay's sockets, the memory of its flow table, and who it
 * is on the trunk. Owns the descriptors; passes them on by inheritance. It neither reads a socket nor looks into the memory.
 */
import { randomInt } from "node:crypto";
import { closeSync, ftruncateSync } from "node:fs";
import type { Ingress } from "../engine/engine.ts";
import { loadBinding } from "../engine/native/binding.ts";
import { type LaneOptions, OpenLanes } from "../engine/native/lanes.ts";
import { type RelayIdentity, relayIdentity } from "../relay/identity.ts";
import { FIRST_DESCRIPTOR } from "./child.ts";
import type { KeptPlaces } from "./messages.ts";

export class Kept {
  readonly identity: RelayIdentity = relayIdentity(randomInt(1, 2 ** 24), Date.now());
  readonly #lanes: OpenLanes;
  readonly #records: number;
  #memory: number;
  /** During an upgrade: what the new process takes if it lays memory out differently. */
  #next: number | undefined;

  /** Throws an `EarshotError`: ADDON_UNAVAILABLE, or as Engine.start does (EADDRINUSE and the like). */
  constructor(options: LaneOptions) {
    this.#lanes = new OpenLanes(options);
    this.#records = loadBinding().makeKeptMemory();
    this.#memory = loadBinding().makeKeptMemory();
  }

  /** As bound, with the ports that the kernel chose. */
  get ingresses(): readonly Ingress[] {
    return this.#lanes.ingresses;
  }
  get warnings(): readonly string[] {
    return this.#lanes.warnings;
  }

  /** What a working process inherits. */
  get descriptors(): readonly number[] {
    return [
      this.#memory,
      this.#records,
      ...this.#lanes.descriptors.flatMap(({ publics, trunk }) => [...publics, trunk]),
    ];
  }

  get places(): KeptPlaces {
    let next = FIRST_DESCRIPTOR;
    const memory = next++;
    const records = next++;
    const lanes = this.#lanes.descriptors.map(({ publics }) => ({ publics: publics.map(() => next++), trunk: next++ }));
    return { memory, records, lanes };
  }

  /** An upgrade begins. Returns what the new process inherits after the `descriptors`. */
  offerNext(): readonly number[] {
    this.#next = loadBinding().makeKeptMemory();
    return [this.#next];
  }

  /** Where it finds that. */
  get placeOfNext(): number {
    return FIRST_DESCRIPTOR + this.descriptors.length;
  }

  /** The upgrade is over: what was offered is the memory from now on, or of no use. */
  settleNext(isTaken: boolean): void {
    if (this.#next === undefined) return;
    closeSync(isTaken ? this.#memory : this.#next);
    if (isTaken) this.#memory = this.#next;
    this.#next = undefined;
    ftruncateSync(this.#records);
  }

  /** The flows that were kept are gone; processes that have been started before do not see the new memory. */
  renewMemory(): void {
    closeSync(this.#memory);
    this.#memory = loadBinding().makeKeptMemory();
  }

  close(): void {
    this.#lanes.close();
    this.settleNext(false);
    closeSync(this.#memory);
    closeSync(this.#records);
  }
}
