/** Every datagram is counted: what browsers say they sent and got is what the relay says it forwarded. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { assertBalanced, isBalanced } from "../kit/accounting.ts";
import { type Chromium, launchChromium } from "../kit/browsers.ts";
import { type Audio, CallPage } from "../kit/call-page.ts";
import { EarshotProcess } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { noSessions } from "../kit/no-sessions.ts";

const CALLS = 10;
/**
 * A call sends some 55 datagrams a second each way. Chromium may answer getStats with what it knew 50 ms ago, and a
 * loaded machine needs as long again between one reading and the next.
 */
const IN_FLIGHT = 20;

interface Datagrams {
  readonly sent: number;
  readonly received: number;
}

for (const engine of ["native", "js"]) {
  describe(`the counters of the ${engine} engine`, () => {
    let service: EarshotProcess;
    let browser: Chromium;
    before(async () => {
      service = await EarshotProcess.start(
        ...["start", "--engine", engine],
        ...["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"],
      );
      browser = await launchChromium();
    });
    after(async () => {
      await browser?.close();
      await service?.stop();
    });

    it("agree with a browser's own", async () => {
      const page = new CallPage(await browser.open(service.url));
      await page.call();
      await page.hearEcho();
      await page.write("counted");

      const before = await service.metrics();
      const datagrams = await page.tab.evaluate<Datagrams>("probe.datagrams()");
      const after = await service.metrics();
      const isBetween = (name: string, counted: number): void => {
        const [least, most] = [before.sum(name) - IN_FLIGHT, after.sum(name) + IN_FLIGHT];
        assert.ok(counted >= least && counted <= most, `${name}: ${least} to ${most} expected, ${counted} counted`);
      };
      isBetween("earshot_relay_up_forwarded_total", datagrams.sent);
      isBetween("earshot_relay_frame_forwarded_total", datagrams.received);
      await page.hangUp();
    });

    it(`add up after ${CALLS} calls at once`, async () => {
      const tab = await browser.open(service.url);
      await tab.evaluate(`probe.startCalls(${CALLS})`);
      await eventually(
        "each call hears its echo",
        () => tab.evaluate<readonly Audio[]>("probe.audioOfCalls()"),
        (calls) => calls.every(({ received, energy }) => received > 50 && energy > 0),
      );
      const texts = await tab.evaluate<readonly string[]>("probe.textsOfCalls()");
      assert.deepEqual(
        texts,
        Array.from({ length: CALLS }, (_, n) => `this is caller ${n}`),
      );
      const during = await service.metrics();
      assert.equal(during.sum("earshot_transceiver_calls", 'state="connected"'), CALLS);
      assert.equal(during.sum("earshot_relay_engine_info", `engine="${engine}"`), 1);

      await tab.evaluate("probe.endCalls()");
      await noSessions(service);
      // A scrape reads relay and transceiver one after the other, and pings never stop: take one that none fell into.
      const end = await eventually("the counters come to rest", () => service.metrics(), isBalanced).catch(() =>
        service.metrics(),
      );
      assertBalanced(end);
      assert.ok(end.sum("earshot_relay_up_forwarded_total") > CALLS * 50);
    });
  });
}
