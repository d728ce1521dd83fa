/** The control plane's own counters, by the names in native/core/counters.def. */
import { CONTROL_COUNTERS, type ControlCounterName } from "../engine/counters.ts";

export class ControlCounters {
  readonly #values = new Map<ControlCounterName, number>(CONTROL_COUNTERS.map(({ name }) => [name, 0]));

  add(name: ControlCounterName): void {
    this.#values.set(name, this.get(name) + 1);
  }
  get(name: ControlCounterName): number {
    return this.#values.get(name) ?? 0;
  }
}
