/**
 * If-Match, with which a client says which ICE session of a call it means (RFC 9110, section 13.1.1; RFC 9725, section
 * 4.3.1). Pure.
 */
import { EarshotError } from "../earshot-error.ts";

/** One of a list: a weak tag never matches, so its W/ is kept. */
const TAG = /(?:W\/)?"[!#-~\x80-\xff]*"/g;

/**
 * What the header stands for, if it holds: `any` is `*`. Throws PRECONDITION_REQUIRED without the header, and
 * PRECONDITION_FAILED if it names no tag that is `current`.
 */
export function checkIfMatch(header: string | undefined, current: string): "any" | "tag" {
  if (header === undefined) {
    const message = 'expected If-Match with the ETag of the call\'s ICE session, or "*" to restart ICE';
    throw new EarshotError("PRECONDITION_REQUIRED", message);
  }
  if (header.trim() === "*") return "any";
  if (header.match(TAG)?.includes(current)) return "tag";
  const message = `the call is in another ICE session than ${header.slice(0, 60)}: take the ETag of the last answer`;
  throw new EarshotError("PRECONDITION_FAILED", message);
}
