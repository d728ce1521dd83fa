/**
 * A relay is gone and another one takes its traffic, with nothing to know the flows from but the transceivers: they notice,
 * are asked, and say whose each path is. Clients send no check meanwhile, so nothing else can have brought the flows back.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { randomKeyRing } from "../../src/keys/key-file.ts";
import { Relay } from "../../src/relay/relay.ts";
import { Transceiver } from "../../src/transceiver/transceiver.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { eventually } from "../kit/eventually.ts";
import { Metrics } from "../kit/metrics.ts";
import { echoes } from "../kit/system.ts";
import { TrunkTap } from "../kit/trunk-tap.ts";
import { until } from "../kit/until.ts";
import { isCheck, Vip } from "../kit/vip.ts";
import { WeriftClient } from "../kit/werift-client.ts";

const CLUSTER = 3;
const LOOPBACK = { address: "127.0.0.1", port: 0 };
const logger = pino({ level: "silent" });
/** Longer than it takes a transceiver to notice that a relay is gone, and to be asked. */
const ASKED_WITHIN_MS = 4_000;
/** Of a frame without others before it in its datagram. */
const KIND_AT = 34;

const keys = randomKeyRing();

async function startRelay(context: TestContext, engine: "native" | "js"): Promise<Relay> {
  const relay = new Relay({
    listen: [{ id: 1, ...LOOPBACK }],
    trunk: LOOPBACK,
    engine,
    lanes: 1,
    workers: 1,
    cpus: [],
    keys,
    cluster: CLUSTER,
    flowCapacity: 1_024,
    receiveBufferBytes: 1 << 20,
    logger,
  });
  await relay.start();
  context.after(() => relay.stop());
  return relay;
}

/** Two relays behind one address, one transceiver with a tap on its trunk, and a call by way of the first relay. */
async function scene(context: TestContext, engine: "native" | "js") {
  const vip = await Vip.open();
  context.after(() => vip.close());
  const relays = [await startRelay(context, engine), await startRelay(context, engine)];
  vip.relays = relays.map((relay) => relay.ingresses[0]!.port);
  const tap = await TrunkTap.open();
  context.after(() => tap.close());
  const transceiver = new Transceiver({
    id: 12,
    cluster: CLUSTER,
    epoch: BigInt(Date.now()),
    keys,
    trunk: LOOPBACK,
    advertise: [{ address: "127.0.0.1", port: vip.port }],
    maxCallMs: 3_600_000,
    limits: { maxCalls: 20 },
    logger,
  });
  tap.passTo((await transceiver.start()).port);
  context.after(() => transceiver.stop());
  for (const relay of relays) relay.setDirectory([{ id: 12, address: "127.0.0.1", port: tap.port }]);
  await until(
    () => relays.every((relay) => relay.ready()),
    () => "the relays do not find the transceiver",
  );
  const client = new WeriftClient({ data: false });
  context.after(() => client.close());
  const { answerSdp } = await transceiver.createCall(await client.offer());
  await client.accept(answerSdp);
  await client.connected();
  await echoes(client, "by way of the first relay");
  const second = async () => new Metrics(await relays[1]!.registry.metrics());
  return { vip, relays, tap, client, second };
}

for (const engine of ["native", "js"] as const) {
  test(`a call goes on at another relay, because its owner remembers (${engine} engine)`, async (context) => {
    const { vip, relays, client, second } = await scene(context, engine);
    vip.loses = isCheck;
    await relays[0]!.stop();
    vip.choose = () => 1;
    const metrics = await eventually("the flow", second, (now) => now.sum("earshot_relay_flows") === 1);
    assert.equal(metrics.sum("earshot_relay_flows", 'state="assured"'), 1);
    assert.equal(metrics.sum("earshot_relay_assert_restored_total"), 1);
    assert.equal(metrics.sum("earshot_relay_up_missed_total"), 0, "no check had a part in it");
    await echoes(client, "by way of the second relay");
  });
}

test("without the question there is no answer, and no flow until the next check", async (context) => {
  const { vip, relays, tap, client, second } = await scene(context, "native");
  vip.loses = isCheck;
  tap.loses = ({ datagram }) => datagram[KIND_AT] === FRAME_KIND.unknownPath;
  await relays[0]!.stop();
  vip.choose = () => 1;
  await eventually("a question", second, (now) => now.sum("earshot_relay_unknown_asked_total") > 0);
  await sleep(ASKED_WITHIN_MS);
  const metrics = await second();
  assert.equal(metrics.sum("earshot_relay_flows"), 0);
  assert.equal(metrics.sum("earshot_relay_assert_received_total"), 0);
  vip.loses = () => false;
  await eventually("the flow", second, (now) => now.sum("earshot_relay_flows", 'state="assured"') === 1, 20_000);
  await echoes(client, "after a check");
});
