/**
 * The asking side of request and reply over IPC: numbers each request, and settles it with the reply, the refusal, a
 * timeout, or the end of the other side. Holds no process; the owner passes messages in.
 */
import { EarshotError } from "../earshot-error.ts";
import type { ToChild, ToFront } from "./messages.ts";

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: EarshotError) => void;
  readonly timer: NodeJS.Timeout;
}

export class Requests {
  readonly #peer: string;
  readonly #send: (message: ToChild) => void;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  constructor(peer: string, send: (message: ToChild) => void) {
    this.#peer = peer;
    this.#send = send;
  }

  ask(name: string, argument: unknown, timeoutMs: number): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new EarshotError("CHILD_SILENT", `the ${this.#peer} did not answer "${name}" within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
      this.#send({ type: "call", id, name, argument });
    });
  }

  /** Takes a reply or refusal. One that comes after its timeout is nobody's and is dropped. */
  settle(message: ToFront & { type: "reply" | "refusal" }): void {
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    this.#pending.delete(message.id);
    clearTimeout(pending.timer);
    if (message.type === "reply") pending.resolve(message.value);
    else pending.reject(new EarshotError(message.error.code, message.error.message));
  }

  /** The other side is gone: nothing will be answered any more. */
  rejectAll(error: EarshotError): void {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
  }
}
