/**
 * Who has not been invited gets nothing back, not one byte, whatever it sends: the relay cannot be made to send to anybody.
 * The whole system, with a call on, and a client socket that only listens.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { pino } from "pino";
import { JsEngine } from "../../src/engine/js/js-engine.ts";
import { randomKeyRing } from "../../src/keys/key-file.ts";
import { FINGERPRINT_BYTES, fingerprint } from "../../src/stun/stun-integrity.ts";
import { icePassword } from "../../src/token/token.ts";
import { Transceiver } from "../../src/transceiver/transceiver.ts";
import { bindingRequest, stunMessage, successResponse, tokenUfrag } from "../kit/datagrams.ts";
import { withRig } from "../kit/engine-rig.ts";
import { eventually } from "../kit/eventually.ts";
import { hostileDatagrams } from "../kit/hostile-datagrams.ts";
import { credentialsOf, iceCheck } from "../kit/ice-checks.ts";
import { Listener } from "../kit/listener.ts";
import { Metrics } from "../kit/metrics.ts";
import { MiniRelay } from "../kit/mini-relay.ts";
import { mutated, Random, withStunLength } from "../kit/mutations.ts";
import { stunCorpus } from "../kit/stun-corpus.ts";
import { CLUSTER, echoes, System } from "../kit/system.ts";
import { until } from "../kit/until.ts";
import { WeriftClient } from "../kit/werift-client.ts";

const SEED = 20_260_501;
const MUTATIONS = 2_000;
/** Sent in one go: fewer than a receive buffer holds, and as many misses as a queue does. */
const BURST = 200;
/** Binding requests have the class bits 0x0110 clear, and the method's bits are the rest of the 14 (RFC 8489 figure 3). */
const STUN_TYPES = 0x4000;

/** What a stranger can send who has seen `request`, somebody else's valid one, on its way. */
function everything(request: Buffer): Map<string, readonly Buffer[]> {
  const random = new Random(SEED);
  const others = [request, successResponse(), ...stunCorpus().filter(({ length }) => length > 0)];
  const types = Array.from({ length: STUN_TYPES / 16 }, (_, i) => {
    const bytes = stunMessage(0);
    bytes.writeUInt16BE((i * 16 + (i % 16)) % STUN_TYPES, 0);
    return bytes;
  });
  return new Map([
    ["each first byte", Array.from({ length: 256 }, (_, first) => Buffer.alloc(40, first))],
    ["each bit of a valid request changed", bitFlips(request)],
    ["STUN of other methods and classes", types],
    ["corpora", stunCorpus()],
    ["corpora and requests, mutated", Array.from({ length: MUTATIONS }, () => mutation(random, others))],
  ]);
}

/** Twice each: FINGERPRINT is no secret, so whoever changes a bit can mend it. */
function bitFlips(bytes: Buffer): Buffer[] {
  return Array.from({ length: bytes.length * 8 }, (_, bit) => bitFlip(bytes, bit)).flat();
}

function bitFlip(bytes: Buffer, bit: number): Buffer[] {
  const changed = Buffer.from(bytes);
  changed[bit >> 3]! ^= 1 << (bit & 7);
  const mended = Buffer.from(changed);
  const end = mended.length - FINGERPRINT_BYTES;
  mended.writeUInt32BE(fingerprint(mended, end), mended.length - 4);
  return mended.equals(bytes) ? [changed] : [changed, mended];
}

/** Sends all of them, and waits until they have been dealt with. */
async function getsNothing(
  system: System,
  stranger: Listener,
  what: string,
  datagrams: readonly Buffer[],
): Promise<void> {
  let expected = await system.relayCount("up_received");
  for (let at = 0; at < datagrams.length; at += BURST) {
    const burst = datagrams.slice(at, at + BURST);
    await stranger.send(system.port, ...burst);
    expected += burst.length;
    await system.read(expected);
  }
  await system.quiet(expected);
  assert.deepEqual(stranger.received, [], what);
}

/** Never one that has come out as it was. */
function mutation(random: Random, others: readonly Buffer[]): Buffer {
  for (;;) {
    const bytes = withStunLength(mutated(random, random.pick(others), others));
    if (!others.some((other) => other.equals(bytes))) return bytes;
  }
}

for (const engine of ["native", "js"] as const) {
  describe(`a stranger, with the ${engine} engine`, () => {
    test("gets no answer to anything", async () => {
      const system = await System.open({ engine });
      const stranger = await Listener.open();
      try {
        const client = await system.call();
        const session = await system.session();
        const { id, epoch } = system.places[0]!;
        const hostile = hostileDatagrams({
          keys: system.keys.signing,
          transceiver: { id, epoch, cluster: CLUSTER },
        });
        // Signed with the session's password, but not by its client: the relay lets it in, the transceiver does not.
        const insider = iceCheck({ ...session, theirs: { ufrag: "another", password: "p".repeat(24) } });
        const all = everything(iceCheck(session))
          .set("hostile", [...hostile.values()])
          .set("an insider", [insider]);
        for (const [what, datagrams] of all) {
          for (let at = 0; at < datagrams.length; at += BURST) {
            const burst = datagrams.slice(at, at + BURST);
            const before = await system.relayCount("up_received");
            await stranger.send(system.port, ...burst);
            await system.quiet(before + burst.length);
            assert.deepEqual(stranger.received, [], what);
          }
        }
        assert.ok((await system.count("client_drop_username")) > 0, "the insider came as far as the transceiver");
        await echoes(client, "still there");
      } finally {
        await stranger.close();
        await system.close();
      }
    });

    test("comes no farther than the relay with a request of which one bit is wrong, whoever's it is", async () => {
      const system = await System.open({ engine });
      const stranger = await Listener.open();
      try {
        const { id, epoch } = system.places[0]!;
        // A token for each, because a token that is used so often is soon refused unseen.
        const request = (): Buffer => {
          const ufrag = tokenUfrag(system.keys.signing, { id, epoch, cluster: CLUSTER });
          return bindingRequest(ufrag, { password: icePassword(ufrag, system.keys.signing) });
        };
        const flips = Array.from({ length: request().length * 8 }, (_, bit) => bitFlip(request(), bit)).flat();
        await getsNothing(system, stranger, "a bit", flips);
        const metrics = await system.relayMetrics();
        assert.equal(metrics.sum("earshot_relay_up_forwarded_total"), 0);
        assert.ok(metrics.sum("earshot_relay_miss_drop_integrity_total") > 0);
        assert.ok(metrics.sum("earshot_relay_miss_drop_fingerprint_total") > 0);
        const intact = [request()];
        await stranger.send(system.port, ...intact);
        await system.quiet(flips.length + 1);
        assert.equal(await system.relayCount("up_forwarded"), 1, "control: unchanged it does");
      } finally {
        await stranger.close();
        await system.close();
      }
    });

    test("control: who has been invited does get an answer, and this test would see it", async () => {
      const system = await System.open({ engine });
      const client = await Listener.open();
      try {
        await client.send(system.port, iceCheck(await system.session()));
        await until(
          () => client.received.length === 2,
          () => `${client.received.length} datagrams instead of a response and a check`,
        );
      } finally {
        await client.close();
        await system.close();
      }
    });
  });
}

test("the transceiver alone answers no request of which one bit is wrong", async () => {
  const keys = randomKeyRing();
  const identity = { id: 1, epoch: BigInt(Date.now()) };
  const relay = await MiniRelay.open({ keys, cluster: CLUSTER, transceiver: identity, addresses: ["127.0.0.1"] });
  const transceiver = new Transceiver({
    ...identity,
    cluster: CLUSTER,
    keys,
    trunk: { address: "127.0.0.1", port: 0 },
    advertise: relay.ingresses,
    maxCallMs: 3_600_000,
    limits: { maxCalls: 1 },
    logger: pino({ level: "silent" }),
  });
  const stranger = await Listener.open();
  const client = new WeriftClient({ audio: false });
  try {
    relay.connect((await transceiver.start()).port);
    const offer = await client.offer();
    const { answerSdp } = await transceiver.createCall(offer);
    const request = iceCheck({ ours: credentialsOf(answerSdp), theirs: credentialsOf(offer) });
    const frames = async (): Promise<number> =>
      new Metrics(await transceiver.registry.metrics()).sum("earshot_transceiver_frame_data_total");
    const send = async (datagrams: readonly Buffer[]): Promise<void> => {
      const before = await frames();
      await stranger.send(relay.ingresses[0]!.port, ...datagrams);
      await eventually("all of them at the transceiver", frames, (count) => count === before + datagrams.length);
    };
    const flips = bitFlips(request);
    for (let at = 0; at < flips.length; at += BURST) await send(flips.slice(at, at + BURST));
    assert.equal(relay.down.frames, 0);
    await send([request]);
    await until(
      () => stranger.received.length === 2,
      () => "control: unchanged, it is not answered either",
    );
  } finally {
    await client.close();
    await stranger.close();
    await transceiver.stop();
    await relay.close();
  }
});

test("control: if neither relay nor transceiver checked integrity, a changed request would be answered", () =>
  withRig(
    (options) => new JsEngine(options),
    {},
    async (rig) => {
      // The rig's control loop lets in every token that is ours, and this transceiver answers whatever it gets.
      const transceiver = await rig.transceiver();
      const stranger = await rig.client();
      const request = bindingRequest(rig.ufrag(transceiver), { password: "p".repeat(24) });
      request[request.length - 1]! ^= 1;
      await stranger.send(request);
      await until(
        () => transceiver.frames.length === 1,
        () => "the request did not reach the transceiver",
      );
      const answer = successResponse();
      await transceiver.data(transceiver.frames[0]!.path, answer);
      await until(
        () => stranger.received.length === 1,
        () => "no answer",
      );
      assert.deepEqual(stranger.received[0]!.payload, answer);
    },
  ));
