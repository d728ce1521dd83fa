/**
 * Who may make calls: whoever brings a bearer token (RFC 6750) of a list, or a JSON web token that one of our keys
 * verifies. Owns the two files and the timer that reads them again; a file that cannot be used changes nothing but a
 * log line. It must never log or show a token.
 */
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { EarshotError } from "../earshot-error.ts";
import { BearerTokens } from "./bearer-tokens.ts";
import { type JwtRules, JwtVerifier } from "./jwt-verifier.ts";

export interface BearerAuthOptions extends JwtRules {
  readonly tokensFile?: string | undefined;
  readonly jwtKeysFile?: string | undefined;
  readonly logger: Logger;
  readonly pollMs?: number;
}

/** A token that is taken out of the list is refused this much later, at most. */
const POLL_MS = 1000;

interface Part<T> {
  readonly file: string;
  readonly parse: (text: string) => T;
  value: T;
  /** What `value` was made of. */
  text: string;
  /** The fault that was logged last, so that one that stays is logged once. */
  logged: string | undefined;
}

export class BearerAuth {
  readonly #logger: Logger;
  readonly #tokens: Part<BearerTokens> | undefined;
  readonly #jwt: Part<JwtVerifier> | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    options: BearerAuthOptions,
    tokens: Part<BearerTokens> | undefined,
    jwt: Part<JwtVerifier> | undefined,
  ) {
    this.#logger = options.logger;
    this.#tokens = tokens;
    this.#jwt = jwt;
    let reading = false;
    this.#timer = setInterval(async () => {
      if (reading) return;
      reading = true;
      await this.#readAgain();
      reading = false;
    }, options.pollMs ?? POLL_MS).unref();
  }

  /** Undefined if neither file is given: then everybody may call. Throws AUTH_FILE_MISSING and AUTH_FILE_INVALID. */
  static async open(options: BearerAuthOptions): Promise<BearerAuth | undefined> {
    const { tokensFile, jwtKeysFile } = options;
    if (tokensFile === undefined && jwtKeysFile === undefined) return undefined;
    const tokens = tokensFile && (await openPart(tokensFile, (text) => new BearerTokens(tokensFile, text)));
    const jwt = jwtKeysFile && (await openPart(jwtKeysFile, (text) => new JwtVerifier(jwtKeysFile, text, options)));
    return new BearerAuth(options, tokens || undefined, jwt || undefined);
  }

  /** Takes the value of an Authorization header. Throws AUTH_REQUIRED and AUTH_REFUSED. */
  async authorize(header: string | undefined): Promise<void> {
    const token = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(header ?? "")?.[1];
    if (token === undefined) {
      const message = 'expected "Authorization: Bearer" and a token: calls are for those who have one';
      throw new EarshotError("AUTH_REQUIRED", message);
    }
    if (this.#tokens?.value.has(token)) return;
    const refusal = this.#jwt === undefined ? "the token is not valid here" : await this.#jwt.value.refusal(token);
    if (refusal !== undefined) throw new EarshotError("AUTH_REFUSED", refusal);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #readAgain(): Promise<void> {
    for (const part of [this.#tokens, this.#jwt] as (Part<unknown> | undefined)[]) {
      if (part === undefined) continue;
      try {
        const text = await readText(part.file);
        if (text !== part.text) {
          part.value = part.parse(text);
          part.text = text;
          this.#logger.info({ file: part.file }, "who may make calls has changed");
        }
        part.logged = undefined;
      } catch (error) {
        const { code, message } = error as EarshotError;
        if (part.logged !== message) this.#logger.error({ code }, `who may make calls stays as it is: ${message}`);
        part.logged = message;
      }
    }
  }
}

async function openPart<T>(file: string, parse: (text: string) => T): Promise<Part<T>> {
  const text = await readText(file);
  return { file, parse, text, value: parse(text), logged: undefined };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new EarshotError("AUTH_FILE_MISSING", `${file} cannot be read (${reason}). Check the name that was given`);
  }
}
