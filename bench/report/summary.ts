/** Several runs of one measurement, as the three figures that a result gives of them. */
export interface Summary {
  /** In the order in which they were measured. */
  readonly samples: readonly number[];
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Of an even number of them the mean of the two in the middle. Throws where there are none, or one is no number. */
export function median(samples: readonly number[]): number {
  return summarize(samples).median;
}

export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new RangeError("expected at least one sample");
  const bad = samples.find((sample) => !Number.isFinite(sample));
  if (bad !== undefined) throw new RangeError(`expected numbers, got ${bad}`);
  const sorted = [...samples].sort((a, b) => a - b);
  const low = sorted[(sorted.length - 1) >> 1]!;
  const high = sorted[sorted.length >> 1]!;
  return { samples, median: (low + high) / 2, least: sorted[0]!, most: sorted.at(-1)! };
}

/** How far the furthest sample lies from the median, in parts of the median. */
export function spread({ median, least, most }: Summary): number {
  return median === 0 ? 0 : Math.max(most - median, median - least) / Math.abs(median);
}
