/** Owns a transceiver with a relay of no rules before it, in this process, and werift's clients that call it. */
import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { pino } from "pino";
import { randomKeyRing } from "../../src/keys/key-file.ts";
import type { Backend } from "../../src/transceiver/backends/backend.ts";
import { Transceiver } from "../../src/transceiver/transceiver.ts";
import { MiniRelay } from "./mini-relay.ts";
import { WeriftClient, type WeriftClientOptions } from "./werift-client.ts";

export const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === "::1"),
);
export const keys = randomKeyRing();
export const CLUSTER = 3;
export const ID = 12;
export const EPOCH = BigInt(Date.now());

export interface Rig {
  readonly transceiver: Transceiver;
  readonly relay: MiniRelay;
  readonly ended: string[];
  /** Why, in the same order. */
  readonly reasons: string[];
}

export async function openRig(
  options: { maxCalls?: number; maxCallMs?: number; maxIdleMs?: number; backend?: Backend } = {},
): Promise<Rig> {
  const relay = await MiniRelay.open({
    keys,
    cluster: CLUSTER,
    transceiver: { id: ID, epoch: EPOCH },
    addresses: hasIpv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"],
  });
  const ended: string[] = [];
  const reasons: string[] = [];
  const transceiver = new Transceiver({
    id: ID,
    cluster: CLUSTER,
    epoch: EPOCH,
    keys,
    trunk: { address: "127.0.0.1", port: 0 },
    advertise: relay.ingresses,
    maxCallMs: options.maxCallMs ?? 3_600_000,
    ...(options.maxIdleMs !== undefined && { maxIdleMs: options.maxIdleMs }),
    limits: { maxCalls: options.maxCalls ?? 10 },
    logger: pino({ level: "silent" }),
    onCallEnded: (callId, reason) => {
      ended.push(callId);
      reasons.push(reason);
    },
    ...(options.backend && { backend: options.backend }),
  });
  const trunk = await transceiver.start();
  relay.connect(trunk.port);
  return { transceiver, relay, ended, reasons };
}

export async function closeRig({ transceiver, relay }: Rig): Promise<void> {
  await transceiver.stop();
  await relay.close();
}

/** Closed after each test, with {@link closeClients}. */
export const clients: WeriftClient[] = [];

/** A connected client. */
export async function call(
  rig: Rig,
  options: WeriftClientOptions & { transform?: (offer: string) => string } = {},
): Promise<{ client: WeriftClient; callId: string; answerSdp: string }> {
  const client = new WeriftClient(options);
  clients.push(client);
  const offer = await client.offer();
  const { callId, answerSdp } = await rig.transceiver.createCall(options.transform?.(offer) ?? offer);
  await client.accept(answerSdp);
  await client.connected();
  return { client, callId, answerSdp };
}

export async function metric(rig: Rig, name: string): Promise<number> {
  const text = await rig.transceiver.registry.metrics();
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${name} `));
  assert.ok(line, `no metric ${name}`);
  return Number(line.split(" ").at(-1));
}

/** After each test. */
export async function closeClients(): Promise<void> {
  for (const client of clients.splice(0)) await client.close();
}
