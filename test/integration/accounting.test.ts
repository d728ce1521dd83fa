/**
 * Every datagram that was sent is accounted for, exactly: it was read by the relay and ended in one counter, or the kernel
 * dropped it for want of room and says so. With load and hostile datagrams in both directions, a relay that stands still
 * for a while, and every engine.
 */
import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { balance, workerBalance } from "../../bench/load/balance.ts";
import { LOOPBACK, LoadRig } from "../../bench/load/load-rig.ts";
import { backlogDrops } from "../../bench/load/proc.ts";
import { hostileDatagrams } from "../kit/hostile-datagrams.ts";

const FLOWS = 200;
const SECONDS = 2;
/** Each of them a stranger to the relay. */
const STRANGERS = 20;
/** Small, so that a relay that stands still for {@link STILL_MS} loses datagrams. */
const RECEIVE_BUFFER_BYTES = 256 << 10;
const STILL_MS = 300;
/** What is sent here must reach all of these at least. */
const REACHED = [
  ...["up_forwarded", "up_missed", "up_reoffered", "up_drop_empty", "up_drop_truncated", "up_drop_class"],
  ...["up_drop_stun_malformed", "up_drop_stun_method", "up_drop_ufrag", "up_drop_tag", "up_drop_no_flow"],
  ...["miss_offered", "miss_drop_token", "miss_drop_expired", "miss_drop_cluster", "miss_drop_transceiver"],
  ...["miss_drop_integrity", "miss_drop_fingerprint"],
  ...["down_accepted", "down_drop_truncated", "down_drop_malformed", "down_drop_key", "down_drop_tag"],
  ...["down_drop_target", "down_drop_sender", "down_drop_replay"],
  ...["frame_forwarded", "frame_control", "frame_drop_malformed", "frame_drop_unknown_path"],
] as const;
const NO_DIFFERENCE = { up: 0, down: 0, frame: 0 };

for (const [engine, workers] of [
  ["native", 1],
  ["native", 2],
  ["js", 1],
] as const) {
  test(`nothing is lost without a trace: ${engine} engine, workers: ${workers}`, async () => {
    const rig = await LoadRig.open({
      engine,
      workers,
      flows: FLOWS,
      network: LOOPBACK,
      receiveBufferBytes: RECEIVE_BUFFER_BYTES,
      mischief: true,
    });
    try {
      assert.equal(rig.engine, engine, "the engine that was asked for");
      const backlogBefore = backlogDrops();
      const before = await rig.settled();
      const strangers = await Strangers.open(rig);
      let on = true;
      const [established] = await Promise.all([
        rig.established(SECONDS, { setUp: true }).finally(() => {
          on = false;
        }),
        strangers.sendWhile(() => on),
        stand(rig),
      ]);
      await strangers.close();
      const after = await rig.settled();

      assert.deepEqual(balance(after.relay), NO_DIFFERENCE, "in total");
      assert.equal(after.relay.sum("earshot_relay_held"), 0);
      for (let worker = 1; worker <= workers; worker += 1) {
        assert.deepEqual(workerBalance(after.relay, worker), NO_DIFFERENCE, `worker ${worker}`);
        assert.ok(after.relay.sum("earshot_relay_up_received_total", `worker="${worker}"`) > 0, `worker ${worker}`);
        assert.ok(after.relay.sum("earshot_relay_down_received_total", `worker="${worker}"`) > 0, `worker ${worker}`);
      }

      const sentUp = established.setUpSent + established.sent + strangers.sentUp;
      const sentDown = after.echo.sent - before.echo.sent + strangers.sentDown;
      const lost = {
        up: sentUp - after.relay.sum("earshot_relay_up_received_total") - after.kernelDrops.public,
        down: sentDown - after.relay.sum("earshot_relay_down_received_total") - after.kernelDrops.trunk,
      };
      // What was lost before it reached any socket the kernel counts by CPU, not by whom it was for.
      const elsewhere = backlogDrops() - backlogBefore;
      if (elsewhere === 0) assert.deepEqual(lost, { up: 0, down: 0 });
      else assert.ok(lost.up >= 0 && lost.down >= 0 && lost.up + lost.down <= elsewhere, JSON.stringify(lost));

      // And not because there was nothing to count.
      assert.ok(after.kernelDrops.public > 0 && after.kernelDrops.trunk > 0, JSON.stringify(after.kernelDrops));
      if (engine === "native") {
        for (const [socket, drops] of Object.entries(after.kernelDrops)) {
          assert.equal(after.relay.sum("earshot_relay_kernel_drops_total", `socket="${socket}"`), drops);
        }
      }
      assert.equal(established.strange, 0);
      assert.equal(established.duplicates, 0);
      for (const name of REACHED) assert.ok(after.relay.sum(`earshot_relay_${name}_total`) > 0, name);
    } finally {
      await rig.close();
    }
  });
}

/** The relay stands still in the middle of everything, and both of its buffers run over. */
async function stand(rig: LoadRig): Promise<void> {
  await sleep((SECONDS * 1_000) / 2);
  await rig.standingStill(() => sleep(STILL_MS));
}

/** Clients that nobody has invited, and somebody who has found the trunk. */
class Strangers {
  sentUp = 0;
  sentDown = 0;
  readonly #rig: LoadRig;
  readonly #sockets: Socket[] = [];
  readonly #hostile: readonly Buffer[];

  private constructor(rig: LoadRig) {
    this.#rig = rig;
    const [line] = readFileSync(rig.flowsFile, "utf8").split("\n");
    // What a flow begins with, captured and replayed: each stranger gets a flow of its own by it, and an answer.
    const captured = Buffer.from(line!.split(" ")[1]!, "hex");
    this.#hostile = [...hostileDatagrams(rig).values(), captured];
  }

  static async open(rig: LoadRig): Promise<Strangers> {
    const strangers = new Strangers(rig);
    for (let i = 0; i < STRANGERS; i += 1) {
      const socket = createSocket("udp4");
      socket.bind(0, `127.0.0.${10 + i}`);
      await once(socket, "listening");
      strangers.#sockets.push(socket);
    }
    return strangers;
  }

  async sendWhile(on: () => boolean): Promise<void> {
    await Promise.all(
      this.#sockets.map(async (socket) => {
        while (on()) {
          for (const datagram of this.#hostile) {
            if (await isSent(socket, datagram, this.#rig.port)) this.sentUp += 1;
            for (const port of this.#rig.trunkPorts) {
              if (await isSent(socket, datagram, port)) this.sentDown += 1;
            }
          }
          // The kernel takes them at once, so that this alone would never let anything else happen.
          await sleep(1);
        }
      }),
    );
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) await new Promise<void>((resolve) => socket.close(resolve));
  }
}

/** Whether the kernel took it. */
function isSent(socket: Socket, datagram: Buffer, port: number): Promise<boolean> {
  return new Promise((resolve) => socket.send(datagram, port, "127.0.0.1", (error) => resolve(error === null)));
}
