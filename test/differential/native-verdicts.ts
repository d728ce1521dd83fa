/** Owns the program of native_verdicts.cc: builds it, starts it, and asks it about blocks of datagrams. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { VERDICT_BYTES, type World } from "./verdicts.ts";

export const QUESTION = { begin: 0, clientDatagram: 1, trunkUp: 2, trunkDown: 3, source: 4, flush: 5 } as const;
/** A question's length and kind. */
export const QUESTION_HEAD_BYTES = 5;

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const FLUSH = question(QUESTION.flush, Buffer.alloc(0));

export function question(kind: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(QUESTION_HEAD_BYTES);
  head.writeUInt32BE(payload.length, 0);
  head[4] = kind;
  return Buffer.concat([head, payload]);
}

export class NativeVerdicts {
  readonly #program: ChildProcessWithoutNullStreams;

  constructor() {
    execFileSync("make", ["--silent", `--jobs=${availableParallelism()}`, "-C", `${ROOT}test/native`, "verdicts"]);
    this.#program = spawn(`${ROOT}build/test-native/plain/verdicts`);
    this.#program.stderr.pipe(process.stderr);
  }

  /** Forgets all that it has heard, and takes over who we are and whom we know. */
  begin(world: World): void {
    const identity = Buffer.alloc(10);
    identity.writeUInt16BE(world.cluster, 0);
    identity.writeUInt32BE(world.targetId, 2);
    identity.writeUInt32BE(world.targetEpoch, 6);
    const senders = world.senders.map(({ id, epoch }) => {
      const bytes = Buffer.alloc(12);
      bytes.writeUInt32BE(id, 0);
      bytes.writeBigUInt64BE(epoch, 4);
      return bytes;
    });
    const keys = world.ring.all.map((each) =>
      Buffer.concat([Buffer.from([each.id]), each.tokenTag, each.trunkUp, each.trunkDown]),
    );
    const counted = (items: readonly Buffer[]): Buffer => Buffer.concat([Buffer.from([items.length]), ...items]);
    this.#program.stdin.write(question(QUESTION.begin, Buffer.concat([identity, counted(senders), counted(keys)])));
  }

  /** The verdicts on a block of questions, `count` of them, in their order. The block must stay as it is until then. */
  ask(block: Buffer, count: number): Promise<Buffer> {
    this.#program.stdin.write(block);
    this.#program.stdin.write(FLUSH);
    const wanted = count * VERDICT_BYTES;
    const chunks: Buffer[] = [];
    let got = 0;
    return new Promise((resolve, reject) => {
      const onData = (chunk: Buffer) => {
        chunks.push(chunk);
        got += chunk.length;
        if (got >= wanted) settle(() => resolve(Buffer.concat(chunks)));
      };
      const onExit = (code: number | null, signal: string | null) => {
        settle(() => reject(new Error(`the native readers ended with ${code ?? signal} while they were asked`)));
      };
      const settle = (outcome: () => void) => {
        this.#program.stdout.off("data", onData);
        this.#program.off("exit", onExit);
        outcome();
      };
      this.#program.stdout.on("data", onData);
      this.#program.on("exit", onExit);
    });
  }

  async close(): Promise<void> {
    if (this.#program.exitCode !== null) return;
    const ended = once(this.#program, "exit");
    this.#program.stdin.end();
    await ended;
  }
}
