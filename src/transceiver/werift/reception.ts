/**
 * What a receiver report says of one stream of the client's: RFC 3550, appendices A.1, A.3 and A.8. Its names are those under
 * which werift's receiver reads such statistics as it writes its reports. Pure.
 */

const MAX_DROPOUT = 3_000;
const MAX_MISORDER = 100;
const CYCLE = 0x1_0000;
/** 24 bits, signed. */
const MOST_LOST = 0x7f_ffff;

export class Reception {
  readonly #clockRate: number;
  /** Extended by the cycles, as is the newest. */
  #base = -1;
  #newest = -1;
  #received = 0;
  /** The sequence that would make a restart of the stream out of a jump. */
  #restart = -1;
  #expectedBefore = 0;
  #receivedBefore = 0;
  /** In 16ths of the clock's units, as A.8 keeps it. */
  #jitter16 = 0;
  #transit: number | undefined;

  constructor(clockRate: number) {
    this.#clockRate = clockRate;
  }

  add(sequence: number, timestamp: number, nowMs: number): void {
    if (this.#newest < 0) this.#begin(sequence);
    else if (!this.#advance(sequence)) return;
    this.#received++;
    const transit = Math.trunc((nowMs * this.#clockRate) / 1_000 - timestamp) | 0;
    if (this.#transit !== undefined) {
      const difference = Math.abs((transit - this.#transit) | 0);
      this.#jitter16 += difference - ((this.#jitter16 + 8) >> 4);
    }
    this.#transit = transit;
  }

  /** RFC 3550, 6.4.1: since this was last read, in 256ths. */
  get fraction_lost(): number {
    const expected = this.#expected - this.#expectedBefore;
    const lost = expected - (this.#received - this.#receivedBefore);
    this.#expectedBefore = this.#expected;
    this.#receivedBefore = this.#received;
    return expected <= 0 || lost <= 0 ? 0 : Math.min(255, Math.floor((lost * 256) / expected));
  }

  /** Duplicates make it less than nothing; werift writes no negative numbers. */
  get packets_lost(): number {
    return Math.min(MOST_LOST, Math.max(0, this.#expected - this.#received));
  }

  /** 32 bits: the cycles, and the highest sequence. */
  get max_seq(): number {
    return Math.max(0, this.#newest) >>> 0;
  }

  get jitter(): number {
    return this.#jitter16 >> 4;
  }

  get #expected(): number {
    return this.#newest < 0 ? 0 : this.#newest - this.#base + 1;
  }

  #begin(sequence: number): void {
    this.#base = sequence;
    this.#newest = sequence;
    this.#received = 0;
    this.#restart = -1;
    this.#expectedBefore = 0;
    this.#receivedBefore = 0;
    this.#transit = undefined;
  }

  /** Whether the packet counts. */
  #advance(sequence: number): boolean {
    const ahead = (sequence - this.#newest) & 0xffff;
    if (ahead < MAX_DROPOUT) {
      this.#newest += ahead;
    } else if (ahead <= CYCLE - MAX_MISORDER) {
      // A jump: another stream under the same SSRC if the next packet follows on this one.
      const isRestart = sequence === this.#restart;
      this.#restart = (sequence + 1) & 0xffff;
      if (!isRestart) return false;
      this.#begin(sequence);
    }
    return true;
  }
}
