/**
 * Hears when somebody begins and ceases to speak, by loudness alone: louder for a moment than the room has been, then as
 * quiet as the room for a while. Holds no clock; time is the audio that it is given.
 */

/** Loudness above that of the room that counts as speech, and what counts as silence in any room. */
const ABOVE_ROOM_DB = 12;
const SILENCE_DBFS = -50;
/** A click is shorter, and the gaps between words are shorter. */
const SPEECH_MS = 60;
const PAUSE_MS = 600;
/** How fast the idea of the room follows what is heard: up slowly, down at once. */
const ROOM_RISE_DB_PER_S = 3;

export class SpeechDetector {
  #roomDbfs = SILENCE_DBFS;
  #isSpeaking = false;
  /** Of loud audio before speech is noticed, of quiet audio before its end is. */
  #changingMs = 0;
  #spokenMs = 0;

  /**
   * @param {Int16Array} samples any length; 20 ms are usual
   * @param {number} sampleRate
   * @returns {{ type: "started" } | { type: "stopped", spokenMs: number } | undefined}
   */
  hear(samples, sampleRate) {
    const ms = (samples.length * 1000) / sampleRate;
    const dbfs = loudness(samples);
    const isLoud = dbfs > Math.max(SILENCE_DBFS, this.#roomDbfs + ABOVE_ROOM_DB);
    if (!this.#isSpeaking) this.#roomDbfs = Math.min(dbfs, this.#roomDbfs + (ROOM_RISE_DB_PER_S * ms) / 1000);
    this.#roomDbfs = Math.max(this.#roomDbfs, SILENCE_DBFS - ABOVE_ROOM_DB);
    this.#spokenMs += ms;
    this.#changingMs = isLoud === this.#isSpeaking ? 0 : this.#changingMs + ms;
    if (this.#changingMs < (this.#isSpeaking ? PAUSE_MS : SPEECH_MS)) return undefined;
    this.#isSpeaking = !this.#isSpeaking;
    this.#changingMs = 0;
    if (!this.#isSpeaking) return { type: "stopped", spokenMs: this.#spokenMs - PAUSE_MS };
    this.#spokenMs = SPEECH_MS;
    return { type: "started" };
  }
}

/** In decibels below the loudest that there is; digital silence is -100. */
function loudness(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / Math.max(1, samples.length);
  return Math.max(-100, 10 * Math.log10(power / 32768 ** 2 + 1e-10));
}
