/**
 * The service: a WebSocket server with one conversation for each connection. Runs alone too:
 *
 *   node examples/voice-agent/agent.mjs 8090
 */
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import { Conversation } from "./conversation.mjs";

/** Of one event: 20 ms of audio, or a line of text. */
const MAX_EVENT_BYTES = 65_536;

/**
 * @param {{ port: number, voice: import("./voice.mjs").Voice }} options port 0 lets the kernel choose
 * @returns {Promise<{ url: string, close(): Promise<void> }>}
 */
export async function startAgent({ port, voice }) {
  const server = new WebSocketServer({ host: "127.0.0.1", port, maxPayload: MAX_EVENT_BYTES });
  server.on("connection", (connection) => converse(connection, voice));
  await once(server, "listening");
  return {
    url: `ws://127.0.0.1:${server.address().port}/v1/realtime`,
    async close() {
      for (const connection of server.clients) connection.terminate();
      server.close();
      await once(server, "close");
    },
  };
}

function converse(connection, voice) {
  const conversation = new Conversation(voice, (event) => {
    if (connection.readyState === connection.OPEN) connection.send(JSON.stringify(event));
  });
  // One event after the other, in the order in which they came: an answer takes a moment to make.
  let done = Promise.resolve();
  connection.on("message", (data) => {
    done = done
      .then(() => conversation.take(JSON.parse(String(data))))
      .catch((error) => {
        console.error(`agent: ${error.message}`);
        connection.close(1011);
      });
  });
  connection.on("error", () => {});
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { findVoice } = await import("./voice.mjs");
  const voice = await findVoice();
  const { url } = await startAgent({ port: Number(process.argv[2] ?? 8090), voice });
  console.log(`The agent (voice: ${voice.name}) is at ${url}`);
}
