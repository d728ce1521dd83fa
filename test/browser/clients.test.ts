/** Apps of other people's in real browsers: video, restarts of ICE, calls in a row and at once, and either side's end. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Browser, launchChromium, launchFirefox, type Tab } from "../kit/browsers.ts";
import { EarshotProcess } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { noSessions } from "../kit/no-sessions.ts";

const BROWSERS: readonly (readonly [string, () => Promise<Browser>])[] = [
  ["Chromium", launchChromium],
  ["Firefox", launchFirefox],
];

for (const [name, launch] of BROWSERS) {
  describe(`a client in ${name}`, () => {
    let service: EarshotProcess;
    let browser: Browser;
    let tab: Tab;
    before(async () => {
      service = await EarshotProcess.start("start", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0");
      browser = await launch();
      tab = await browser.open(service.url);
    });
    after(async () => {
      await browser?.close();
      await service?.stop();
    });

    const echoes = async (text: string) => assert.equal(await tab.evaluate(`client.echo("${text}")`), text);
    const grows = async (what: string, by: number) => {
      const before = await tab.evaluate<number>(`client.${what}()`);
      await eventually(
        what,
        () => tab.evaluate<number>(`client.${what}()`),
        (now) => now >= before + by,
        15_000,
      );
    };

    it("sees its video come back", async () => {
      assert.equal(await tab.evaluate("client.call({ video: true })"), "connected");
      await grows("framesDecoded", 20);
      await grows("audioReceived", 20);
      await tab.evaluate("client.hangUp()");
      await noSessions(service);
    });

    for (const how of ["offer", "fragment"]) {
      it(`restarts ICE by ${how} while media goes on`, async () => {
        await tab.evaluate("client.call()");
        await echoes("before");
        const proved = async () => (await service.metrics()).sum("earshot_transceiver_ice_paths_proved_total");
        for (const round of [1, 2]) {
          const before = await proved();
          await tab.evaluate(`client.restart("${how}")`);
          await grows("audioReceived", 20);
          await echoes(`after restart ${round}`);
          await eventually("a path of the new ICE session", proved, (now) => now > before);
        }
        await tab.evaluate("client.hangUp()");
        const metrics = await noSessions(service);
        assert.equal(metrics.sum("earshot_transceiver_calls_ended_total", 'reason="consent-expired"'), 0);
      });
    }

    it("publishes by WHIP, with its candidates after the offer", async () => {
      const published = await tab.evaluate<{ status: number; answerSdp: string; trickled: number[] }>(
        "client.publish()",
      );
      assert.equal(published.status, 201);
      assert.match(published.answerSdp, /^a=recvonly\r$/m);
      assert.ok(published.trickled.length > 0);
      assert.deepEqual([...new Set(published.trickled)], [204]);
      await grows("audioSent", 20);
      assert.equal(await tab.evaluate("client.audioReceived()"), 0);
      assert.equal(await tab.evaluate("client.stopPublishing()"), 200);
      await noSessions(service);
    });

    it("hears of the end when the server ends its call", async () => {
      await tab.evaluate("client.call()");
      await echoes("hello");
      await tab.evaluate("client.endFromServer()");
      await noSessions(service);
    });

    it("makes ten calls in a row", async () => {
      for (let n = 1; n <= 10; n++) {
        await tab.evaluate("client.call()");
        await echoes(`call ${n}`);
        await tab.evaluate("client.hangUp()");
      }
      await noSessions(service);
    });

    it("makes ten calls at once", async () => {
      const texts = await tab.evaluate<readonly string[]>("client.callMany(10)");
      assert.deepEqual(
        texts,
        Array.from({ length: 10 }, (_, n) => `this is caller ${n}`),
      );
      await tab.evaluate("client.endMany()");
      await noSessions(service);
    });
  });
}
