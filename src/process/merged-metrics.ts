/** The metrics of several processes of one kind as one text: each family once, its samples told apart by labels. Pure. */
import { AggregatorRegistry, type MetricObjectWithValues, type MetricValue } from "prom-client";

/** As `Registry.getMetricsAsJSON` gives them. */
export type MetricFamilies = MetricObjectWithValues<MetricValue<string>>[];

export interface LabelledMetrics {
  /** What tells this process from the others. */
  readonly labels: Readonly<Record<string, string>>;
  readonly metrics: MetricFamilies;
}

/** Prometheus text. With labels that differ nothing is added up. */
export function mergeMetrics(processes: readonly LabelledMetrics[]): Promise<string> {
  const labelled = processes.map(({ labels, metrics }) =>
    metrics.map((family) => ({
      ...family,
      values: family.values.map((value) => ({ ...value, labels: { ...value.labels, ...labels } })),
    })),
  );
  return AggregatorRegistry.aggregate(labelled).metrics();
}
