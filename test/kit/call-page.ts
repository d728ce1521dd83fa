/** Owns the page as a person uses it: calls, listens, writes, hangs up. Each step waits until the page shows its effect. */
import assert from "node:assert/strict";
import type { Tab } from "./browsers.ts";
import { eventually } from "./eventually.ts";

/** The state, and the problem if there is one. */
const SHOWN = `
  [...document.querySelectorAll("#state, #problem:not([hidden])")].map((element) => element.innerText).join(": ")`;

export interface Audio {
  readonly received: number;
  readonly energy: number;
  readonly sent: number;
}

export class CallPage<T extends Tab = Tab> {
  readonly tab: T;

  constructor(tab: T) {
    this.tab = tab;
  }

  async call(): Promise<void> {
    await this.tab.click("#call");
    // Read while it lasts: a connection that the page has given up tells nothing.
    let ice = "";
    const shown = async () => {
      const text = await this.#shown();
      if (text === "Connecting") ice = await this.tab.evaluate("probe.iceText()");
      return text;
    };
    await this.#shows("In a call", shown).catch((error) => {
      throw new Error(`${error.message}\n${ice}`);
    });
    assert.equal(await this.tab.evaluate("probe.connectionState()"), "connected");
  }

  /** Waits until the echo is heard: a second's worth of further packets, with sound in them. */
  async hearEcho(): Promise<void> {
    const before = await this.audio();
    await eventually(
      "the echo is heard",
      () => this.audio(),
      ({ received, energy }) => received > before.received + 50 && energy > before.energy,
    );
  }

  audio(): Promise<Audio> {
    return this.tab.evaluate("probe.audio()");
  }

  /** Sends a line and waits for it to come back. */
  async write(text: string): Promise<void> {
    await eventually(
      "the text box opens",
      () => this.tab.evaluate<boolean>("document.querySelector('#message').disabled"),
      (disabled) => !disabled,
    );
    await this.tab.type("#message", text);
    await this.tab.click("#send");
    await eventually(
      "the text comes back",
      () => this.tab.evaluate<string>("document.querySelector('#messages li:last-child')?.innerText ?? ''"),
      (line) => line.startsWith(text) && line.includes("returned after"),
    );
  }

  /** The page has logged and thrown nothing by then. */
  async hangUp(): Promise<void> {
    await this.tab.click("#call");
    await this.#shows("Call ended");
    assert.deepEqual(this.tab.errors, []);
  }

  #shown(): Promise<string> {
    return this.tab.evaluate(SHOWN);
  }

  async #shows(state: string, ask = () => this.#shown()): Promise<void> {
    await eventually(`the page shows "${state}"`, ask, (text) => text === state, 30_000);
  }
}
