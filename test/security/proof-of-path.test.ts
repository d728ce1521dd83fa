/**
 * An authenticated request proves nothing about where it came from. Until the client has answered a check, its path gets no
 * DTLS and no media, DTLS that comes from there is dropped, and no relay is told to give the path to the session.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { clientHello } from "../kit/client-hello.ts";
import { isDtls, isMedia } from "../kit/datagram-class.ts";
import { type IceSession, iceAnswer, iceCheck, isCheckOf } from "../kit/ice-checks.ts";
import { Listener } from "../kit/listener.ts";
import { prepareSpoofing, spoof } from "../kit/spoof.ts";
import { System } from "../kit/system.ts";
import { framesOf } from "../kit/trunk-frames.ts";
import { until } from "../kit/until.ts";

const REQUESTS = 10;

let system: System;
let hello: Buffer;

before(async () => {
  prepareSpoofing();
  system = await System.open();
  hello = await clientHello(system);
});

after(() => system.close());

const promotes = () => framesOf(system.places[0]!.tap, "down").filter(({ kind }) => kind === FRAME_KIND.promote).length;

describe("a path that has not answered a check", () => {
  let session: IceSession;
  let client: Listener;

  beforeEach(async () => {
    session = await system.session();
    client = await Listener.open();
  });
  afterEach(() => client.close());

  const check = async (): Promise<Buffer> => {
    await client.send(system.port, iceCheck(session, { nominates: true }));
    await until(
      () => client.received.some((datagram) => isCheckOf(session, datagram)),
      () => "no check",
    );
    return client.received.find((datagram) => isCheckOf(session, datagram))!;
  };

  test("has its DTLS dropped at the transceiver", async () => {
    await check();
    const dropped = await system.count("client_drop_unproved");
    const delivered = await system.count("client_delivered");
    const received = await system.relayCount("up_received");
    await client.send(system.port, hello, hello);
    await system.quiet(received + 2);
    assert.equal(await system.count("client_drop_unproved"), dropped + 2);
    assert.equal(await system.count("client_delivered"), delivered);
    assert.deepEqual(client.received.filter(isDtls), []);
  });

  test("is not promoted", async () => {
    const before = promotes();
    await check();
    const received = await system.relayCount("up_received");
    await client.send(system.port, iceCheck(session, { nominates: true }));
    await system.quiet(received + 1);
    assert.equal(promotes(), before);
  });

  test("does not become one that has by an answer that is not its client's", async () => {
    const [proved, promoted] = [await system.count("ice_paths_proved"), promotes()];
    const asked = await check();
    const wrongs = [
      iceAnswer(asked, { ...session, theirs: { ...session.theirs, password: session.ours.password } }),
      iceAnswer(asked, { ...session, theirs: { ...session.theirs, password: "guess".repeat(5) } }),
      iceAnswer(iceCheck(session), session), // to a check that was never sent
    ];
    const received = await system.relayCount("up_received");
    await client.send(system.port, ...wrongs, hello);
    await system.quiet(received + wrongs.length + 1);
    assert.equal(await system.count("ice_paths_proved"), proved);
    assert.equal(promotes(), promoted);
    assert.deepEqual(client.received.filter(isDtls), []);
  });

  test("control: once it has answered, it is promoted, and DTLS is answered", async () => {
    const before = promotes();
    await client.send(system.port, iceAnswer(await check(), session));
    await until(
      () => promotes() === before + 1,
      () => "no promote",
    );
    await client.send(system.port, hello);
    await until(
      () => client.received.some(isDtls),
      () => "no DTLS came back",
    );
  });
});

describe("a victim in whose name an attacker with a session of its own sends", () => {
  let session: IceSession;
  let victim: Listener;

  beforeEach(async () => {
    session = await system.session();
    victim = await Listener.open("127.0.0.9");
  });
  afterEach(() => victim.close());

  test("gets at most one response and one check for each request, and neither DTLS nor media", async () => {
    const before = await system.relayCount("up_received");
    const requests = Array.from({ length: REQUESTS }, () => iceCheck(session, { nominates: true }));
    const media = Buffer.alloc(100, 0x80);
    const all = [...requests, hello, media, hello, media];
    await spoof(victim, system.port, ...all);
    await system.quiet(before + all.length);
    const checks = victim.received.filter((datagram) => isCheckOf(session, datagram));
    assert.deepEqual(
      victim.received.filter((datagram) => isDtls(datagram) || isMedia(datagram)),
      [],
    );
    assert.equal(victim.received.length, 2 * REQUESTS);
    assert.equal(checks.length, REQUESTS);
  });

  test("control: if the transceiver believed the path, which takes the random transaction of its check, the victim would get DTLS", async () => {
    await spoof(victim, system.port, iceCheck(session, { nominates: true }));
    await until(
      () => victim.received.some((datagram) => isCheckOf(session, datagram)),
      () => "no check",
    );
    // The attacker is told what it cannot see.
    const leaked = victim.received.find((datagram) => isCheckOf(session, datagram))!;
    await spoof(victim, system.port, iceAnswer(leaked, session), hello);
    await until(
      () => victim.received.some(isDtls),
      () => "no DTLS came",
    );
  });
});
