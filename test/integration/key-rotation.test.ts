/** Fleet keys rotate in a running relay and transceiver, by themselves and as processes, while a call is on. */
import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { pino } from "pino";
import { keyFileText, newSecret } from "../../src/keys/key-file.ts";
import { type FleetKey, KeyRing } from "../../src/keys/key-ring.ts";
import { type DatedKey, KeySchedule } from "../../src/keys/key-schedule.ts";
import { Relay } from "../../src/relay/relay.ts";
import { openToken } from "../../src/token/token.ts";
import { Transceiver } from "../../src/transceiver/transceiver.ts";
import { assertBalanced, isBalanced } from "../kit/accounting.ts";
import { EarshotProcess } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { Metrics } from "../kit/metrics.ts";
import { until } from "../kit/until.ts";
import { WeriftClient } from "../kit/werift-client.ts";

const CLUSTER = 3;
const ID = 12;
const logger = pino({ level: "silent" });
const LOOPBACK = { address: "127.0.0.1", port: 0 };

const ufragOf = (answerSdp: string): string => /^a=ice-ufrag:(\S+)/m.exec(answerSdp)![1]!;

for (const engine of ["js", "native"] as const) {
  test(`a call goes on through rotations, past the end of its own key (${engine} engine)`, async (context) => {
    const fleetKeys: FleetKey[] = Array.from({ length: 8 }, (_, id) => ({ id, secret: newSecret(), signs: false }));
    /** Keys `from` to before `to` verify, and `signs` signs. */
    const ringOf = (from: number, to: number, signs: number) =>
      new KeyRing(fleetKeys.slice(from, to).map((key) => ({ ...key, signs: key.id === signs })));

    let keys = ringOf(0, 1, 0);
    const relay = new Relay({
      listen: [{ id: 1, ...LOOPBACK }],
      trunk: LOOPBACK,
      engine,
      lanes: 1,
      workers: 1,
      cpus: [],
      gatherUs: 0,
      keys,
      cluster: CLUSTER,
      flowCapacity: 1024,
      receiveBufferBytes: 1 << 20,
      logger,
    });
    await relay.start();
    context.after(() => relay.stop());
    const transceiver = new Transceiver({
      id: ID,
      cluster: CLUSTER,
      epoch: BigInt(Date.now()),
      keys,
      trunk: LOOPBACK,
      advertise: relay.ingresses,
      maxCallMs: 3_600_000,
      limits: { maxCalls: 20 },
      logger,
    });
    const trunk = await transceiver.start();
    context.after(() => transceiver.stop());
    relay.setDirectory([{ id: ID, ...trunk }]);
    await until(
      () => relay.ready(),
      () => "the relay does not find the transceiver",
    );

    const clients: WeriftClient[] = [];
    context.after(() => Promise.all(clients.map((client) => client.close())));
    const call = async (): Promise<WeriftClient> => {
      const client = new WeriftClient({ audio: false });
      clients.push(client);
      const { answerSdp } = await transceiver.createCall(await client.offer());
      const opened = openToken(ufragOf(answerSdp), keys);
      assert.ok(opened.ok);
      assert.equal(opened.token.keyId, keys.signing.id, "a new token is of the key that signs");
      await client.accept(answerSdp);
      await client.connected();
      return client;
    };
    let said = 0;
    const talk = async (client: WeriftClient): Promise<void> => {
      const words = Array.from({ length: 20 }, () => `word ${said++}`);
      for (const word of words) client.channel!.send(word);
      await until(
        () => client.messages.length === words.length,
        () => `${client.messages.length} of ${words.length} words came back`,
      );
      assert.deepEqual(client.messages.splice(0), words);
    };

    const lasting = await call();
    await talk(lasting);
    for (let next = 1; next < fleetKeys.length; next++) {
      // The file arrives, the new key's date is reached, the old one's too: at one end, then at the other.
      for (const ring of [
        ringOf(next - 1, next + 1, next - 1),
        ringOf(next - 1, next + 1, next),
        ringOf(next, next + 1, next),
      ]) {
        const ends = [relay, transceiver];
        if (next % 2 === 0) ends.reverse();
        ends[0]!.setKeys(ring);
        await talk(lasting);
        keys = ring;
        ends[1]!.setKeys(ring);
        await talk(lasting);
      }
      if (next % 3 === 0) await talk(await call());
    }

    const scrape = async () =>
      new Metrics(`${await relay.registry.metrics()}\n${await transceiver.registry.metrics()}`);
    const metrics = await eventually("rest", scrape, isBalanced);
    assertBalanced(metrics);
    for (const lost of [
      "relay_up_drop_",
      "relay_down_drop_",
      "relay_frame_drop_",
      "relay_miss_drop_",
      "transceiver_trunk_drop_",
    ]) {
      assert.equal(metrics.sumOfAll(`earshot_${lost}`), 0, lost);
    }
    for (const part of ["relay", "transceiver"]) assert.equal(metrics.sum(`earshot_${part}_fleet_key`, 'id="7"'), 1);
  });
}

describe("processes with a key file", () => {
  const folder = mkdtempSync(join(tmpdir(), "earshot-key-rotation-"));
  after(() => rmSync(folder, { recursive: true }));
  const HOUR = 3_600_000;
  const ago = (hours: number): DatedKey => ({
    id: hours,
    secret: newSecret(),
    signsFromMs: Math.floor(Date.now() / 1000) * 1000 - hours * HOUR,
    retiresMs: undefined,
  });

  test("earshot start takes new keys from its file, by itself and on SIGHUP, and so do children that come back", async (context) => {
    const file = join(folder, "keys.json");
    const put = (text: string): void => {
      writeFileSync(`${file}.draft`, text, { mode: 0o600 });
      renameSync(`${file}.draft`, file);
    };
    const use = (...keys: readonly DatedKey[]): void => put(keyFileText(new KeySchedule(keys)));
    const [nine, eight, seven] = [ago(9), ago(8), ago(7)];
    use(nine);
    const earshot = await EarshotProcess.start(
      ...["start", "--keys", file, "--engine", "js", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"],
    );
    context.after(() => earshot.stop());
    const keysAre = async (ids: readonly number[], signing: number): Promise<void> => {
      const asked = (metrics: Metrics) =>
        ["relay", "transceiver"].every((part) => {
          const name = `earshot_${part}_fleet_key`;
          return (
            metrics.count(name) === ids.length &&
            ids.every((id) => metrics.sum(name, `id="${id}"`) === (id === signing ? 1 : 0))
          );
        });
      await eventually(`keys ${ids}, ${signing} signing`, () => earshot.metrics(), asked);
    };
    await keysAre([9], 9);

    use(nine, eight);
    await keysAre([9, 8], 8);
    put("{");
    await eventually(
      "the fault",
      () => earshot.metrics(),
      (metrics) => metrics.sum("earshot_front_key_file_ok") === 0,
    );
    assert.equal((await earshot.metrics()).sum("earshot_front_key_file_failures_total"), 1);
    await keysAre([9, 8], 8);
    assert.match(earshot.log, /"code":"KEYS_FILE_INVALID".*the fleet keys stay as they are: key file .*not JSON/);

    use(eight, seven);
    earshot.signal("SIGHUP");
    await keysAre([8, 7], 7);
    assert.equal((await earshot.metrics()).sum("earshot_front_key_file_ok"), 1);

    // A hang-up of the whole group ends nobody.
    for (const pid of earshot.children()) process.kill(pid, "SIGHUP");
    await keysAre([8, 7], 7);
    assert.equal((await earshot.metrics()).sum("earshot_front_child_restarts"), 0);
    // Children that were killed get the keys of now. The relay comes back once or twice: the one that stands by is killed too, and
    // may have taken over before the front hears of that.
    for (const pid of earshot.children()) process.kill(pid, "SIGKILL");
    await eventually(
      "both children again",
      () => earshot.metrics(),
      (metrics) => metrics.sum("earshot_front_child_restarts") >= 2 && metrics.sum("earshot_front_child_up") === 2,
    );
    await keysAre([8, 7], 7);
    for (const { secret } of [nine, eight, seven]) assert.ok(!earshot.log.includes(secret.toString("base64")));
  });
});
