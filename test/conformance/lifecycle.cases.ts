/** How every engine starts and stops, and what it leaves behind: nothing. */
import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";
import type { Engine, EngineOptions } from "../../src/engine/engine.ts";
import { KeyRing } from "../../src/keys/key-ring.ts";
import { dtlsLike } from "../kit/datagrams.ts";
import { engineOptions, fleetKey, imbalances, type MakeEngine, named, totals, withRig } from "../kit/engine-rig.ts";
import { freeUdpPort } from "../kit/free-udp-port.ts";

const HOST = "127.0.0.1";

async function bound(port: number, host = HOST): Promise<Socket> {
  const socket = createSocket({ type: "udp4" });
  socket.bind(port, host);
  await once(socket, "listening");
  return socket;
}

async function closed(socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => socket.close(resolve));
}

/** Nobody has this port: binding without SO_REUSEPORT fails while anybody does. */
async function assertFree(port: number): Promise<void> {
  await closed(await bound(port));
}

const newEngine = (make: MakeEngine, overrides: Partial<EngineOptions>): Engine => {
  const engine = make(engineOptions(overrides));
  engine.setKeys(new KeyRing([fleetKey(1)]));
  return engine;
};

const ingressAt = (id: number, port: number, address = HOST) => ({ id, address, port });

export function lifecycleCases(make: MakeEngine): void {
  test("says what it can do, started or not", async () => {
    const engine = newEngine(make, {});
    const { maxWorkers, pinning, kernelDrops } = engine.capabilities;
    assert.ok(maxWorkers >= 1);
    assert.equal(typeof pinning, "boolean");
    assert.equal(typeof kernelDrops, "boolean");
    await engine.stop();
  });

  test("starts on the ports that were asked for, or on the kernel's, and counts from zero", () =>
    withRig(make, {}, async (rig) => {
      const { engine } = rig;
      assert.ok(engine.ingresses[0]!.port > 0);
      assert.equal(engine.trunkPorts.length, 1);
      assert.ok(engine.trunkPorts[0]! > 0);
      assert.deepEqual(named(totals(engine)), {});
      assert.deepEqual(engine.flowCounts(), { flows: 0, tentative: 0, capacity: 4_096 });
      assert.equal(engine.takeControl(10).length, 0);
      const granted = engine.receiveBufferBytes();
      assert.ok(granted.public > 0 && granted.trunk > 0, JSON.stringify(granted));
      assert.deepEqual(engine.kernelDrops(), engine.capabilities.kernelDrops ? { public: 0, trunk: 0 } : undefined);
    }));

  test("worker w has the trunk port that was asked for, plus w", async () => {
    const port = await freeUdpPort();
    await withRig(make, { trunk: { address: HOST, port: port - 1 } }, async (rig) => {
      assert.deepEqual(rig.engine.trunkPorts, [port]);
    });
    await assertFree(port);
  });

  test("stop closes every socket, and may be called again", async () => {
    const engine = newEngine(make, { ingresses: [ingressAt(1, 0), ingressAt(2, 0, "127.0.0.2")] });
    await engine.start(() => {});
    const [first] = engine.ingresses;
    const [trunk] = engine.trunkPorts;
    await Promise.all([engine.stop(), engine.stop()]);
    await engine.stop();
    await assertFree(first!.port);
    await assertFree(trunk!);
  });

  test("what it has counted can still be read after it has stopped", () =>
    withRig(make, {}, async (rig) => {
      const client = await rig.client();
      await client.send(dtlsLike());
      await rig.expect({ up_received: 1, up_drop_no_flow: 1 });
      await rig.engine.stop();
      assert.deepEqual(named(totals(rig.engine)), { up_received: 1, up_drop_no_flow: 1 });
      assert.deepEqual(imbalances(totals(rig.engine)), { up: 0, down: 0, frame: 0 });
    }));

  test("a public port in use fails the start, says which, and leaves nothing open", async () => {
    const occupant = await bound(0);
    const { port: used } = occupant.address();
    const free = await freeUdpPort();
    const engine = newEngine(make, { ingresses: [ingressAt(1, free), ingressAt(2, used)] });
    await assert.rejects(
      engine.start(() => {}),
      (error: NodeJS.ErrnoException) => {
        assert.deepEqual([error.name, error.code], ["EarshotError", "EADDRINUSE"]);
        assert.ok(error.message.includes(`${HOST}:${used}`), error.message);
        return true;
      },
    );
    await assertFree(free);
    await engine.stop();
    await closed(occupant);
  });

  test("a trunk port in use fails the start and leaves nothing open", async () => {
    const occupant = await bound(0);
    const { port: used } = occupant.address();
    const free = await freeUdpPort();
    const engine = newEngine(make, { ingresses: [ingressAt(1, free)], trunk: { address: HOST, port: used - 1 } });
    await assert.rejects(
      engine.start(() => {}),
      { name: "EarshotError", code: "EADDRINUSE" },
    );
    await assertFree(free);
    await engine.stop();
    await closed(occupant);
  });

  test("a second engine of the same kind cannot take a port from the first", () =>
    withRig(make, {}, async (rig) => {
      const second = newEngine(make, { ingresses: rig.engine.ingresses });
      await assert.rejects(
        second.start(() => {}),
        { name: "EarshotError", code: "EADDRINUSE" },
      );
      await second.stop();
      await (await rig.client()).send(dtlsLike());
      await rig.expect({ up_received: 1, up_drop_no_flow: 1 });
    }));

  test("an address that this host does not have fails the start", async () => {
    const engine = newEngine(make, { ingresses: [ingressAt(1, 0, "192.0.2.254")] });
    await assert.rejects(
      engine.start(() => {}),
      (error: NodeJS.ErrnoException) => {
        assert.deepEqual([error.name, error.code], ["EarshotError", "EADDRNOTAVAIL"]);
        assert.ok(error.message.includes("192.0.2.254"), error.message);
        return true;
      },
    );
    await engine.stop();
  });
}
