/** The agent's voice: espeak-ng where it is installed, else a robot that mumbles. Samples are mono, 16 bits, 24 kHz. */
import { spawn } from "node:child_process";
import { mumble } from "./robot-voice.mjs";

export const SAMPLE_RATE = 24_000;

/**
 * @typedef {object} Voice
 * @property {string} name
 * @property {(text: string) => Promise<Int16Array>} say
 */

/** @returns {Promise<Voice>} */
export async function findVoice() {
  try {
    await espeak("hello");
    return { name: "espeak-ng", say: espeak };
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
    return robot;
  }
}

/** @type {Voice} */
export const robot = { name: "robot", say: async (text) => mumble(text, SAMPLE_RATE) };

/** The text goes in by stdin, where it cannot be taken for an option. */
function espeak(text) {
  return new Promise((resolve, reject) => {
    const child = spawn("espeak-ng", ["-v", "en-gb", "-s", "160", "--stdin", "--stdout"]);
    const chunks = [];
    child.once("error", reject);
    child.stdin.on("error", () => {});
    child.stdin.end(text);
    child.stdout.on("data", (chunk) => chunks.push(chunk));
    child.once("close", (code) => {
      if (code === 0) resolve(samplesOf(Buffer.concat(chunks)));
      else reject(new Error(`espeak-ng ended with code ${code}`));
    });
  });
}

/** From a WAV file whose length nobody knew when its header was written. */
function samplesOf(wav) {
  const start = wav.indexOf("data") + 8;
  if (start < 8) return new Int16Array(0);
  const bytes = wav.subarray(start, wav.length - ((wav.length - start) % 2));
  const samples = new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  return resampled(samples, wav.readUInt32LE(24));
}

function resampled(samples, from) {
  const length = Math.floor((samples.length * SAMPLE_RATE) / from);
  return Int16Array.from({ length }, (_, index) => {
    const at = (index * from) / SAMPLE_RATE;
    const before = samples[Math.floor(at)] ?? 0;
    const after = samples[Math.floor(at) + 1] ?? before;
    return Math.round(before + (after - before) * (at % 1));
  });
}
