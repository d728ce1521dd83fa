/**
 * A call that is on stays with its owner. An attacker with a session of its own, at another transceiver, sends in the name
 * of the caller's address: that neither cuts the call off nor turns its media, because a session on somebody's path
 * waits until its transceiver has proved its client there.
 */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { clientHello } from "../kit/client-hello.ts";
import { isMedia } from "../kit/datagram-class.ts";
import { iceAnswer, iceCheck, isCheckOf } from "../kit/ice-checks.ts";
import { prepareSpoofing, spoof } from "../kit/spoof.ts";
import { addressOf, echoes, System } from "../kit/system.ts";
import { framesOf } from "../kit/trunk-frames.ts";
import { until } from "../kit/until.ts";
import type { WeriftClient } from "../kit/werift-client.ts";

const OWNER = 0;
const ATTACKER = 1;
const FRAMES = 60;
const FRAME_MS = 20;
const REQUESTS = 20;

/** Audio for somewhat more than a second. Resolves when each frame has come back. */
async function talk(client: WeriftClient, mark: string): Promise<void> {
  for (let i = 0; i < FRAMES; i += 1) {
    client.sendAudio({ payload: Buffer.from(`${mark} ${i}`), timestamp: i * 960 });
    await sleep(FRAME_MS);
  }
  const back = () => new Set(client.received.map(({ payload }) => payload.toString()));
  await until(
    () => Array.from({ length: FRAMES }, (_, i) => `${mark} ${i}`).every((each) => back().has(each)),
    () => `${back().size} of ${FRAMES} frames came back`,
  );
}

for (const engine of ["native", "js"] as const) {
  describe(`a call that is on, with the ${engine} engine`, () => {
    let system: System;
    let owner: WeriftClient;
    let hello: Buffer;

    beforeEach(async () => {
      prepareSpoofing();
      system = await System.open({ transceivers: 2, engine });
      hello = await clientHello(system);
      owner = await system.call(OWNER);
    });
    afterEach(() => system.close());

    /** What the attacker's transceiver has been given of the owner's, by first byte's class, and has believed. */
    const turned = async (): Promise<{ proved: number; delivered: number; promotes: number }> => ({
      proved: await system.count("ice_paths_proved", ATTACKER),
      delivered: await system.count("client_delivered", ATTACKER),
      promotes: framesOf(system.places[ATTACKER]!.tap, "down").filter(({ kind }) => kind === FRAME_KIND.promote).length,
    });
    const NOTHING = { proved: 0, delivered: 0, promotes: 0 };

    test("goes on when an attacker sends requests, DTLS and media in its name", async () => {
      const session = await system.session(ATTACKER);
      const talking = talk(owner, "undisturbed");
      for (let i = 0; i < REQUESTS; i += 1) {
        const request = iceCheck(session, { nominates: true });
        await spoof(addressOf(owner), system.port, request, hello, Buffer.alloc(100, 0x80));
      }
      await talking;
      assert.ok((await system.count("client_request_answered", ATTACKER)) > 0, "they did come as far as a transceiver");
      assert.equal(await system.count("client_drop_unproved", ATTACKER), 0, "media went to the owner alone");
      assert.deepEqual(await turned(), NOTHING);
      owner.channel!.send("and still");
      await until(
        () => owner.messages.includes("and still"),
        () => "the data channel is silent",
      );
    });

    test("goes on when the attacker's session is at the owner's own transceiver", async () => {
      const session = await system.session(OWNER);
      const proved = await system.count("ice_paths_proved", OWNER);
      const answered = await system.count("client_request_answered", OWNER);
      const talking = talk(owner, "undisturbed");
      for (let i = 0; i < REQUESTS; i += 1) {
        await spoof(addressOf(owner), system.port, iceCheck(session, { nominates: true }), hello);
      }
      await talking;
      assert.ok((await system.count("client_request_answered", OWNER)) >= answered + REQUESTS);
      assert.equal(await system.count("ice_paths_proved", OWNER), proved);
    });

    test("goes on when the attacker also guesses at answers to the checks that it cannot see", async () => {
      const session = await system.session(ATTACKER);
      await spoof(addressOf(owner), system.port, iceCheck(session, { nominates: true }));
      const guesses = Array.from({ length: REQUESTS }, () => iceAnswer(iceCheck(session), session));
      await spoof(addressOf(owner), system.port, ...guesses);
      await talk(owner, "undisturbed");
      assert.deepEqual(await turned(), NOTHING);
    });

    test("control: without proof of the path, which takes a transaction that only the owner sees, its media would turn", async () => {
      const session = await system.session(ATTACKER);
      const { tap } = system.places[ATTACKER]!;
      await spoof(addressOf(owner), system.port, iceCheck(session, { nominates: true }));
      const check = () => framesOf(tap, "down").find(({ payload }) => isCheckOf(session, payload))?.payload;
      await until(
        () => check() !== undefined,
        () => "no check",
      );
      await spoof(addressOf(owner), system.port, iceAnswer(check()!, session));
      await until(
        () => framesOf(tap, "down").some(({ kind }) => kind === FRAME_KIND.promote),
        () => "no promote",
      );
      const echoed = owner.received.length;
      for (let i = 0; i < FRAMES; i += 1) {
        owner.sendAudio({ payload: Buffer.from("lost"), timestamp: i });
        await sleep(1);
      }
      await until(
        () => framesOf(tap, "up").filter(({ payload }) => isMedia(payload)).length >= FRAMES / 2,
        () => "media did not turn",
      );
      assert.ok(owner.received.length < echoed + FRAMES);
      await assert.rejects(echoes(owner, "gone"));
    });
  });
}
