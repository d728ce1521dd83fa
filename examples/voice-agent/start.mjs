/**
 * The example in one command: the agent, and Earshot with the websocket backend against it. What follows on the command
 * line goes to `earshot start`. Build first; `npm run example:agent` does.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { startAgent } from "./agent.mjs";
import { findVoice } from "./voice.mjs";

const EARSHOT = fileURLToPath(new URL("../../dist/src/cli/main.js", import.meta.url));

const voice = await findVoice();
const agent = await startAgent({ port: 0, voice });
console.log(
  voice.name === "robot"
    ? "The agent has no espeak-ng, so it mumbles like a robot. For words: apt-get install espeak-ng"
    : `The agent speaks with ${voice.name}.`,
);

const flags = ["--backend", "websocket", "--backend-url", agent.url, ...process.argv.slice(2)];
const earshot = spawn(process.execPath, [EARSHOT, "start", ...flags], { stdio: "inherit" });
// Earshot decides what follows from a signal; a Ctrl-C may reach it twice, which does no harm.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => earshot.kill(signal));
earshot.once("exit", (code) => {
  agent.close().then(() => process.exit(code ?? 1));
});
