/** What others get of this package: a backend can be written against its types, from a clone and from a packed file. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/package-root.ts";

const root = fileURLToPath(packageRoot);
const TSC = join(root, "node_modules/typescript/bin/tsc");

describe("the package", () => {
  const folder = mkdtempSync(join(tmpdir(), "earshot-consumer-"));
  after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules/earshot"));
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');

  const compiled = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    const flags = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck"];
    const types = ["--types", "node", "--typeRoots", join(root, "node_modules/@types")];
    const { status, stdout } = spawnSync(process.execPath, [TSC, ...flags, ...types, name], {
      cwd: folder,
      encoding: "utf8",
    });
    return { ok: status === 0, output: stdout };
  };

  it("has the types of backends", () => {
    const { ok, output } = compiled(
      "backend.ts",
      `import type { Backend } from "earshot";
      export default {
        name: "typed",
        audio: "pcm16-24000",
        open: (call) => ({
          audio: ({ samples, level }) => {
            if (level === undefined || level.hasVoice) call.audio.write(samples);
          },
          async message(channel, data) {
            call.sendMessage(channel.id, data);
          },
        }),
      } satisfies Backend;`,
    );
    assert.ok(ok, output);
  });

  it("refuses by its types what is no backend", () => {
    const { ok, output } = compiled(
      "mistake.ts",
      `import type { Backend } from "earshot";
      export default { name: "typed", audio: "mp3", open: () => ({}) } satisfies Backend;`,
    );
    assert.ok(!ok);
    assert.match(output, /mistake\.ts\(2,.*"mp3"/);
  });

  it("can be imported by its name", async () => {
    const name = "earshot";
    const { AUDIO_FORMATS } = await import(name);
    assert.deepEqual(AUDIO_FORMATS, ["packets", "pcm16-24000", "pcm16-48000"]);
  });

  it("holds all of that when it is packed", () => {
    const { stdout } = spawnSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      cwd: root,
      encoding: "utf8",
    });
    const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
    const packed = new Set(files.map(({ path }) => path));
    for (const path of ["dist/src/index.js", "dist/src/index.d.ts", "dist/src/cli/main.js", "docs/backends.md"]) {
      assert.ok(packed.has(path), `${path} is not in the package`);
    }
  });
});
