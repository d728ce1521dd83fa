/** Owns metrics as a scrape sees them: Prometheus text, one or several processes' together. */

const SAMPLE = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/;

interface Sample {
  readonly name: string;
  /** As in the text: `worker="1"`. */
  readonly labels: string;
  readonly value: number;
}

export class Metrics {
  readonly #text: string;
  readonly #samples: readonly Sample[];

  constructor(text: string) {
    this.#text = text;
    this.#samples = text.split("\n").flatMap((line) => {
      const [, name, labels = "", value] = SAMPLE.exec(line) ?? [];
      return name === undefined ? [] : [{ name, labels, value: Number(value) }];
    });
  }

  and(other: Metrics): Metrics {
    return new Metrics(`${this.#text}\n${other.#text}`);
  }

  /** Sum over all samples of that name that have `label`. Throws if there is none: a misspelled name is not zero. */
  sum(name: string, label = ""): number {
    const found = this.#samples.filter((sample) => sample.name === name && sample.labels.includes(label));
    if (found.length === 0) throw new Error(`no metric ${name}{${label}}`);
    return found.reduce((sum, { value }) => sum + value, 0);
  }

  /** How many samples there are of that name. */
  count(name: string): number {
    return this.#samples.filter((sample) => sample.name === name).length;
  }

  /** Sum over all names with that beginning. */
  sumOfAll(prefix: string): number {
    return this.#samples.filter(({ name }) => name.startsWith(prefix)).reduce((sum, { value }) => sum + value, 0);
  }
}
