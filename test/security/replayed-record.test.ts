/**
 * Somebody who controls Redis puts back the record of a flow whose session has ended, while it is still fresh: the one thing that its
 * MAC cannot show. The path has a flow again, and that is all: the transceiver drops what comes by it, and nothing is sent to anybody.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type TestContext, test } from "node:test";
import { STUN_ATTRIBUTE, STUN_CLASS } from "../../src/stun/stun-reader.ts";
import { writeStun } from "../../src/stun/stun-writer.ts";
import { eventually } from "../kit/eventually.ts";
import { Metrics } from "../kit/metrics.ts";
import { RedisServer } from "../kit/redis-server.ts";
import { CLUSTER, type RelaysBehindVip, relaysBehindVip } from "../kit/relays-behind-vip.ts";

const PREFIX = "test:";
const PATIENCE_MS = 60_000;

/** A session that has ended, with its record, its client's port and its ufrag. */
async function endedSession(context: TestContext) {
  const redis = await RedisServer.start();
  context.after(() => redis.close());
  const scene = await relaysBehindVip(context);
  const settings = { redis: { url: redis.url, prefix: PREFIX } };
  await scene.relay(settings);
  const { client, id } = await scene.call();
  const records = () => redis.client.keys(`${PREFIX}{${CLUSTER}}:flow:*`);
  const [key] = await eventually("its record", records, ({ length }) => length === 1, PATIENCE_MS);
  const record = await redis.client.getBuffer(key!);
  const ufrag = /a=ice-ufrag:(\S+)/.exec(client.connection.remoteDescription!.sdp)![1]!;
  const { port } = client.reachedAt;
  // What the client itself still sends when it is over is not what this is about.
  scene.vip.loses = () => true;
  await scene.transceiver.endCall(id);
  await eventually("no record", records, ({ length }) => length === 0, PATIENCE_MS);
  const putBack = () => redis.client.set(key!, record!);
  return { scene, settings, port, ufrag, putBack };
}

const request = (ufrag: string): Buffer =>
  writeStun({
    class: STUN_CLASS.request,
    transactionId: randomBytes(12),
    attributes: [[STUN_ATTRIBUTE.username, Buffer.from(`${ufrag}:abcd`)]],
    password: "not the password of this ufrag",
  });
const media = (): Buffer => Buffer.concat([Buffer.from([0x80, 96]), randomBytes(60)]);
const hello = (): Buffer => Buffer.concat([Buffer.from("16feff0000", "hex"), randomBytes(60)]);

const ofTransceiver = async ({ transceiver }: RelaysBehindVip): Promise<Metrics> =>
  new Metrics(await transceiver.registry.metrics());

test("a record that was put back after its session's end gives a flow that carries nothing to anybody", async (context) => {
  const { scene, settings, port, ufrag, putBack } = await endedSession(context);
  await putBack();
  await scene.relay(settings);
  await eventually(
    "the flow at a relay that starts",
    () => scene.metrics(1),
    (metrics) => metrics.sum("earshot_relay_redis_restored_total") === 1,
    PATIENCE_MS,
  );
  const before = await ofTransceiver(scene);
  scene.vip.choose = () => 1;
  for (let i = 0; i < 10; i++) for (const make of [media, hello, () => request(ufrag)]) scene.vip.inject(port, make());
  const after = await eventually(
    "30 datagrams at the transceiver",
    () => ofTransceiver(scene),
    (metrics) =>
      metrics.sum("earshot_transceiver_frame_data_total") >= before.sum("earshot_transceiver_frame_data_total") + 30,
    PATIENCE_MS,
  );
  const more = (name: string): number =>
    after.sum(`earshot_transceiver_${name}_total`) - before.sum(`earshot_transceiver_${name}_total`);
  assert.deepEqual(
    [
      more("client_drop_unproved"),
      more("client_drop_ufrag"),
      more("client_delivered"),
      more("client_request_answered"),
    ],
    [20, 10, 0, 0],
  );
  const relay = await scene.metrics(1);
  assert.equal(relay.sum("earshot_relay_up_forwarded_total"), 30);
  assert.equal(relay.sum("earshot_relay_frame_forwarded_total"), 0, "nothing to a client");
});

test("without it nothing but checks gets that far", async (context) => {
  const { scene, settings, port } = await endedSession(context);
  await scene.relay(settings);
  scene.vip.choose = () => 1;
  for (let i = 0; i < 10; i++) scene.vip.inject(port, media());
  const relay = await eventually(
    "10 datagrams dropped, after they were held or at once",
    () => scene.metrics(1),
    (metrics) => metrics.sumOfAll("earshot_relay_up_drop_") >= 10,
    PATIENCE_MS,
  );
  assert.equal(relay.sum("earshot_relay_up_received_total"), 10);
  assert.equal(relay.sum("earshot_relay_up_forwarded_total"), 0);
});
