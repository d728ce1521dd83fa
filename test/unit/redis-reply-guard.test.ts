/** What of an answer of Redis gets to the client's parser. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MOST_REPLY_BYTES, MOST_REPLY_DEPTH, MOST_REPLY_ITEMS } from "../../src/redis/limits.ts";
import { ReplyGuard } from "../../src/redis/reply-guard.ts";

/** The verdict on these bytes, in chunks of so many; so many replies are waited for. */
function verdict(text: string, awaited = 1_000, chunkBytes = Number.POSITIVE_INFINITY): string | undefined {
  const guard = new ReplyGuard();
  const bytes = Buffer.from(text, "latin1");
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    const why = guard.refusal(bytes.subarray(at, at + chunkBytes), awaited);
    if (why !== undefined) return why;
  }
  return undefined;
}

const nested = (levels: number): string => `${"*1\r\n".repeat(levels)}:1\r\n`;
const TOO_LONG = `an answer of more than ${MOST_REPLY_BYTES} bytes`;
const TOO_MANY = `an answer of more than ${MOST_REPLY_ITEMS} items`;
const NO_NUMBER = "a number that is none";

const CASES: readonly (readonly [text: string, why?: string])[] = [
  ["+OK\r\n"],
  ["-ERR no\r\n:1\r\n:-1\r\n"],
  ["$0\r\n\r\n$3\r\na\r\n\r\n"],
  ["*0\r\n*2\r\n$-1\r\n*-1\r\n+OK\r\n"],
  ["*2\r\n*1\r\n*2\r\n$1\r\na\r\n:2\r\n*0\r\n+OK\r\n"],
  [nested(MOST_REPLY_DEPTH)],
  [`*${MOST_REPLY_ITEMS - 1}\r\n${":1\r\n".repeat(MOST_REPLY_ITEMS - 1)}`],
  [`$${MOST_REPLY_BYTES - 20}\r\n${"x".repeat(MOST_REPLY_BYTES - 20)}\r\n`],
  ["hello\r\n", "no RESP2"],
  ["_\r\n", "no RESP2"],
  [">1\r\n+x\r\n", "no RESP2"],
  ["*1\r\n%1\r\n", "no RESP2"],
  ["$-1\r\n", "nothing for an answer"],
  ["*-1\r\n", "nothing for an answer"],
  ["*1\r\n$-2\r\n", "a negative length"],
  ["$\r\n", NO_NUMBER],
  ["$-\r\n", NO_NUMBER],
  ["*1e3\r\n", NO_NUMBER],
  ["$?\r\n", NO_NUMBER],
  [":1-1\r\n", NO_NUMBER],
  [`:${"1".repeat(30)}\r\n`, NO_NUMBER],
  ["+OK\r*1\r\n", "a line without its end"],
  ["$1\r\nab\r\n", "a string without its end"],
  ["$1\r\na\r\r", "a string without its end"],
  ["$2147483647\r\n", TOO_LONG],
  ["*4294967295\r\n", TOO_MANY],
  [`*2\r\n*${MOST_REPLY_ITEMS - 2}\r\n${":1\r\n".repeat(MOST_REPLY_ITEMS - 2)}:1\r\n`, TOO_MANY],
  [nested(MOST_REPLY_DEPTH + 1), `an answer of more than ${MOST_REPLY_DEPTH} levels`],
  [`+${"x".repeat(MOST_REPLY_BYTES)}`, TOO_LONG],
  [
    `*2\r\n$${MOST_REPLY_BYTES >> 1}\r\n${"x".repeat(MOST_REPLY_BYTES >> 1)}\r\n$${MOST_REPLY_BYTES >> 1}\r\n${"x".repeat(MOST_REPLY_BYTES >> 1)}\r\n`,
    TOO_LONG,
  ],
];

for (const [text, why] of CASES) {
  test(`${JSON.stringify(text.slice(0, 30))}, ${text.length} bytes: ${why ?? "in order"}`, () => {
    assert.equal(verdict(text), why);
    assert.equal(verdict(text, 1_000, 65_536), why);
    if (text.length < 1_000) for (const chunkBytes of [1, 2, 3, 7]) assert.equal(verdict(text, 1_000, chunkBytes), why);
  });
}

test("there are no more answers than questions", () => {
  assert.equal(verdict("+OK\r\n+OK\r\n", 2), undefined);
  assert.equal(verdict("+OK\r\n+OK\r\n+OK\r\n", 2), "an answer to no question");
  assert.equal(verdict("+OK\r\n", 0), "an answer to no question");
  // The rest of an answer that has begun asks for no further question, but its command waits until its end.
  const guard = new ReplyGuard();
  assert.equal(guard.refusal(Buffer.from("*2\r\n:1"), 1), undefined);
  assert.equal(guard.refusal(Buffer.from("\r\n:2\r"), 1), undefined);
  assert.equal(guard.refusal(Buffer.from("\n$-1\r\n"), 1), "an answer to no question");
});
