/** A child that says first where it listens, then answers each line of input with a line of JSON, and ends with its input. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { inNetwork, type Seat, seated } from "./seat.ts";

export class LineProcess<Started, Answer> {
  readonly pid: number;
  readonly started: Started;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcessWithoutNullStreams, lines: AsyncIterator<string>, started: Started) {
    this.#child = child;
    this.#lines = lines;
    this.pid = child.pid!;
    this.started = started;
  }

  /** @param firstLine is what it is told before it says anything. */
  static async start<Started, Answer>(
    command: readonly string[],
    { cpu, networkOf }: Seat = {},
    firstLine?: string,
  ): Promise<LineProcess<Started, Answer>> {
    const [program, ...args] = inNetwork(networkOf, ...seated(cpu, ...command)) as [string, ...string[]];
    const child = spawn(program, args, { stdio: "pipe" });
    child.stderr.pipe(process.stderr);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    if (firstLine !== undefined) child.stdin.write(`${firstLine}\n`);
    return new LineProcess<Started, Answer>(child, lines, (await nextLine(lines, program)) as Started);
  }

  /** Gives it a line that it does not answer. */
  tell(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  async ask(question = ""): Promise<Answer> {
    this.#child.stdin.write(`${question}\n`);
    return (await nextLine(this.#lines, this.#child.spawnfile)) as Answer;
  }

  async stop(): Promise<void> {
    const ended = this.#ended();
    this.#child.stdin.end();
    await ended;
  }

  async kill(): Promise<void> {
    const ended = this.#ended();
    this.#child.kill("SIGKILL");
    await ended;
  }

  #ended(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => this.#child.once("close", () => resolve()));
  }
}

async function nextLine(lines: AsyncIterator<string>, program: string): Promise<unknown> {
  const { done, value } = await lines.next();
  if (done) throw new Error(`${program} has ended`);
  return JSON.parse(value);
}
