/**
 * Verifies JSON web tokens with keys of a file: a JWK, a JWK set, or a public key in PEM. An algorithm is taken only with
 * a key of its kind, so a public key can never be used as a shared secret. Pure but for the clock.
 */
import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { decodeProtectedHeader, errors, jwtVerify } from "jose";
import { EarshotError } from "../earshot-error.ts";

export interface JwtRules {
  /** `iss` has to be this, if given. */
  readonly issuer?: string | undefined;
  /** `aud` has to be or hold this, if given. */
  readonly audience?: string | undefined;
}

interface VerifyingKey {
  /** Tokens that name another are not for this key. */
  readonly kid: string | undefined;
  readonly key: KeyObject;
  readonly algorithms: readonly string[];
}

/** Clocks of two hosts differ by less where they are kept at all. */
const CLOCK_TOLERANCE_SECONDS = 5;
/** RFC 7518, section 3.2: as long as the hash. */
const SECRET_BYTES_MIN = 32;
/** A set of a provider has two or three; each may cost a verification. */
const KEYS_MAX = 16;

export class JwtVerifier {
  readonly #keys: readonly VerifyingKey[];
  readonly #rules: JwtRules;

  /** Throws AUTH_FILE_INVALID. */
  constructor(file: string, text: string, rules: JwtRules) {
    this.#rules = rules;
    this.#keys = text.includes("-----BEGIN") ? [fromPem(file, text)] : fromJson(file, text);
    if (this.#keys.length === 0) throw invalid(file, "a key set with at least one key", "an empty one");
    if (this.#keys.length > KEYS_MAX) throw invalid(file, `at most ${KEYS_MAX} keys`, `${this.#keys.length}`);
  }

  /** Why it is refused, for whoever holds the token; undefined if it is valid. Only that it has expired is told apart. */
  async refusal(token: string): Promise<string | undefined> {
    let refusal = "the token is not valid here";
    for (const { key, algorithms } of this.#keysFor(token)) {
      try {
        await this.#verify(token, key, algorithms);
        return undefined;
      } catch (error) {
        if (error instanceof errors.JWTExpired) refusal = "the token has expired";
      }
    }
    return refusal;
  }

  #keysFor(token: string): readonly VerifyingKey[] {
    try {
      const { alg = "", kid } = decodeProtectedHeader(token);
      return this.#keys.filter(
        (key) => key.algorithms.includes(alg) && (kid === undefined || key.kid === undefined || key.kid === kid),
      );
    } catch {
      return [];
    }
  }

  async #verify(token: string, key: KeyObject, algorithms: readonly string[]): Promise<void> {
    const { issuer, audience } = this.#rules;
    await jwtVerify(token, key, {
      algorithms: [...algorithms],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      // One that never expires cannot be taken back.
      requiredClaims: ["exp"],
      ...(issuer !== undefined && { issuer }),
      ...(audience !== undefined && { audience }),
    });
  }
}

function fromPem(file: string, text: string): VerifyingKey {
  // Node would take the public half of a private key, which has no business here.
  if (text.includes("PRIVATE KEY")) throw isPrivate(file);
  let key: KeyObject;
  try {
    key = createPublicKey(text);
  } catch {
    throw invalid(file, "a public key in PEM", "one that cannot be read");
  }
  return { kid: undefined, key, algorithms: algorithmsOf(file, key) };
}

function fromJson(file: string, text: string): VerifyingKey[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw invalid(file, "a JWK, a JWK set or a public key in PEM", "none of these");
  }
  const keys: unknown = (parsed as { keys?: unknown } | null)?.keys ?? [parsed];
  if (!Array.isArray(keys)) throw invalid(file, 'a list as "keys"', typeof keys);
  return keys.map((key) => fromJwk(file, key));
}

function fromJwk(file: string, jwk: unknown): VerifyingKey {
  if (typeof jwk !== "object" || jwk === null) throw invalid(file, "keys that are objects", typeof jwk);
  const { kid: given, kty, k } = jwk as JsonWebKey & { kid?: unknown };
  const kid = typeof given === "string" ? given : undefined;
  if (kty === "oct") {
    const secret = Buffer.from(typeof k === "string" ? k : "", "base64url");
    if (secret.length >= SECRET_BYTES_MIN) {
      return { kid, key: createSecretKey(secret), algorithms: ["HS256", "HS384", "HS512"] };
    }
    throw invalid(file, `a shared secret "k" of at least ${SECRET_BYTES_MIN} bytes in base64url`, `${secret.length}`);
  }
  if ("d" in jwk) throw isPrivate(file);
  let key: KeyObject;
  try {
    key = createPublicKey({ key: jwk as JsonWebKey, format: "jwk" });
  } catch {
    throw invalid(file, "keys of kty oct, RSA, EC or OKP", `one of kty ${JSON.stringify(kty)} that cannot be read`);
  }
  return { kid, key, algorithms: algorithmsOf(file, key) };
}

const EC_ALGORITHMS: Readonly<Record<string, string>> = { prime256v1: "ES256", secp384r1: "ES384" };

function algorithmsOf(file: string, { asymmetricKeyType: type, asymmetricKeyDetails }: KeyObject): readonly string[] {
  if (type === "rsa") return ["RS256", "PS256"];
  if (type === "ed25519") return ["EdDSA"];
  const ec = type === "ec" ? EC_ALGORITHMS[asymmetricKeyDetails?.namedCurve ?? ""] : undefined;
  if (ec !== undefined) return [ec];
  throw invalid(file, "RSA, P-256, P-384 or Ed25519", `a key of type ${type}`);
}

const invalid = (file: string, expected: string, got: string): EarshotError =>
  new EarshotError("AUTH_FILE_INVALID", `${file}: expected ${expected}, got ${got}`);

const isPrivate = (file: string): EarshotError =>
  invalid(file, "public keys", "a private one. Keep that where tokens are made");
