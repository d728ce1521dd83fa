/** What the page has beside its one button: devices, mute, interruption, the trace, and the way in with an access token. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { type Chromium, launchChromium } from "../kit/browsers.ts";
import { CallPage } from "../kit/call-page.ts";
import { EarshotProcess } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { noSessions } from "../kit/no-sessions.ts";

const TOKEN = "a-token-of-the-tests-1";

interface Trace {
  readonly format: string;
  readonly timings: Readonly<Record<string, number>>;
  readonly server: { readonly state: string };
  readonly events: readonly { readonly event: string; readonly sdp?: string }[];
  readonly snapshots: readonly { readonly stats: readonly { readonly type: string }[] }[];
}

describe("the page's controls", () => {
  let service: EarshotProcess;
  let guarded: EarshotProcess;
  let browser: Chromium;
  const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-controls-"));
  before(async () => {
    const ports = ["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    const tokens = path.join(folder, "tokens.txt");
    writeFileSync(tokens, `${TOKEN}\n`);
    service = await EarshotProcess.start("start", ...ports);
    guarded = await EarshotProcess.start("start", ...ports, "--auth-tokens", tokens, "--max-call-seconds", "8");
    browser = await launchChromium();
  });
  after(async () => {
    await browser?.close();
    await service?.stop();
    await guarded?.stop();
    rmSync(folder, { recursive: true });
  });

  it("mute sends silence, and change the microphone in mid-call", async () => {
    const page = new CallPage(await browser.open(service.url));
    await page.call();
    await page.hearEcho();
    const sent = () => page.tab.evaluate<{ label: string; enabled: boolean }>("probe.microphone()");
    const first = await sent();
    assert.equal(first.enabled, true);
    await page.tab.click("#mute");
    assert.equal((await sent()).enabled, false);
    assert.equal(await page.tab.evaluate("document.querySelector('#mute').ariaPressed"), "true");

    const labels = await page.tab.evaluate<readonly string[]>(
      "[...document.querySelectorAll('#microphone option')].map((one) => one.label)",
    );
    const other = labels.findIndex((label, n) => n > 0 && label !== first.label);
    assert.ok(other > 0, `no other microphone than ${first.label} among ${labels}`);
    await page.tab.evaluate(`
      document.querySelector("#microphone").selectedIndex = ${other};
      document.querySelector("#microphone").dispatchEvent(new Event("change"));`);
    const changed = await eventually("another microphone", sent, ({ label }) => label !== first.label);
    assert.deepEqual(changed, { label: labels[other], enabled: false });
    await page.tab.click("#mute");
    assert.equal((await sent()).enabled, true);
    await page.hearEcho();
    await page.hangUp();
    assert.equal(await page.tab.evaluate("document.querySelector('#mute').disabled"), true);
    await noSessions(service);
  });

  it("show how the server sees the call, and give away its trace without its passwords", async () => {
    const page = new CallPage(await browser.open(service.url));
    await page.call();
    await page.hearEcho();
    await page.tab.click("#details summary");
    await eventually(
      "the server's figures",
      () => page.tab.evaluate<string>("document.querySelector('#facts').innerText"),
      (facts) => /Answered by\s+echo/.test(facts) && /Frames there\s+\d+ in, \d+ out/.test(facts),
    );
    assert.equal(await page.tab.evaluate("document.querySelector('#interrupt').hidden"), true);
    const ufrag = await page.tab.evaluate<string>("probe.answerUfrag()");
    await page.hangUp();
    await page.tab.click("#trace");
    const text = await page.tab.evaluate<string>("probe.saved()");
    const trace = JSON.parse(text) as Trace;
    assert.equal(trace.format, "earshot-call-trace");
    assert.equal(trace.server.state, "connected");
    for (const event of ["microphone", "offer", "answer", "connected", "first audio", "ended"]) {
      assert.ok(
        trace.events.some((one) => one.event === event),
        event,
      );
      assert.ok((trace.timings[`${event}Ms`] ?? -1) >= 0, event);
    }
    assert.ok(trace.events.find(({ event }) => event === "answer")?.sdp?.includes(ufrag));
    assert.deepEqual([...new Set(text.match(/a=ice-pwd:[^\\]*/g))], ["a=ice-pwd:(left out)"]);
    assert.ok(trace.snapshots.some(({ stats }) => stats.some(({ type }) => type === "inbound-rtp")));
    await noSessions(service);
  });

  it("interrupt with the events that a service understands", async () => {
    const tab = await browser.open(service.url);
    await tab.evaluate("probe.startCalls(1)");
    const events = await tab.evaluate<readonly { type: string }[]>("probe.interrupted()");
    assert.deepEqual(
      events.map(({ type }) => type),
      ["response.cancel", "output_audio_buffer.clear"],
    );
    await tab.evaluate("probe.endCalls()");
    await noSessions(service);
  });

  it("ask for an access token where one is needed, and say why a call was ended", async () => {
    const page = new CallPage(await browser.open(guarded.url));
    const shown = () => page.tab.evaluate<string>("document.querySelector('#problem').innerText");
    await page.tab.click("#call");
    await eventually("the question", shown, (text) => text.includes("asks for an access token"));
    await page.tab.type("#access-token", "another-token-1234");
    await page.tab.click("#access button");
    await eventually("the refusal", shown, (text) => text.includes("does not accept this access token"));
    await page.tab.type("#access-token", TOKEN);
    await page.tab.click("#access button");
    await eventually(
      "the call",
      () => page.tab.evaluate<string>("document.body.dataset.state"),
      (state) => state === "connected",
      15_000,
    );
    await eventually("the reason", shown, (text) => text.includes("as long as the server allows"), 30_000);
    await noSessions(guarded);
  });
});
