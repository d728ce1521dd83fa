/** The ways a call can take: either engine, IPv4 and IPv6, all in one command or each part on its own. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { assertBalanced, isBalanced } from "../kit/accounting.ts";
import { type Chromium, type ChromiumTab, launchChromium } from "../kit/browsers.ts";
import { CallPage } from "../kit/call-page.ts";
import { EarshotProcess, runEarshot } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { freeUdpPort } from "../kit/free-udp-port.ts";
import { noSessions } from "../kit/no-sessions.ts";

describe("a call", () => {
  let browser: Chromium;
  before(async () => {
    browser = await launchChromium();
  });
  after(() => browser?.close());

  const callOnce = async (service: EarshotProcess): Promise<CallPage<ChromiumTab>> => {
    const page = new CallPage(await browser.open(service.url));
    await page.call();
    await page.hearEcho();
    await page.write("hello");
    return page;
  };

  for (const engine of ["native", "js"]) {
    for (const host of ["127.0.0.1", "[::1]"]) {
      it(`goes by the ${engine} engine and ${host}`, async (t) => {
        const service = await started(
          t,
          ...["start", "--engine", engine],
          ...["--http", `${host}:0`, "--listen", `${host}:0`],
        );
        const page = await callOnce(service);
        const { address } = await page.tab.evaluate<{ address: string }>("probe.remoteCandidate()");
        assert.equal(address, host.replace(/[[\]]/g, ""));
        const metrics = await service.metrics();
        assert.equal(metrics.sum("earshot_relay_engine_info", `engine="${engine}"`), 1);
        await page.hangUp();
        await noSessions(service);
      });
    }
  }

  it("goes through a relay and a transceiver of their own, with a configuration file and a key file", async (t) => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-fleet-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = (name: string) => path.join(folder, name);
    runEarshot("keys", "new", "--out", file("keys.json"));

    const ingress = await freeUdpPort();
    writeFileSync(
      file("transceiver.yaml"),
      `id: 7
http: 127.0.0.1:0
trunk: 127.0.0.1:0
advertise: 127.0.0.1:${ingress}
keys: ${file("keys.json")}
`,
    );
    const transceiver = await started(t, "transceiver", "--config", file("transceiver.yaml"));
    const [, trunk] = /trunk 127\.0\.0\.1:(\d+)/.exec(transceiver.banner) ?? [];
    writeFileSync(
      file("relay.yaml"),
      `listen: 127.0.0.1:${ingress}
http: 127.0.0.1:0
trunk: 127.0.0.1:0
keys: ${file("keys.json")}
directory:
  - { id: 7, address: 127.0.0.1, port: ${trunk} }
`,
    );
    const relay = await started(t, "relay", "--config", file("relay.yaml"));
    await eventually(
      "the relay has a live transceiver",
      async () => (await fetch(`${relay.url}/readyz`)).status,
      (status) => status === 200,
    );

    const page = await callOnce(transceiver);
    const ufrag = await page.tab.evaluate<string>("probe.answerUfrag()");
    assert.match(runEarshot("token", "inspect", ufrag, "--keys", file("keys.json")), /transceiver\s+7\b/);
    await page.hangUp();
    await noSessions(transceiver);
    const scrape = async () => (await relay.metrics()).and(await transceiver.metrics());
    assertBalanced(await eventually("the counters come to rest", scrape, isBalanced).catch(scrape));
  });
});

/** Stopped at the end of the test, whatever becomes of it. */
async function started(t: TestContext, ...args: string[]): Promise<EarshotProcess> {
  const service = await EarshotProcess.start(...args);
  t.after(() => service.stop());
  return service;
}
