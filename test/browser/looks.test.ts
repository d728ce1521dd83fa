/** The page fits where it is shown, in light and dark, in a call and before; pictures of it are left for people to see. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { type Chromium, launchChromium } from "../kit/browsers.ts";
import { CallPage } from "../kit/call-page.ts";
import { EarshotProcess } from "../kit/earshot-process.ts";
import { eventually } from "../kit/eventually.ts";

const LOOKS = [
  { name: "light", width: 1200, height: 900, colours: "light" },
  { name: "dark", width: 1200, height: 900, colours: "dark" },
  { name: "narrow", width: 360, height: 740, colours: "light" },
] as const;

describe("the page", () => {
  let service: EarshotProcess;
  let browser: Chromium;
  const folder = process.env.EARSHOT_SCREENSHOTS ?? path.join(os.tmpdir(), "earshot-screenshots");
  before(async () => {
    mkdirSync(folder, { recursive: true });
    service = await EarshotProcess.start("start", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0");
    browser = await launchChromium();
  });
  after(async () => {
    await browser?.close();
    await service?.stop();
    console.log(`shown: screenshots in ${folder}`);
  });

  it("is never wider than its window", async () => {
    const tab = await browser.open(service.url);
    const call = new CallPage(tab);
    for (const state of ["idle", "call"]) {
      if (state === "call") {
        await call.call();
        await call.hearEcho();
        await call.write("Mr. Watson, come here");
        await tab.click("#details summary");
        await eventually(
          "the figures have something to show",
          () => tab.evaluate<string>("document.querySelector('.figures').innerText"),
          (figures) => (figures.match(/\d ms/g) ?? []).length >= 4,
          15_000,
        );
      }
      for (const { name, ...look } of LOOKS) {
        await tab.screenshot(path.join(folder, `${state}-${name}.png`), look);
        const spare = await tab.evaluate<number>(
          "document.documentElement.clientWidth - document.documentElement.scrollWidth",
        );
        assert.ok(spare >= 0, `${state}, ${name}: ${-spare} px too wide`);
      }
    }
    await call.hangUp();
  });
});
