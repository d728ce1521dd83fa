/** A benchmark against a forwarder that does not forward would be a fine one: each gives every client its own datagrams back. */
import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import {
  missingRival,
  PlainEcho,
  RIVALS,
  type Rival,
  type RivalCounts,
  startRival,
} from "../../bench/forwarders/rivals.ts";
import { buildLoadTools } from "../../bench/load/load-tools.ts";
import { eventually } from "../kit/eventually.ts";

const CLIENTS = 20;
const ROUNDS = 3;
const UPSTREAMS = 4;

interface Client {
  readonly socket: Socket;
  readonly got: string[];
}

async function openClient(): Promise<Client> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const got: string[] = [];
  socket.on("message", (message) => got.push(message.toString()));
  return { socket, got };
}

async function countsBecome(rival: Rival, expected: RivalCounts | undefined): Promise<void> {
  await eventually(`counts of ${rival.kind}`, rival.counts, (counts) => isDeepStrictEqual(counts, expected));
}

describe("a rival of the benchmarks", () => {
  before(() => buildLoadTools());

  for (const kind of RIVALS) {
    test(`${kind} sends every client its own echoes, or is said to be missing`, async (t) => {
      const missing = missingRival(kind);
      if (missing !== undefined) {
        assert.match(missing.remedy, /^apt-get install .*nginx libnginx-mod-stream$/);
        return;
      }
      const echo = await PlainEcho.start({ ports: UPSTREAMS });
      t.after(() => echo.stop());
      const options = { upstreamPort: echo.port, upstreams: UPSTREAMS, receiveBufferBytes: 212_992, flows: CLIENTS };
      const rival = await startRival(kind, options);
      t.after(() => rival.stop());
      const clients = await Promise.all(Array.from({ length: CLIENTS }, openClient));
      t.after(() => {
        for (const { socket } of clients) socket.close();
      });
      const expected = clients.map((_, i) =>
        Array.from({ length: ROUNDS }, (_, round) => `client ${i} round ${round}`),
      );
      for (let round = 0; round < ROUNDS; round++) {
        for (const [i, { socket }] of clients.entries()) socket.send(expected[i]![round]!, rival.port, "127.0.0.1");
        const due = expected.map((texts) => texts.slice(0, round + 1));
        await eventually(
          "echoes",
          async () => clients.map(({ got }) => got),
          (got) => isDeepStrictEqual(got, due),
        );
      }
      const all = CLIENTS * ROUNDS;
      assert.equal(await echo.received(), all);
      const counts = { upReceived: all, upForwarded: all, downReceived: all, downForwarded: all, dropped: 0 };
      await countsBecome(rival, kind === "nginx" ? undefined : counts);
    });
  }

  test("the native one has room for no more flows than it was told, and counts what it drops", async (t) => {
    const echo = await PlainEcho.start();
    t.after(() => echo.stop());
    const options = { upstreamPort: echo.port, receiveBufferBytes: 212_992, flows: 1 };
    const rival = await startRival("classical native", options);
    t.after(() => rival.stop());
    const [one, other] = await Promise.all([openClient(), openClient()]);
    t.after(() => {
      one.socket.close();
      other.socket.close();
    });
    one.socket.send("one", rival.port, "127.0.0.1");
    const counts = { upReceived: 1, upForwarded: 1, downReceived: 1, downForwarded: 1, dropped: 0 };
    await countsBecome(rival, counts);
    other.socket.send("other", rival.port, "127.0.0.1");
    await countsBecome(rival, { ...counts, upReceived: 2, dropped: 1 });
    assert.deepEqual([one.got, other.got], [["one"], []]);
  });
});
