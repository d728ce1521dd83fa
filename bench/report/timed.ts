/** Times calls with tinybench, in rounds: each round runs every task once, so that what disturbs one disturbs its rivals too. */
import { Bench, type FnOptions } from "tinybench";

export interface Timed {
  readonly name: string;
  /** In one sample of `run`: reading the clock costs as much as the fastest of them. */
  readonly calls: number;
  readonly run: () => void;
  /** Before each sample, not timed. */
  readonly before?: () => void;
  /** Once, before the task's first sample of each round's warm-up and measurement. */
  readonly beforeAll?: () => void;
}

/** Of one call, in ns; one figure for each round. */
export interface Times {
  readonly median: readonly number[];
  readonly p99: readonly number[];
}

export interface Rounds {
  readonly rounds: number;
  /** For each task in each round. */
  readonly timeMs: number;
}

export async function timeInRounds(tasks: readonly Timed[], { rounds, timeMs }: Rounds): Promise<Times[]> {
  const times = tasks.map(() => ({ median: [] as number[], p99: [] as number[] }));
  for (let round = 0; round < rounds; round++) {
    const bench = new Bench({ time: timeMs, warmupTime: timeMs / 4, throws: true });
    for (const task of tasks) {
      const options: FnOptions = {};
      if (task.before !== undefined) options.beforeEach = task.before;
      if (task.beforeAll !== undefined) options.beforeAll = task.beforeAll;
      bench.add(task.name, task.run, options);
    }
    await bench.run();
    for (const [i, { name, result }] of bench.tasks.entries()) {
      if (result.state !== "completed") throw new Error(`${name}: ${result.state}`);
      const nsPerCall = 1e6 / tasks[i]!.calls;
      times[i]!.median.push(result.latency.p50 * nsPerCall);
      times[i]!.p99.push(result.latency.p99 * nsPerCall);
    }
  }
  return times;
}
