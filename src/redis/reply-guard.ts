/**
 * Reads along what comes from Redis (RESP2) before the client's parser gets it, and says what must not be parsed. Whoever
 * controls Redis, or has filled it, could otherwise have this process allocate gigabytes for a line that announces an array, nest until
 * there is no stack, answer without end, or answer what nobody has asked. As strict as the protocol, so that both read the same.
 * Pure: bytes in, a verdict out; allocates nothing for bytes that are in order.
 */
import { MOST_REPLY_BYTES, MOST_REPLY_DEPTH, MOST_REPLY_ITEMS } from "./limits.ts";

const [SIMPLE, ERROR, INTEGER, BULK, ARRAY] = ["+", "-", ":", "$", "*"].map((type) => type.charCodeAt(0));
const [MINUS, ZERO, NINE] = [0x2d, 0x30, 0x39];
const [CR, LF] = [0x0d, 0x0a];
/** Of a length or an integer: 64 bits with their sign. */
const MOST_NUMBER_CHARS = 20;

/** What the next byte is part of. */
const At = { type: 0, line: 1, lineEnd: 2, bulk: 3, bulkEnd: 4 } as const;
type At = (typeof At)[keyof typeof At];

export class ReplyGuard {
  #at: At = At.type;
  #type = 0;
  /** Of the line so far: characters, and its number. */
  #lineChars = 0;
  #number = 0;
  #isNegative = false;
  /** Bytes that a bulk string still has. */
  #bulkLeft = 0;
  /** Items that each open array still wants, the innermost last. */
  readonly #open: number[] = [];
  /** Of the reply so far. */
  #bytes = 0;
  #items = 0;

  /** Why these bytes must not be parsed, if they must not; nothing may follow them then. So many replies are waited for. */
  refusal(chunk: Buffer, awaited: number): string | undefined {
    // One that has begun already is the answer to the first of them.
    let left = this.#isBetween() ? awaited : awaited - 1;
    for (let i = 0; i < chunk.length; ) {
      if (this.#at === At.bulk) {
        const taken = Math.min(this.#bulkLeft, chunk.length - i);
        i += taken;
        this.#bytes += taken;
        this.#bulkLeft -= taken;
        if (this.#bulkLeft === 0) this.#at = At.bulkEnd;
        continue;
      }
      if (this.#isBetween()) {
        if (left <= 0) return "an answer to no question";
        left--;
        this.#bytes = 0;
        this.#items = 0;
      }
      this.#bytes++;
      const why = this.#byte(chunk[i++]!);
      if (why !== undefined) return why;
    }
    return this.#bytes > MOST_REPLY_BYTES ? `an answer of more than ${MOST_REPLY_BYTES} bytes` : undefined;
  }

  /** No reply has begun that has not ended. */
  #isBetween(): boolean {
    return this.#at === At.type && this.#open.length === 0;
  }

  #byte(byte: number): string | undefined {
    switch (this.#at) {
      case At.type:
        return this.#begin(byte);
      case At.line:
        return byte === CR ? this.#to(At.lineEnd) : this.#inLine(byte);
      case At.lineEnd:
        return byte === LF ? this.#lineEnds() : "a line without its end";
      default:
        return this.#bulkEnds(byte);
    }
  }

  #begin(type: number): string | undefined {
    if (type !== SIMPLE && type !== ERROR && type !== INTEGER && type !== BULK && type !== ARRAY) return "no RESP2";
    this.#items++;
    if (this.#items > MOST_REPLY_ITEMS) return `an answer of more than ${MOST_REPLY_ITEMS} items`;
    this.#type = type;
    this.#lineChars = 0;
    this.#number = 0;
    this.#isNegative = false;
    return this.#to(At.line);
  }

  #inLine(byte: number): string | undefined {
    this.#lineChars++;
    if (this.#type === SIMPLE || this.#type === ERROR) return undefined;
    if (byte === MINUS && this.#lineChars === 1) {
      this.#isNegative = true;
      return undefined;
    }
    if (byte < ZERO || byte > NINE || this.#lineChars > MOST_NUMBER_CHARS) return "a number that is none";
    this.#number = this.#number * 10 + byte - ZERO;
    return undefined;
  }

  #lineEnds(): string | undefined {
    if (this.#type === SIMPLE || this.#type === ERROR) return this.#itemEnds();
    if (this.#lineChars === (this.#isNegative ? 1 : 0)) return "a number that is none";
    if (this.#type === INTEGER) return this.#itemEnds();
    if (this.#isNegative) return this.#nothing();
    return this.#type === BULK ? this.#beginBulk() : this.#beginArray();
  }

  /** A null, which is no answer to any command of ours: only values among others may be missing. */
  #nothing(): string | undefined {
    if (this.#number !== 1) return "a negative length";
    return this.#open.length === 0 ? "nothing for an answer" : this.#itemEnds();
  }

  #beginBulk(): string | undefined {
    if (this.#number > MOST_REPLY_BYTES) return `an answer of more than ${MOST_REPLY_BYTES} bytes`;
    this.#bulkLeft = this.#number;
    this.#number = CR!;
    return this.#to(this.#bulkLeft === 0 ? At.bulkEnd : At.bulk);
  }

  #bulkEnds(byte: number): string | undefined {
    // The number is what has to come next: CR, then LF.
    if (byte !== this.#number) return "a string without its end";
    this.#number = LF!;
    return byte === LF ? this.#itemEnds() : undefined;
  }

  #beginArray(): string | undefined {
    if (this.#number === 0) return this.#itemEnds();
    if (this.#number > MOST_REPLY_ITEMS) return `an answer of more than ${MOST_REPLY_ITEMS} items`;
    if (this.#open.length === MOST_REPLY_DEPTH) return `an answer of more than ${MOST_REPLY_DEPTH} levels`;
    this.#open.push(this.#number);
    return this.#to(At.type);
  }

  #itemEnds(): undefined {
    while (this.#open.length > 0) {
      const innermost = this.#open.length - 1;
      this.#open[innermost]!--;
      if (this.#open[innermost]! > 0) break;
      this.#open.pop();
    }
    return this.#to(At.type);
  }

  #to(at: At): undefined {
    this.#at = at;
    return undefined;
  }
}
