/** The page in real browsers: one button, one call, heard and answered, and gone from the server afterwards. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Browser, launchChromium, launchFirefox } from "../kit/browsers.ts";
import { CallPage } from "../kit/call-page.ts";
import { EarshotProcess } from "../kit/earshot-process.ts";
import { noSessions } from "../kit/no-sessions.ts";

const BROWSERS: readonly (readonly [string, () => Promise<Browser>])[] = [
  ["Chromium", launchChromium],
  ["Firefox", launchFirefox],
];

for (const [name, launch] of BROWSERS) {
  describe(`the page in ${name}`, () => {
    let service: EarshotProcess;
    let browser: Browser;
    before(async () => {
      service = await EarshotProcess.start("start", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0");
      browser = await launch();
    });
    after(async () => {
      await browser?.close();
      await service?.stop();
    });

    it("calls, echoes voice and text, and hangs up", async () => {
      const page = new CallPage(await browser.open(service.url));
      await page.call();
      await page.hearEcho();
      await page.write("Mr. Watson, come here");
      assert.equal((await service.metrics()).sum("earshot_transceiver_calls", 'state="connected"'), 1);
      await page.hangUp();
      await noSessions(service);
    });

    it("calls again after a call", async () => {
      const page = new CallPage(await browser.open(service.url));
      for (const text of ["first", "second"]) {
        await page.call();
        await page.hearEcho();
        await page.write(text);
        await page.hangUp();
        await noSessions(service);
      }
    });

    it("connects when the offer hides the browser's addresses", async () => {
      const tab = await browser.open(service.url);
      const call = "probe.callWithHiddenAddresses('/v1/realtime/calls')";
      const { names, state } = await tab.evaluate<{ names: number; state: string }>(call);
      assert.ok(names > 0, "the offer had no candidate to hide");
      assert.equal(state, "connected");
      await noSessions(service);
    });

    it("ends the call when its tab is closed", async () => {
      const page = new CallPage(await browser.open(service.url));
      await page.call();
      await page.hearEcho();
      await page.tab.close();
      const metrics = await noSessions(service);
      assert.equal(metrics.sum("earshot_transceiver_calls_ended_total", 'reason="consent-expired"'), 0);
    });
  });
}
