/**
 * Somebody has overheard one valid request of a call and sends it from ever new addresses. The whole relay, each engine,
 * a real transceiver that answers every one of them. The floods themselves, with their negative controls, are in
 * test/unit/admission-floods.test.ts.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BUDGETS, PATHS_PER_UFRAG } from "../../src/relay/limits.ts";
import { eventually } from "../kit/eventually.ts";
import { FakeClient } from "../kit/fake-client.ts";
import { iceCheck } from "../kit/ice-checks.ts";
import { echoes, System } from "../kit/system.ts";

const REPLAYS = 80;

for (const engine of ["native", "js"] as const) {
  test(`the call goes on, and others begin (${engine} engine)`, async (context) => {
    const system = await System.open({ engine });
    context.after(() => system.close());
    const victim = await system.call();
    await echoes(victim, "before");

    const { remoteUsername, remotePassword, localUsername, localPassword } =
      victim.connection.iceTransports[0]!.connection;
    const request = iceCheck({
      ours: { ufrag: remoteUsername, password: remotePassword },
      theirs: { ufrag: localUsername, password: localPassword },
    });
    const attackers: FakeClient[] = [];
    context.after(() => Promise.all(attackers.map((attacker) => attacker.close())));
    const before = await system.relayMetrics();
    const since = async (name: string): Promise<number> =>
      (await system.relayCount(name)) - before.sum(`earshot_relay_${name}_total`);
    for (let n = 0; n < REPLAYS; n++) {
      const attacker = await FakeClient.open(system.relay.ingresses[0]!);
      attackers.push(attacker);
      await attacker.send(request);
    }
    await eventually(
      "decisions",
      async () => (await since("miss_offered")) + (await since("miss_drop_budget_token")),
      (decided) => decided >= REPLAYS,
    );
    await echoes(victim, "during");

    const letIn = await since("miss_offered");
    // What both budgets hold, and what a slow machine may have added to that meanwhile.
    assert.ok(letIn <= BUDGETS.token.burst + BUDGETS.assuredToken.burst + 15, `${letIn} let in`);
    assert.ok((await since("path_evicted")) > 0, "none was evicted");
    const flows = (await system.relayMetrics()).sum("earshot_relay_flows");
    assert.ok(flows <= PATHS_PER_UFRAG, `${flows} flows`);

    const other = await system.call();
    await echoes(other, "another");
    await echoes(victim, "after");
  });
}
