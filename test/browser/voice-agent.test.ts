/** The example in a browser, as a person meets it: the agent greets, hears the caller, and answers what is typed. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/package-root.ts";
import { type Chromium, launchChromium } from "../kit/browsers.ts";
import { CallPage } from "../kit/call-page.ts";
import { EarshotProcess } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";
import { noSessions } from "../kit/no-sessions.ts";
import { joined, tone, wav } from "../kit/tone.ts";

const SCRIPT = fileURLToPath(new URL("examples/voice-agent/start.mjs", packageRoot));
const RATE = 48_000;
const LINES = "[...document.querySelectorAll('#messages li span')].map((line) => line.innerText)";

describe("the example agent in Chromium", () => {
  const folder = mkdtempSync(join(tmpdir(), "earshot-agent-"));
  let service: EarshotProcess;
  let browser: Chromium;
  before(async () => {
    // A second of something like speech, then two and a half of silence, over and over.
    const microphone = join(folder, "microphone.wav");
    const speech = joined([new Int16Array(1.5 * RATE), tone(400, 1_000, RATE), new Int16Array(RATE)]);
    writeFileSync(microphone, wav(speech, RATE));
    service = await EarshotProcess.run(SCRIPT, "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0");
    browser = await launchChromium({ microphone });
  });
  after(async () => {
    await browser?.close();
    await service?.stop();
    rmSync(folder, { recursive: true });
  });

  it("greets, hears when the caller has spoken, is interrupted, and answers what is typed", async () => {
    const page = new CallPage(await browser.open(service.url));
    await page.call();
    await page.hearEcho();
    const shows = (what: string, line: RegExp) =>
      eventually(
        what,
        () => page.tab.evaluate<string[]>(LINES),
        (lines) => lines.some((text) => line.test(text)),
        15_000,
      );
    await shows("the greeting", /^Hello\. I am a small example/);
    await shows("the answer to what was said", /You spoke for [01]\.\d seconds/);
    await page.tab.type("#message", "Good morning");
    await page.tab.click("#send");
    await shows("the answer to what was typed", /^You wrote: Good morning/);
    const metrics = await service.metrics();
    assert.equal(metrics.sum("earshot_transceiver_services", 'state="open"'), 1);
    assert.ok(metrics.sum("earshot_transceiver_audio_out_sent_total") > 50);
    await eventually(
      "an interruption",
      () => service.metrics(),
      (now) => now.sum("earshot_transceiver_audio_out_flushed_total") > 0,
    );
    await page.hangUp();
    await noSessions(service);
  });
});
