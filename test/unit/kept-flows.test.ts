/** Two native engines after each other with the same sockets and the same memory, as two processes of a keeper have them. */
import assert from "node:assert/strict";
import { closeSync } from "node:fs";
import { describe, type TestContext, test } from "node:test";
import { WORKER_COUNTER } from "../../src/engine/counters.ts";
import type { EngineOptions } from "../../src/engine/engine.ts";
import { loadBinding } from "../../src/engine/native/binding.ts";
import { OpenLanes } from "../../src/engine/native/lanes.ts";
import { NativeEngine } from "../../src/engine/native/native-engine.ts";
import { FRAME_KIND } from "../../src/trunk/frame.ts";
import { bindingRequest, rtpLike } from "../kit/datagrams.ts";
import { EngineRig, engineOptions } from "../kit/engine-rig.ts";
import { until } from "../kit/until.ts";

/** What a keeper has, and an engine that works with it. */
async function kept(context: TestContext): Promise<{ rig: EngineRig; options: EngineOptions }> {
  const lanes = new OpenLanes(engineOptions());
  const [memory, records] = [loadBinding().makeKeptMemory(), loadBinding().makeKeptMemory()];
  context.after(() => {
    lanes.close();
    closeSync(memory);
    closeSync(records);
  });
  const options = engineOptions({
    ingresses: lanes.ingresses,
    adopted: lanes.descriptors,
    memory,
    handOver: { records },
  });
  const rig = new EngineRig((given) => new NativeEngine(given), options);
  context.after(() => rig.close());
  await rig.engine.start(rig.control.onControl);
  return { rig, options };
}

function successor(context: TestContext, rig: EngineRig, options: EngineOptions): NativeEngine {
  const engine = new NativeEngine(options);
  context.after(() => engine.stop());
  engine.setKeys(rig.ring);
  return engine;
}

test("the next engine forwards at once, both ways, before it was told of any transceiver", async (context) => {
  const { rig, options } = await kept(context);
  assert.equal(rig.engine.takenOver, undefined);
  const transceiver = await rig.transceiver();
  const client = await rig.client();
  const ufrag = await rig.establish(client, transceiver);
  await rig.engine.stop();
  const waiting = rtpLike();
  await client.send(waiting); // the kernel keeps it

  const next = successor(context, rig, options);
  await next.start(() => {});
  assert.deepEqual(next.takenOver, {
    transceivers: [{ ...transceiver.entry, slot: transceiver.slot }],
    flows: 1,
    tornFlows: 0,
    tornTransceivers: 0,
    imported: false,
  });
  assert.equal(next.flow(client.path)?.state, "assured");
  await rig.arrived(transceiver, client, waiting);
  const request = bindingRequest(ufrag);
  await client.send(request);
  await rig.arrived(transceiver, client, request);
  const before = client.received.length;
  await transceiver.data(client.path, rtpLike());
  await until(
    () => client.received.length > before,
    () => "nothing came to the client",
  );
});

test("while an engine has the memory no other one starts with it, and the first one goes on", async (context) => {
  const { rig, options } = await kept(context);
  const transceiver = await rig.transceiver();
  const client = await rig.client();
  await rig.establish(client, transceiver);
  const second = successor(context, rig, options);
  await assert.rejects(
    second.start(() => {}),
    { code: "KEPT_BUSY" },
  );
  await rig.up(client, transceiver, rtpLike());
});

test("an engine that has been stopped changes nothing any more", async (context) => {
  const { rig, options } = await kept(context);
  const transceiver = await rig.transceiver();
  const client = await rig.client();
  const ufrag = await rig.establish(client, transceiver);
  await rig.engine.stop();
  const next = successor(context, rig, options);
  await next.start(() => {});
  assert.equal(rig.engine.end(client.path, transceiver.slot, ufrag), false);
  rig.engine.retireTransceiver(transceiver.slot);
  assert.equal(rig.engine.restore(client.path, transceiver.slot, [ufrag]), "table-full");
  assert.equal(next.flow(client.path)?.owner, transceiver.slot);
  await client.send(rtpLike());
  await until(
    () => transceiver.frames.length > 0,
    () => "nothing came to the transceiver",
  );
});

test("memory of another size is not read", async (context) => {
  const { rig, options } = await kept(context);
  await rig.engine.stop();
  const next = successor(context, rig, { ...options, flowCapacity: options.flowCapacity * 2 });
  await assert.rejects(
    next.start(() => {}),
    { code: "KEPT_FOREIGN" },
  );
});

describe("an engine that lays memory out differently", () => {
  const key = Buffer.alloc(16, 7);

  /** As `options`, but with a table of another size, and an empty memory for it. */
  function otherLayout(context: TestContext, options: EngineOptions): EngineOptions {
    const memory = loadBinding().makeKeptMemory();
    context.after(() => closeSync(memory));
    const { records } = options.handOver!;
    return { ...options, flowCapacity: 8_192, handOver: { records, into: { memory, key } } };
  }

  test("goes on with the flows that were handed over, and so does the next one of its kind", async (context) => {
    const { rig, options } = await kept(context);
    const transceiver = await rig.transceiver();
    const client = await rig.client();
    const ufrag = await rig.establish(client, transceiver);
    const captured = transceiver.seal([FRAME_KIND.data, client.path, rtpLike()]);
    await transceiver.sendRaw(captured);
    await until(
      () => rig.since("down_accepted") === 1,
      () => "it was not accepted",
    );
    assert.deepEqual(await rig.engine.handOver(key), { flows: 1, torn: 0 });
    const waiting = rtpLike();
    await client.send(waiting); // the kernel keeps it

    const changed = otherLayout(context, options);
    const first = successor(context, rig, changed);
    await first.start(() => {});
    const expected = {
      transceivers: [{ ...transceiver.entry, slot: transceiver.slot }],
      flows: 1,
      tornFlows: 0,
      tornTransceivers: 0,
    };
    assert.deepEqual(first.takenOver, { ...expected, imported: true });
    assert.equal(first.flow(client.path)?.state, "assured");
    await rig.arrived(transceiver, client, waiting);
    await transceiver.sendRaw(captured);
    await until(
      () => first.counters()[0]?.[WORKER_COUNTER.down_drop_replay] === 1,
      () => "a replayed datagram was not refused",
    );
    await first.stop();

    const second = successor(context, rig, { ...changed, handOver: { records: options.handOver!.records } });
    await second.start(() => {});
    assert.deepEqual(second.takenOver, { ...expected, imported: false });
    const request = bindingRequest(ufrag);
    await client.send(request);
    await rig.arrived(transceiver, client, request);
  });

  const refused: readonly [what: string, code: string, change: (options: EngineOptions) => EngineOptions][] = [
    ["another upgrade's records", "RECORDS_BROKEN", (options) => ({ ...options, handOver: withOtherKey(options) })],
    ["more flows than it has room for", "RECORDS_TOO_MANY", (options) => ({ ...options, flowCapacity: 1 })],
  ];
  for (const [what, code, change] of refused) {
    test(`does not begin with ${what}, and the one before goes on with what it has`, async (context) => {
      const { rig, options } = await kept(context);
      const transceiver = await rig.transceiver();
      const clients = [await rig.client(), await rig.client()];
      for (const client of clients) await rig.establish(client, transceiver);
      await rig.engine.handOver(key);
      const next = successor(context, rig, change(otherLayout(context, options)));
      await assert.rejects(
        next.start(() => {}),
        { code },
      );
      const again = successor(context, rig, options);
      await again.start(() => {});
      assert.deepEqual([again.takenOver?.flows, again.takenOver?.imported], [2, false]);
      const media = rtpLike();
      await clients[0]!.send(media);
      await rig.arrived(transceiver, clients[0]!, media);
    });
  }

  function withOtherKey(options: EngineOptions): NonNullable<EngineOptions["handOver"]> {
    const { records, into } = options.handOver!;
    return { records, into: { ...into!, key: Buffer.alloc(16, 8) } };
  }
});
