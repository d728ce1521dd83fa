/**
 * Metrics of the front process, and how those of its children are added: as text, since each process has its own
 * registry. Families cannot clash, because each process has its own prefix.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";

/** What a scrape needs of a child process. */
export interface MeasuredChild {
  readonly name: string;
  readonly up: boolean;
  readonly restarts: number;
}

/** What a scrape needs of where the fleet keys come from. */
export interface MeasuredKeys {
  readonly ok: boolean;
  readonly failures: number;
}

export interface FrontMetricsOptions {
  readonly children: readonly MeasuredChild[];
  /** Where the text of other registries comes from; one that fails is left out of that scrape. */
  readonly others: readonly (() => Promise<string>)[];
  /** Absent where there is no signalling. */
  readonly calls?: { readonly count: number; readonly refusals: ReadonlyMap<string, number> };
  /** Absent where the keys are in no file. */
  readonly keys?: MeasuredKeys | undefined;
}

export class FrontMetrics {
  readonly #registry = new Registry();
  readonly #others: readonly (() => Promise<string>)[];
  readonly requests: Counter<"route" | "method" | "status">;
  readonly evictedConnections: Counter;

  constructor({ children, others, calls, keys }: FrontMetricsOptions) {
    this.#others = others;
    collectDefaultMetrics({ register: this.#registry, prefix: "earshot_front_" });
    this.requests = new Counter({
      name: "earshot_front_http_requests_total",
      help: "HTTP requests answered",
      labelNames: ["route", "method", "status"],
      registers: [this.#registry],
    });
    this.evictedConnections = new Counter({
      name: "earshot_front_http_connections_evicted_total",
      help: "HTTP connections that were closed because there were too many, those without an answer for the longest time",
      registers: [this.#registry],
    });
    if (calls !== undefined) {
      this.#gauge("open_calls", "calls that a Location stands for", () => calls.count);
      this.#countRefusals(calls.refusals);
    }
    if (keys !== undefined) this.#measureKeys(keys);
    for (const { name, help, value } of CHILD_GAUGES) {
      if (children.length > 0) this.#childGauge(name, help, children, value);
    }
  }

  async text(): Promise<string> {
    const texts = await Promise.allSettled([this.#registry.metrics(), ...this.#others.map((metrics) => metrics())]);
    return texts.map((text) => (text.status === "fulfilled" ? `${text.value.trimEnd()}\n` : "")).join("");
  }

  #gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name: `earshot_front_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.set(value());
      },
    });
  }

  #countRefusals(refusals: ReadonlyMap<string, number>): void {
    new Counter({
      name: "earshot_front_calls_refused_total",
      help: "new calls that were refused after their offer was looked at, by the code that the client was given",
      labelNames: ["code"],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [code, count] of refusals) this.inc({ code }, count);
      },
    });
  }

  #measureKeys(keys: MeasuredKeys): void {
    this.#gauge("key_file_ok", "1 if the key file could be used when it was last read", () => (keys.ok ? 1 : 0));
    new Counter({
      name: "earshot_front_key_file_failures_total",
      help: "times that the key file turned out to be unusable; the keys of before stay in use",
      registers: [this.#registry],
      collect() {
        this.reset();
        this.inc(keys.failures);
      },
    });
  }

  #childGauge(
    name: string,
    help: string,
    children: readonly MeasuredChild[],
    value: (child: MeasuredChild) => number,
  ): void {
    new Gauge({
      name: `earshot_front_${name}`,
      help,
      labelNames: ["child"],
      registers: [this.#registry],
      collect() {
        for (const child of children) this.set({ child: child.name }, value(child));
      },
    });
  }
}

const CHILD_GAUGES = [
  {
    name: "child_up",
    help: "1 while a child process is ready",
    value: (child: MeasuredChild) => (child.up ? 1 : 0),
  },
  {
    name: "child_restarts",
    help: "how often a child process was started again",
    value: (child: MeasuredChild) => child.restarts,
  },
];
