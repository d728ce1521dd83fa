/** Settings of backends: which go together, what becomes of them, and that a key is never shown. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Command } from "commander";
import { addConfigOptions } from "../../src/cli/options.ts";
import { backendSettings } from "../../src/config/backend.ts";
import { renderConfigDocs } from "../../src/config/docs.ts";
import { loadConfig } from "../../src/config/load.ts";

const folder = mkdtempSync(join(tmpdir(), "earshot-backend-config-"));
after(() => rmSync(folder, { recursive: true }));

const load = (flags: Record<string, unknown>, environment: NodeJS.Dict<string> = {}, file?: string) => {
  const sources = { flags: { ...flags, ...(file && { config: "earshot.yaml" }) }, environment };
  return backendSettings(loadConfig("start", { ...sources, readText: () => file ?? "" }));
};
const websocket = { backend: "websocket", backendUrl: "wss://voice.example.org/v1/realtime?model=small" };

describe("settings of backends", () => {
  it("are echo unless something else is asked for", () => assert.deepEqual(load({}), { kind: "echo" }));

  it("make a websocket backend with its headers and session", () => {
    const session = join(folder, "session.json");
    writeFileSync(session, '{"instructions":"Be brief."}');
    const settings = load(
      { ...websocket, backendAudio: "packets", backendSession: session },
      { EARSHOT_BACKEND_KEY: "sk-1" },
      'backendHeaders: ["X-Team: voice", "X-Empty-Not: a: b"]',
    );
    assert.deepEqual(settings, {
      kind: "websocket",
      url: "wss://voice.example.org/v1/realtime?model=small",
      audio: "packets",
      session: { instructions: "Be brief." },
      headers: { "X-Team": "voice", "X-Empty-Not": "a: b", Authorization: "Bearer sk-1" },
    });
  });

  it("make a module backend", () => {
    assert.deepEqual(load({ backend: "module", backendModule: "mine.mjs" }), { kind: "module", file: "mine.mjs" });
  });

  const refused: readonly [what: string, flags: Record<string, unknown>, code: string, message: RegExp][] = [
    ["a websocket backend without a URL", { backend: "websocket" }, "CONFIG_CONFLICT", /needs --backend-url/],
    ["a module backend without a file", { backend: "module" }, "CONFIG_CONFLICT", /needs --backend-module/],
    [
      "a URL without the backend that it is for",
      { backendUrl: websocket.backendUrl },
      "CONFIG_CONFLICT",
      /--backend-url is for the websocket backend, but the backend is echo. Give --backend websocket/,
    ],
    [
      "an audio format for echo",
      { backendAudio: "packets" },
      "CONFIG_CONFLICT",
      /--backend-audio is for the websocket backend/,
    ],
    ["a URL of another protocol", { ...websocket, backendUrl: "https://x.example" }, "CONFIG_VALUE", /ws: or wss: URL/],
    ["a backend that there is not", { backend: "sip" }, "CONFIG_VALUE", /one of echo, websocket, module/],
    [
      "a session that is not there",
      { ...websocket, backendSession: join(folder, "none.json") },
      "BACKEND_SESSION_FILE",
      /no such file/,
    ],
  ];
  for (const [what, flags, code, message] of refused) {
    it(`refuse ${what}`, () => assert.throws(() => load(flags), { code, message }));
  }

  it("refuse a session that is no object, and headers that are none", () => {
    const session = join(folder, "list.json");
    writeFileSync(session, "[1]");
    assert.throws(() => load({ ...websocket, backendSession: session }), { code: "BACKEND_SESSION_FILE" });
    for (const file of ["backendHeaders: [secret-value]", 'backendHeaders: ["A: secret-value\\r\\nB: c"]']) {
      assert.throws(
        () => load(websocket, {}, file),
        (error: Error & { code: string }) => {
          assert.equal(error.code, "CONFIG_VALUE");
          assert.doesNotMatch(error.message, /secret-value/);
          return true;
        },
      );
    }
  });

  it("never show a key, and take none from the command line", () => {
    assert.throws(
      () => load(websocket, { EARSHOT_BACKEND_KEY: "sk-very-secret\n" }),
      (error: Error & { code: string }) => {
        assert.equal(error.code, "CONFIG_VALUE");
        assert.match(error.message, /^EARSHOT_BACKEND_KEY: expected printable ASCII characters/);
        assert.doesNotMatch(error.message, /very-secret/);
        return true;
      },
    );
    assert.deepEqual((load({ ...websocket, backendKey: "sk-1" }) as { headers: object }).headers, {});
    const command = new Command();
    addConfigOptions(command, "start");
    assert.ok(command.options.some(({ long }) => long === "--backend-url"));
    assert.ok(!command.options.some(({ long }) => long === "--backend-key" || long === "--backend-headers"));
    assert.match(renderConfigDocs(), /`EARSHOT_BACKEND_KEY`, or in the file; there is no flag/);
  });
});
