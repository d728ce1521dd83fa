/**
 * A relay is gone and another one takes its traffic, with nothing to know the flows from but the transceivers: they notice,
 * are asked, and say whose each path is. Clients send no check meanwhile, so nothing else can have brought the flows back.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { eventually } from "../kit/eventually.ts";
import { relaysBehindVip } from "../kit/relays-behind-vip.ts";
import { echoes } from "../kit/system.ts";
import { isCheck } from "../kit/vip.ts";

/** Longer than it takes a transceiver to notice that a relay is gone, and to be asked. */
const ASKED_WITHIN_MS = 4_000;
/** Of a frame without others before it in its datagram. */
const KIND_AT = 34;

for (const engine of ["native", "js"] as const) {
  test(`a call goes on at another relay, because its owner remembers (${engine} engine)`, async (context) => {
    const scene = await relaysBehindVip(context);
    const first = await scene.relay({ engine });
    await scene.relay({ engine });
    const { client } = await scene.call();
    scene.vip.loses = isCheck;
    await first.stop();
    scene.vip.choose = () => 1;
    const metrics = await eventually(
      "the flow",
      () => scene.metrics(1),
      (now) => now.sum("earshot_relay_flows") === 1,
    );
    assert.equal(metrics.sum("earshot_relay_flows", 'state="assured"'), 1);
    assert.equal(metrics.sum("earshot_relay_assert_restored_total"), 1);
    assert.equal(metrics.sum("earshot_relay_up_missed_total"), 0, "no check had a part in it");
    await echoes(client, "by way of the second relay");
  });
}

test("without the question there is no answer, and no flow until the next check", async (context) => {
  const scene = await relaysBehindVip(context);
  const first = await scene.relay();
  await scene.relay();
  const { client } = await scene.call();
  scene.vip.loses = isCheck;
  scene.tap.loses = ({ datagram }) => datagram[KIND_AT] === FRAME_KIND.unknownPath;
  await first.stop();
  scene.vip.choose = () => 1;
  const second = () => scene.metrics(1);
  await eventually("a question", second, (now) => now.sum("earshot_relay_unknown_asked_total") > 0);
  await sleep(ASKED_WITHIN_MS);
  const metrics = await second();
  assert.equal(metrics.sum("earshot_relay_flows"), 0);
  assert.equal(metrics.sum("earshot_relay_assert_received_total"), 0);
  scene.vip.loses = () => false;
  await eventually("the flow", second, (now) => now.sum("earshot_relay_flows", 'state="assured"') === 1, 20_000);
  await echoes(client, "after a check");
});
