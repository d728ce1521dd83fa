/**
 * Which piece of the service's speech the caller is hearing: how much of an item was played when it was cut off, and
 * which responses are cut off, so that what of them is still on its way is not heard. Pure: it holds no audio.
 */
import { MAX_CUT_RESPONSES } from "../../limits.ts";
import type { SpokenAudio } from "./events.ts";

interface Piece {
  readonly spoken: SpokenAudio;
  /** Where it begins in all that was ever written, in ms. */
  readonly fromMs: number;
}

export class Playback {
  /** Items that are not known to have been heard to their end, in order. */
  #pieces: Piece[] = [];
  readonly #cut = new Set<string>();

  /** The response that was written last. */
  get response(): string {
    return this.#pieces.at(-1)?.spoken.response ?? "";
  }

  /** False for audio of a response that was cut off. */
  takes({ response }: SpokenAudio): boolean {
    return response === "" || !this.#cut.has(response);
  }

  /** `fromMs`: what was written before; `playedMs`: how much of that was heard. */
  write(spoken: SpokenAudio, fromMs: number, playedMs: number): void {
    const last = this.#pieces.at(-1)?.spoken;
    if (last?.item === spoken.item && last.content === spoken.content) return;
    this.#pieces = this.#pieces.filter((_, index) => (this.#pieces[index + 1]?.fromMs ?? fromMs) > playedMs);
    this.#pieces.push({ spoken: { ...spoken, audio: Buffer.alloc(0) }, fromMs });
  }

  /** All that is queued is dropped. Returns the items that were not heard to their end, and how much of each was. */
  cut(playedMs: number): { readonly spoken: SpokenAudio; readonly heardMs: number }[] {
    const unheard = this.#pieces.filter((_, index) => (this.#pieces[index + 1]?.fromMs ?? playedMs + 1) > playedMs);
    for (const { spoken } of unheard) if (spoken.response !== "") this.#cut.add(spoken.response);
    for (const response of this.#cut) {
      if (this.#cut.size <= MAX_CUT_RESPONSES) break;
      this.#cut.delete(response);
    }
    this.#pieces = [];
    return unheard.map(({ spoken, fromMs }) => ({ spoken, heardMs: Math.max(0, playedMs - fromMs) }));
  }

  /** The service has begun anew and knows none of these. */
  forget(): void {
    this.#pieces = [];
    this.#cut.clear();
  }
}
