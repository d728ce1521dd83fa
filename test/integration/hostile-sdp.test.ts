/** Spoiled offers and fragments at a transceiver with calls on it: each costs at most the call that it is for. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { EarshotError } from "../../src/earshot-error.ts";
import { writeIceFragment } from "../../src/transceiver/ice-fragment.ts";
import { Random } from "../kit/mutations.ts";
import { audioLine, dataLine, OFFERED, offerOf, videoLine } from "../kit/offers.ts";
import { spoiledSdp } from "../kit/sdp-mutations.ts";
import { echoes, System } from "../kit/system.ts";
import type { WeriftClient } from "../kit/werift-client.ts";

const OFFERS = [
  offerOf(audioLine("0"), videoLine("1"), dataLine("2")),
  offerOf(dataLine("0"), audioLine("1", "sendonly")),
  offerOf(videoLine("0", "recvonly")),
];
const FRAGMENT = writeIceFragment(OFFERED, "0", [{ address: "192.0.2.1", port: 9 }]);
const ROUNDS = 400;

describe("a transceiver that is sent spoiled SDP", () => {
  let system: System;
  let innocent: WeriftClient;
  const unabsorbed: unknown[] = [];
  const absorb = (error: unknown) => {
    if (!system.places[0]!.transceiver.absorbFault(error)) unabsorbed.push(error);
  };

  before(async () => {
    system = await System.open();
    innocent = await system.call();
    process.on("unhandledRejection", absorb);
    process.on("uncaughtException", absorb);
  });
  after(async () => {
    await system.close();
    process.off("unhandledRejection", absorb);
    process.off("uncaughtException", absorb);
  });

  /** What came of it, if it was an answer; a refusal has to be one of ours. */
  async function refusedOr<T>(ask: Promise<T>, codes: readonly string[], text: string): Promise<T | undefined> {
    return ask.catch((error: Error) => {
      const isOurs = error instanceof EarshotError && codes.includes(error.code);
      assert.ok(isOurs, `${error.stack}\nfor ${JSON.stringify(text)}`);
      return undefined;
    });
  }

  test("answers or refuses, and keeps nothing of what it refused", async () => {
    const { transceiver } = system.places[0]!;
    const random = new Random(7);
    let answered = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const text = spoiledSdp(random, random.pick(OFFERS), OFFERS);
      const made = await refusedOr(transceiver.createCall(text), ["SDP_INVALID", "SDP_UNSUPPORTED"], text);
      if (made === undefined) continue;
      answered++;
      assert.match(made.answerSdp, /^v=0\r\n/);
      assert.equal(await transceiver.endCall(made.callId), true);
    }
    assert.ok(answered > ROUNDS / 10 && answered < ROUNDS, `${answered} of ${ROUNDS} were answered`);
    assert.equal(transceiver.health().calls, 1);
    await echoes(innocent, "after spoiled offers");
  });

  test("answers or refuses later offers and fragments, and other calls do not notice", async () => {
    const { transceiver } = system.places[0]!;
    const random = new Random(8);
    const { callId } = await transceiver.createCall(OFFERS[0]!);
    for (let round = 0; round < ROUNDS / 2; round++) {
      const offer = spoiledSdp(random, random.pick(OFFERS), OFFERS);
      await refusedOr(transceiver.updateCall(callId, offer), ["SDP_INVALID", "SDP_UNSUPPORTED"], offer);
      const fragment = spoiledSdp(random, FRAGMENT, [FRAGMENT, ...OFFERS]);
      const taken = async () => transceiver.takeFragment(callId, fragment, random.chance(50));
      await refusedOr(taken(), ["FRAGMENT_INVALID"], fragment);
    }
    await echoes(innocent, "after spoiled changes");
    await transceiver.endCall(callId);
    assert.equal(transceiver.health().calls, 1);
    assert.deepEqual(unabsorbed, []);
  });
});
