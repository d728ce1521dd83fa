/** `earshot token`: what a ufrag says, and tokens made by hand, for whoever debugs routing. Needs the fleet keys. */
import { randomInt } from "node:crypto";
import { EarshotError } from "../earshot-error.ts";
import { namingFile, readKeyFile } from "../keys/key-file.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import { EXPIRY_TICK_MS, icePassword, openToken, sealToken, type Token, tokenExpired } from "../token/token.ts";

const REASONS = {
  characters: "it is not 32 characters of A-Z, a-z, 0-9, + and /",
  version: "it is of a version that this Earshot does not know",
  key: "no key of this key file that is not retired has its key id",
  tag: "none of these keys made it, or it was changed",
  kind: "it is of a kind that this Earshot does not know",
  reserved: "its reserved byte is not zero",
} as const;

/** Lines for people, or one JSON object. Throws TOKEN_INVALID. */
export async function inspectToken(ufrag: string, keyFile: string, json: boolean, nowMs: number): Promise<string> {
  const opened = openToken(ufrag, await readRing(keyFile, nowMs));
  if (!opened.ok) throw new EarshotError("TOKEN_INVALID", `this ufrag is no token: ${REASONS[opened.reason]}`);
  const { token } = opened;
  const fields = {
    keyId: token.keyId,
    kind: token.kind === 0 ? "transceiver" : `${token.kind}`,
    cluster: token.cluster,
    transceiver: token.transceiver,
    epochLow16: token.epoch,
    nonce: token.nonce,
    expires: new Date(expiryMs(token, nowMs)).toISOString(),
    expired: tokenExpired(token, nowMs),
  };
  if (json) return `${JSON.stringify(fields)}\n`;
  return table([
    ["key id", fields.keyId],
    ["kind", fields.kind],
    ["cluster", fields.cluster],
    ["transceiver", fields.transceiver],
    ["epoch", `${fields.epochLow16} (low 16 bits)`],
    ["nonce", fields.nonce],
    ["expires", `${fields.expires}${fields.expired ? ", expired" : ""}`],
  ]);
}

export interface TokenFields {
  readonly transceiver: number;
  readonly cluster: number;
  readonly epoch: number;
  readonly ttlSeconds: number;
}

export async function makeToken(fields: TokenFields, keyFile: string, json: boolean, nowMs: number): Promise<string> {
  const { signing } = await readRing(keyFile, nowMs);
  const ufrag = sealToken(
    {
      cluster: fields.cluster,
      transceiver: fields.transceiver,
      epoch: BigInt(fields.epoch),
      expiresAtMs: nowMs + fields.ttlSeconds * 1000,
      nonce: randomInt(2 ** 32),
    },
    signing,
  );
  const password = icePassword(ufrag, signing);
  return json
    ? `${JSON.stringify({ ufrag, password })}\n`
    : table([
        ["ufrag", ufrag],
        ["password", password],
      ]);
}

async function readRing(keyFile: string, nowMs: number): Promise<KeyRing> {
  const schedule = await readKeyFile(keyFile);
  return namingFile(keyFile, () => schedule.ringAt(nowMs));
}

/** The 16 bits stand for the nearest such time. */
function expiryMs(token: Token, nowMs: number): number {
  const nowTicks = Math.floor(nowMs / EXPIRY_TICK_MS);
  const ahead = ((token.expiry - nowTicks) << 16) >> 16;
  return (nowTicks + ahead) * EXPIRY_TICK_MS;
}

function table(rows: readonly (readonly [name: string, value: string | number])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows.map(([name, value]) => `${name.padEnd(width)}${value}\n`).join("");
}
