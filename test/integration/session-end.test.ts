/**
 * A call that ends takes its flow with it at once, at every relay that has it: the one that its client is at, and those that the
 * load balancer had sent it to before. There is no Redis to tell them.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { eventually } from "../kit/eventually.ts";
import { type RelaysBehindVip, relaysBehindVip } from "../kit/relays-behind-vip.ts";
import { echoes } from "../kit/system.ts";
import { isCheck } from "../kit/vip.ts";
import type { WeriftClient } from "../kit/werift-client.ts";

const PATIENCE_MS = 60_000;
/** Longer than a client may be silent (RFC 7675). */
const CONSENT_OVER_MS = 31_000;

interface Call {
  readonly client: WeriftClient;
  readonly id: string;
}

const ways: readonly (readonly [
  way: string,
  reason: string,
  end: (scene: RelaysBehindVip, call: Call, context: TestContext) => unknown,
])[] = [
  ["its client hangs up", "hang-up", (_scene, { client }) => client.close()],
  ["it is deleted", "end-call", (scene, { id }) => scene.transceiver.endCall(id)],
  [
    "its client's consent expires",
    "consent-expired",
    (_scene, _call, context) => context.mock.timers.enable({ apis: ["Date"], now: Date.now() + CONSENT_OVER_MS }),
  ],
];

const flows = async (scene: RelaysBehindVip, label = ""): Promise<readonly number[]> =>
  Promise.all(scene.relays.map(async (_, relay) => (await scene.metrics(relay)).sum("earshot_relay_flows", label)));

for (const [way, reason, end] of ways) {
  test(`a call has no flow at any relay when ${way}`, async (context) => {
    const scene = await relaysBehindVip(context);
    for (const engine of ["native", "js", "native"] as const) await scene.relay({ engine });
    scene.vip.spreads = isCheck;
    const call = await scene.call({ data: true });
    const at = await eventually(
      "the flow at every relay",
      () => flows(scene, 'state="assured"'),
      (found) => found.every((count) => count === 1),
      PATIENCE_MS,
    );
    assert.deepEqual(at, [1, 1, 1]);
    scene.vip.loses = isCheck;
    scene.vip.choose = () => 1;
    await echoes(call.client, "by way of one of them");
    await end(scene, call, context);
    await eventually(
      "no flow anywhere",
      () => flows(scene),
      (found) => found.every((count) => count === 0),
      PATIENCE_MS,
    );
    const text = await scene.transceiver.registry.metrics();
    assert.match(text, new RegExp(`reason="${reason}"\\} 1$`, "m"));
  });
}

test("a relay that was told whose a path is has no flow either when the call ends", async (context) => {
  const scene = await relaysBehindVip(context);
  const first = await scene.relay();
  await scene.relay();
  const { id } = await scene.call();
  await first.stop();
  scene.vip.choose = () => 2;
  await eventually(
    "the flow",
    () => flows(scene),
    ([, second]) => second === 1,
    PATIENCE_MS,
  );
  await scene.transceiver.endCall(id);
  await eventually(
    "no flow",
    () => flows(scene),
    ([, second]) => second === 0,
    PATIENCE_MS,
  );
});
