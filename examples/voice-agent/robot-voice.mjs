/**
 * A voice of our own for machines without espeak-ng: it sounds like a robot that mumbles. Each letter becomes a moment of
 * sound, made of a buzz or a hiss and three resonances as a mouth has them. Nobody will understand a word of it.
 */

/** Resonances in Hz that make the vowels (Peterson and Barney, 1952). */
const VOWELS = {
  a: [730, 1090, 2440],
  e: [530, 1840, 2480],
  i: [270, 2290, 3010],
  o: [570, 840, 2410],
  u: [300, 870, 2240],
  y: [270, 2290, 3010],
};
const HUM = [250, 1200, 2200];
const HISS = [1500, 3500, 5500];
const UNVOICED = new Set("cfhkpqstx");
const BANDWIDTH_HZ = 90;
const AMPLITUDE = 1000;

/**
 * @param {string} text
 * @param {number} sampleRate
 * @returns {Int16Array}
 */
export function mumble(text, sampleRate) {
  const sounds = [...text.toLowerCase()].map(soundOf);
  const length = sounds.reduce((sum, { ms }) => sum + Math.round((ms * sampleRate) / 1000), 0);
  const samples = new Int16Array(length);
  const resonators = [new Resonator(sampleRate), new Resonator(sampleRate), new Resonator(sampleRate)];
  let at = 0;
  let phase = 0;
  for (const { ms, formants, buzz, hiss } of sounds) {
    const end = at + Math.round((ms * sampleRate) / 1000);
    for (const [index, resonator] of resonators.entries()) resonator.tune(formants[index]);
    for (; at < end; at++) {
      // The pitch sinks as we speak, and wavers a little.
      const pitch = 130 - (35 * at) / length + 4 * Math.sin((2 * Math.PI * 5 * at) / sampleRate);
      phase += pitch / sampleRate;
      const pulse = phase >= 1 ? 1 : 0;
      phase %= 1;
      const source = buzz * pulse * 12 + hiss * (Math.random() - 0.5);
      const sound = resonators.reduce((sum, resonator) => sum + resonator.ring(source), 0);
      samples[at] = Math.max(-32768, Math.min(32767, Math.round(AMPLITUDE * sound)));
    }
  }
  return samples;
}

function soundOf(letter) {
  if (letter in VOWELS) return { ms: 90, formants: VOWELS[letter], buzz: 1, hiss: 0.02 };
  if (UNVOICED.has(letter)) return { ms: 60, formants: HISS, buzz: 0, hiss: 0.5 };
  if (/[a-z0-9]/.test(letter)) return { ms: 55, formants: HUM, buzz: 0.6, hiss: 0.02 };
  return { ms: /[.,:;?!]/.test(letter) ? 200 : 50, formants: HUM, buzz: 0, hiss: 0 };
}

/** Rings at one frequency when it is struck (Klatt, 1980). */
class Resonator {
  #sampleRate;
  #a = 0;
  #b = 0;
  #c = 0;
  #last = 0;
  #beforeLast = 0;

  constructor(sampleRate) {
    this.#sampleRate = sampleRate;
  }

  tune(hertz) {
    const decay = Math.exp((-Math.PI * BANDWIDTH_HZ) / this.#sampleRate);
    this.#b = 2 * decay * Math.cos((2 * Math.PI * hertz) / this.#sampleRate);
    this.#c = -decay * decay;
    this.#a = 1 - this.#b - this.#c;
  }

  ring(source) {
    const sound = this.#a * source + this.#b * this.#last + this.#c * this.#beforeLast;
    this.#beforeLast = this.#last;
    this.#last = sound;
    return sound;
  }
}
