/**
 * Calls that begin and end leave nothing: no entry in a map, no socket, no timer, no memory. By hand, for longer:
 * `npm run leaks -- --calls 20000`.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { pino } from "pino";
import { randomKeyRing } from "../../src/keys/key-file.ts";
import { Transceiver } from "../../src/transceiver/transceiver.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { pathBytes } from "../../src/trunk/path.ts";
import { eventually } from "../kit/eventually.ts";
import { credentialsOf, type IceSession, iceCheck } from "../kit/ice-checks.ts";
import { Metrics } from "../kit/metrics.ts";
import { MiniRelay } from "../kit/mini-relay.ts";
import { audioLine, dataLine, OFFERED, offerOf, videoLine } from "../kit/offers.ts";
import { WeriftClient } from "../kit/werift-client.ts";

const CALLS = Number(process.argv[process.argv.indexOf("--calls") + 1]) || 1_200;
/** At a time; more only takes more memory meanwhile. */
const TOGETHER = 20;
/** A session that is kept takes a hundred times as much. */
const BYTES_FOR_EACH_CALL = 512;
/** What V8 itself takes or gives back between two measurements: 1 to 2.3 MB were seen, for 1,200 calls as for 9,000. */
const NOISE_BYTES = 4_000_000;

const OFFER = offerOf(audioLine("0"), videoLine("1"), dataLine("2"));
const keys = randomKeyRing();
const place = { id: 5, cluster: 3, epoch: BigInt(Date.now()) };

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

describe("thousands of calls", () => {
  let relay: MiniRelay;
  let transceiver: Transceiver;
  let connectedOnes = 0;

  before(async () => {
    relay = await MiniRelay.open({ keys, cluster: 3, transceiver: place, addresses: ["127.0.0.1"] });
    transceiver = new Transceiver({
      ...place,
      keys,
      trunk: { address: "127.0.0.1", port: 0 },
      advertise: relay.ingresses,
      maxCallMs: 60_000,
      limits: { maxCalls: 1_000 },
      logger: pino({ level: "silent" }),
    });
    relay.connect((await transceiver.start()).port);
  });
  after(async () => {
    await transceiver.stop();
    await relay.close();
  });

  /** Answered and ended, with nothing between. */
  async function answered(): Promise<void> {
    const { callId } = await transceiver.createCall(OFFER);
    await transceiver.endCall(callId);
  }

  async function refused(): Promise<void> {
    await assert.rejects(transceiver.createCall(OFFER.replaceAll("a=rtcp-mux\r\n", "")));
    // werift sees this one before it is refused.
    await assert.rejects(
      transceiver.createCall(OFFER.replace(/rtpmap:\d+ \S+/g, "rtpmap:1 none/1").replace(/^m=app.*/ms, "")),
    );
  }

  /** With a restart of ICE, a later offer, and checks of both ICE sessions from addresses that never answer ours. */
  async function checked(n: number): Promise<void> {
    const { callId, answerSdp } = await transceiver.createCall(OFFER);
    const check = (session: IceSession, port: number) =>
      relay.up(FRAME_KIND.data, pathBytes(1, "127.0.0.1", port), iceCheck(session));
    check({ ours: credentialsOf(answerSdp), theirs: OFFERED }, 10_000 + (n % 1_000));
    const theirs = { ufrag: "fresh", password: "b".repeat(22) };
    const fragment = `a=ice-ufrag:${theirs.ufrag}\r\na=ice-pwd:${theirs.password}\r\n`;
    const restarted = transceiver.takeFragment(callId, fragment, true);
    check({ ours: credentialsOf(restarted!.fragment!), theirs }, 20_000 + (n % 1_000));
    await transceiver.updateCall(callId, OFFER);
    await transceiver.endCall(callId);
  }

  /** A real client, that hangs up by itself. */
  async function connected(): Promise<void> {
    const client = new WeriftClient();
    const { answerSdp } = await transceiver.createCall(await client.offer());
    await client.accept(answerSdp);
    await client.connected();
    client.sendAudio({ payload: Buffer.from("frame"), timestamp: 1 });
    await client.close();
    connectedOnes++;
  }

  async function openAndClose(calls: number): Promise<void> {
    for (let n = 0; n < calls; n += TOGETHER) {
      const batch = Array.from({ length: TOGETHER }, (_, i) => [answered, refused, checked][i % 3]!(n + i));
      await Promise.all(batch);
      if (n % 300 === 0) await connected();
    }
  }

  /** Once nothing is under way. */
  async function leftovers(expected?: string) {
    const metrics = () => transceiver.registry.metrics().then((text) => new Metrics(text));
    const idle = await eventually(
      "nothing is left of any call",
      metrics,
      (all) => all.sum("earshot_transceiver_calls") === 0 && all.sum("earshot_transceiver_paths") === 0,
      10_000,
    );
    relay.control.length = 0;
    relay.clients.length = 0;
    const handles = () =>
      process
        .getActiveResourcesInfo()
        .filter((kind) => kind !== "Immediate")
        .sort();
    // Sockets close and timers end in turns of their own, those of the test's clients after seconds.
    let same = 0;
    let before = "";
    const resources = await eventually(
      expected === undefined ? "handles come to rest" : `no more handles than ${expected}`,
      async () => {
        const now = handles().join(" ");
        same = now === before ? same + 1 : 0;
        before = now;
        return now;
      },
      (now) => (expected === undefined ? same > 20 : now.length <= expected.length),
      10_000,
    );
    for (let times = 0; times < 4; times++) {
      collectGarbage();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { heapUsed, external } = process.memoryUsage();
    return {
      lookups: idle.sum("earshot_transceiver_lookups"),
      resources,
      sockets: readdirSync("/proc/self/fd").length,
      bytes: heapUsed + external,
    };
  }

  test("leave maps, sockets, timers and memory where they were", async (t) => {
    // What is made once and kept: certificates, code, buffers.
    await openAndClose(CALLS / 4);
    const first = await leftovers();
    assert.equal(first.lookups, 0);
    await openAndClose(CALLS);
    const last = await leftovers(first.resources);
    const grown = last.bytes - first.bytes;
    t.diagnostic(`${CALLS} calls, ${connectedOnes} of them connected: ${grown} bytes more than before`);
    assert.deepEqual(
      { lookups: last.lookups, sockets: last.sockets },
      { lookups: first.lookups, sockets: first.sockets },
    );
    assert.ok(grown < CALLS * BYTES_FOR_EACH_CALL + NOISE_BYTES, `${grown} bytes more after ${CALLS} calls`);
  });
});
