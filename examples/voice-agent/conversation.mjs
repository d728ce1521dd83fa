/**
 * One caller's conversation in the shape of the Realtime API's events: it hears when the caller speaks, and answers when
 * the caller has finished. There is no model behind it: it cannot understand speech, only how long it lasted; put yours
 * where `#answer` makes up its words.
 */
import { SpeechDetector } from "./speech-detector.mjs";
import { SAMPLE_RATE } from "./voice.mjs";

const GREETING =
  "Hello. I am a small example. Say something, and I will tell you how long you spoke. Interrupt me whenever you like.";
const REMARKS = [
  "Say some more.",
  "Now let me count, and interrupt me before I am done: one, two, three, four, five, six, seven, eight, nine, ten.",
  "You can also write to me.",
];
/** Speech is sent in pieces of this length, all at once: to play them in time is the other side's work. */
const PIECE_MS = 100;

export class Conversation {
  #voice;
  #send;
  #detector = new SpeechDetector();
  #answers = 0;
  #isGreeted = false;
  /** Of the latest answer, if the caller did not hear it to its end. */
  #heardMs;
  /** What was typed and not answered yet. */
  #typed;

  /**
   * @param {import("./voice.mjs").Voice} voice
   * @param {(event: object) => void} send
   */
  constructor(voice, send) {
    this.#voice = voice;
    this.#send = send;
    send({ type: "session.created", session: { type: "realtime" } });
  }

  /** @param {{ type: string, [field: string]: any }} event */
  async take(event) {
    if (event.type === "input_audio_buffer.append") await this.#hear(Buffer.from(event.audio, "base64"));
    else if (event.type === "session.update") await this.#begin(event.session);
    else if (event.type === "conversation.item.truncate") this.#heardMs = event.audio_end_ms;
    else if (event.type === "conversation.item.create") this.#typed = event.item?.content?.[0]?.text;
    else if (event.type === "response.create") await this.#answer(this.#typedAnswer());
  }

  async #begin(session) {
    this.#send({ type: "session.updated", session });
    if (this.#isGreeted) return;
    this.#isGreeted = true;
    await this.#answer(GREETING);
  }

  async #hear(bytes) {
    const samples = new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const change = this.#detector.hear(samples, SAMPLE_RATE);
    if (change?.type === "started") {
      this.#send({ type: "input_audio_buffer.speech_started" });
    } else if (change?.type === "stopped") {
      this.#send({ type: "input_audio_buffer.speech_stopped" });
      await this.#answer(this.#spokenAnswer(change.spokenMs));
    }
  }

  #spokenAnswer(spokenMs) {
    const cut = this.#heardMs === undefined ? "" : `You interrupted me after ${seconds(this.#heardMs)}. `;
    this.#heardMs = undefined;
    return `${cut}You spoke for ${seconds(spokenMs)}. ${REMARKS[this.#answers % REMARKS.length]}`;
  }

  #typedAnswer() {
    const text = this.#typed ?? "nothing";
    this.#typed = undefined;
    if (!/\btime\b/i.test(text)) return `You wrote: ${text}`;
    const now = new Date();
    return `It is ${now.getHours()}:${String(now.getMinutes()).padStart(2, "0")}.`;
  }

  async #answer(transcript) {
    const samples = await this.#voice.say(transcript);
    const id = ++this.#answers;
    const ids = { response_id: `resp_${id}`, item_id: `item_${id}`, output_index: 0, content_index: 0 };
    this.#send({ type: "response.created", response: { id: ids.response_id, status: "in_progress" } });
    const size = (PIECE_MS * SAMPLE_RATE) / 1000;
    for (let at = 0; at < samples.length; at += size) {
      const piece = samples.subarray(at, at + size);
      const delta = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength).toString("base64");
      this.#send({ type: "response.output_audio.delta", ...ids, delta });
    }
    this.#send({ type: "response.output_audio.done", ...ids });
    this.#send({ type: "response.output_audio_transcript.done", ...ids, transcript });
    this.#send({ type: "response.done", response: { id: ids.response_id, status: "completed" } });
  }
}

const seconds = (ms) => `${(ms / 1000).toFixed(1)} seconds`;
