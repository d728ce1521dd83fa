/**
 * Owns real browsers, each with a new profile, a fake microphone, and no way to send anything beyond loopback's WebRTC or the network of a test.
 * One small interface for both, so that a test says what happens and not how a browser is driven.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";
import { inNetwork } from "../../bench/load/seat.ts";
import { packageRoot } from "../../src/package-root.ts";

const IN_PAGE = ["in-page.js", "client-in-page.js", "ear-in-page.js"]
  .map((name) => readFileSync(new URL(`test/kit/${name}`, packageRoot), "utf8"))
  .join("\n");

export interface Tab {
  /** The value of a JavaScript expression in the page, awaited. */
  evaluate<T>(expression: string): Promise<T>;
  click(selector: string): Promise<void>;
  type(selector: string, text: string): Promise<void>;
  /** Errors that the page threw or logged. */
  readonly errors: readonly string[];
  close(): Promise<void>;
}

export interface Look {
  readonly width: number;
  readonly height: number;
  readonly colours: "light" | "dark";
}

export interface Browser {
  open(url: string): Promise<Tab>;
  close(): Promise<void>;
}

export interface ChromiumTab extends Tab {
  screenshot(file: string, look: Look): Promise<void>;
}

export interface Chromium extends Browser {
  open(url: string): Promise<ChromiumTab>;
}

const CHROMIUM = "/usr/bin/chromium";

export interface ChromiumOptions {
  /** A WAV file that is heard over and over instead of Chromium's beeps. */
  readonly microphone?: string;
  /** In the network of the process with this id, where a page of this origin may use the microphone as if it had come by HTTPS. */
  readonly elsewhere?: { readonly networkOf: number; readonly origin: string };
}

export async function launchChromium({ microphone, elsewhere }: ChromiumOptions = {}): Promise<Chromium> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "earshot-chromium-"));
  const program = path.join(folder, "chromium");
  // A program of its own, because what starts it gives it arguments and not a command.
  writeFileSync(program, `#!/bin/sh\nexec ${inNetwork(elsewhere?.networkOf, CHROMIUM).join(" ")} "$@"\n`, {
    mode: 0o755,
  });
  const browser = await chromium.launch({
    executablePath: program,
    chromiumSandbox: false,
    args: [
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      "--allow-loopback-in-peer-connection",
      ...(elsewhere === undefined ? [] : [`--unsafely-treat-insecure-origin-as-secure=${elsewhere.origin}`]),
      ...(microphone === undefined ? [] : [`--use-file-for-fake-audio-capture=${microphone}`]),
    ],
  });
  return {
    async open(url) {
      const context = await browser.newContext();
      await context.addInitScript({ content: IN_PAGE });
      const page = await context.newPage();
      const errors: string[] = [];
      page.on("pageerror", (error) => errors.push(String(error)));
      page.on("console", (message) => {
        if (message.type() === "error") errors.push(message.text());
      });
      const response = await page.goto(url);
      assert.equal(response?.status(), 200);
      return {
        errors,
        evaluate: (expression) => page.evaluate(expression),
        click: (selector) => page.click(selector),
        type: (selector, text) => page.fill(selector, text),
        async screenshot(file, { width, height, colours }) {
          await page.setViewportSize({ width, height });
          await page.emulateMedia({ colorScheme: colours });
          await page.screenshot({ path: file, fullPage: true });
        },
        close: () => context.close(),
      };
    },
    async close() {
      await browser.close();
      rmSync(folder, { recursive: true });
    },
  };
}

export async function launchFirefox(): Promise<Browser> {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: "/usr/bin/firefox-esr",
    headless: true,
    extraPrefsFirefox: {
      "media.navigator.streams.fake": true,
      "media.peerconnection.ice.loopback": true,
      // Granted for good: Firefox otherwise gathers on the interface of the default route alone, and never on loopback.
      "permissions.default.microphone": 1,
    },
  });
  return {
    async open(url) {
      const page = await browser.newPage();
      await page.evaluateOnNewDocument(IN_PAGE);
      const errors: string[] = [];
      page.on("pageerror", (error) => errors.push(String(error)));
      page.on("console", (message) => {
        if (message.type() === "error") errors.push(message.text());
      });
      await page.goto(url);
      return {
        errors,
        evaluate: <T>(expression: string) => page.evaluate(expression) as Promise<T>,
        click: (selector) => page.click(selector),
        type: (selector, text) => page.type(selector, text),
        close: () => page.close(),
      };
    },
    close: () => browser.close(),
  };
}
