/**
 * Opens lanes without an engine, for a process that keeps them while engines come and go: it passes the descriptors on by
 * inheritance, and they are `adopted` there. Owns the descriptors until close(); knows nothing of packets.
 */
import type { EngineOptions, Ingress, LaneDescriptors } from "../engine.ts";
import { loadBinding } from "./binding.ts";
import { startError } from "./start-error.ts";

export type LaneOptions = Pick<EngineOptions, "ingresses" | "trunk" | "lanes" | "receiveBufferBytes">;

export class OpenLanes {
  /** As bound, with the ports that the kernel chose. */
  readonly ingresses: readonly Ingress[];
  /** Trunk port of each lane, lane 1 first. */
  readonly trunkPorts: readonly number[];
  /** Their sockets, closed on exec: a child gets what is passed on to it. Not to be closed by anybody else. */
  readonly descriptors: readonly LaneDescriptors[];
  readonly warnings: readonly string[];
  #isOpen = true;

  /**
   * Throws an `EarshotError`: ADDON_UNAVAILABLE, or as Engine.start does (EADDRINUSE and the like); then nothing stays open.
   */
  constructor(options: LaneOptions) {
    const opened = loadBinding().openLanes(options);
    if ("errno" in opened) throw startError(opened, options);
    this.ingresses = options.ingresses.map((ingress, i) => ({ ...ingress, port: opened.ingressPorts[i]! }));
    this.trunkPorts = opened.lanes.map(({ trunkPort }) => trunkPort);
    this.descriptors = opened.lanes.map(({ publics, trunk }) => ({ publics, trunk }));
    this.warnings = opened.warnings;
  }

  /** Safe to call twice. Engines that have adopted them go on: theirs are duplicates. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    loadBinding().closeLanes(this.descriptors);
  }
}
