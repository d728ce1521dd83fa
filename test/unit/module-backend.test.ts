/** Your own backend by path: the one of the documentation, ones that are none, and ones that let errors escape. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { packageRoot } from "../../src/package-root.ts";
import { Opus } from "../../src/transceiver/audio/opus.ts";
import { loadModule } from "../../src/transceiver/backends/module.ts";
import { BackendCallRig, EVENTS } from "../kit/backend-call.ts";
import { power, tone } from "../kit/tone.ts";
import { until } from "../kit/until.ts";

const folder = mkdtempSync(join(tmpdir(), "earshot-module-"));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
function file(text: string): string {
  const name = join(folder, `${files++}.mjs`);
  writeFileSync(name, text);
  return name;
}

describe("a module", () => {
  it("as the documentation shows it works as written", async () => {
    const page = readFileSync(new URL("docs/backends.md", packageRoot), "utf8");
    const [, example] = /```js\n(\/\/ parrot\.mjs[\s\S]*?)```/.exec(page) ?? [];
    assert.ok(example, "no example in docs/backends.md");
    assert.ok(example.trim().split("\n").length <= 20);
    const { backend } = await loadModule(file(example));
    // First, because it takes a moment to load, as it does at the start of a transceiver.
    const opus = await Opus.open(24_000);
    const rig = new BackendCallRig(backend);
    await turn();
    for (let index = 0; index < 10; index++) {
      rig.hear(opus.encode(new Uint8Array(tone(440, 20, 24_000, index * 20).buffer)));
    }
    await until(
      () => {
        rig.clock.advance(20);
        return rig.frames.length >= 10;
      },
      () => "the parrot is silent",
    );
    assert.ok(rig.frames.some(({ payload }) => power(opus.decode(payload)) > 1e6));
    opus.close();
    rig.link.ended("hang-up");
  });

  const refused: readonly [what: string, text: string, message: RegExp][] = [
    ["that cannot be parsed", "export default {", /cannot be loaded: Unexpected/],
    ["that throws", "throw new Error('not today')", /cannot be loaded: not today/],
    ["without a default export", "export const backend = {}", /default export that is a backend, got undefined/],
    ["that exports a function", "export default () => {}", /default export that is a backend, got function/],
    ["without a name", "export default { open() {} }", /to have a name/],
    ["that cannot open", "export default { name: 'x' }", /function "open", got undefined/],
    [
      "that wants other audio",
      "export default { name: 'x', open() {}, audio: 'mp3' }",
      /one of packets, pcm16-24000, pcm16-48000, got "mp3"/,
    ],
  ];
  for (const [what, text, message] of refused) {
    it(`${what} is refused, with what is wrong`, async () => {
      await assert.rejects(loadModule(file(text)), { code: "BACKEND_MODULE", message });
    });
  }

  it("that is not there is refused", async () => {
    await assert.rejects(loadModule(join(folder, "none.mjs")), { code: "BACKEND_MODULE", message: /none\.mjs/ });
  });

  it("that opens nothing fails its call", async () => {
    const { backend } = await loadModule(file("export default { name: 'x', open() {} }"));
    assert.match(await new BackendCallRig(backend).failed(), /to give an object, got undefined/);
  });

  it("is known by what it sets going: an error that escapes ends the call that it belongs to", async () => {
    const { backend, absorbFault } = await loadModule(
      file(`export default { name: 'x', open: (call) => ({
        message: (channel, data) => { setImmediate(() => globalThis.escape(new Error(call.id + data))); },
      }) }`),
    );
    // Stands for the process's handler of uncaught exceptions, which runs in the context of what has thrown.
    let absorbed = 0;
    Object.assign(globalThis, {
      escape: (error: Error) => {
        if (absorbFault(error)) absorbed++;
      },
    });
    const one = new BackendCallRig(backend, { id: "one" });
    const other = new BackendCallRig(backend, { id: "other" });
    await turn();
    one.link.message(EVENTS, " escaped");
    assert.equal(await one.failed(), "one escaped");
    assert.deepEqual([absorbed, other.failures], [1, []]);
    assert.equal(absorbFault(new Error("a bug of ours")), false);
    other.link.ended("hang-up");
  });
});
