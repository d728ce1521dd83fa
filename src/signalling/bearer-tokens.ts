/**
 * A list of bearer tokens: reads it, and says whether a token is in it without saying by its time how nearly. Keeps
 * digests, never the tokens. Pure.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { EarshotError } from "../earshot-error.ts";

/** RFC 6750, section 2.1; at least as long as 96 bits are in base64url. */
const TOKEN = /^[A-Za-z0-9._~+/-]{16,512}=*$/;

export class BearerTokens {
  /** So that what is compared is of one length, and nobody can aim at a prefix of it. */
  readonly #key = randomBytes(32);
  readonly #digests: readonly Buffer[];

  /** One token on each line; empty lines and those that begin with # do not count. Throws AUTH_FILE_INVALID. */
  constructor(file: string, text: string) {
    const lines = text.split(/\r?\n/).map((line) => line.trim());
    const tokens = lines.filter((line) => line !== "" && !line.startsWith("#"));
    const wrong = lines.findIndex((line) => tokens.includes(line) && !TOKEN.test(line));
    if (wrong >= 0) {
      // What stands there may be a secret all the same, so it is not shown.
      const message = `${file}, line ${wrong + 1}: expected a token of 16 to 512 letters, digits and ._~+/-, got another text. Make one with: openssl rand -base64 24`;
      throw new EarshotError("AUTH_FILE_INVALID", message);
    }
    if (tokens.length === 0) {
      const message = `${file}: expected one token on each line, got none. Make one with: openssl rand -base64 24`;
      throw new EarshotError("AUTH_FILE_INVALID", message);
    }
    this.#digests = tokens.map((token) => this.#digest(token));
  }

  has(token: string): boolean {
    const digest = this.#digest(token);
    let found = false;
    // All of them, whichever it is.
    for (const known of this.#digests) if (timingSafeEqual(known, digest)) found = true;
    return found;
  }

  #digest(token: string): Buffer {
    return createHmac("sha256", this.#key).update(token).digest();
  }
}
