/**
 * Sequence numbers of one m-line that we send. A backend's frames may come from a client's stream, and when the client
 * begins another one its numbers jump; SRTP would take numbers that fall back for packets that are long sent. Pure.
 */

/** RFC 3550, appendix A.1: more than these ahead or behind is another stream. */
const MAX_DROPOUT = 3_000;
const MAX_MISORDER = 100;

export class OutgoingSequence {
  #newest: number | undefined;
  #offset = 0;

  /** For a frame that its backend gives this number. */
  next(sequence: number): number {
    this.#newest ??= sequence;
    const ahead = (((sequence - this.#newest + 0x8000) & 0xffff) - 0x8000) | 0;
    if (ahead > MAX_DROPOUT || ahead < -MAX_MISORDER) this.#offset += this.#newest + 1 - sequence;
    if (ahead > 0 || ahead < -MAX_MISORDER) this.#newest = sequence;
    return (sequence + this.#offset) & 0xffff;
  }
}
