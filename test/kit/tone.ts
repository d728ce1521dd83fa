/** Owns sound in tests: tones to send, and how much of a tone is in what was heard. */

const AMPLITUDE = 8_000;

export function tone(hertz: number, ms: number, sampleRate: number, fromMs = 0): Int16Array {
  const first = Math.round((fromMs * sampleRate) / 1000);
  return Int16Array.from({ length: Math.round((ms * sampleRate) / 1000) }, (_, index) =>
    Math.round(AMPLITUDE * Math.sin((2 * Math.PI * hertz * (first + index)) / sampleRate)),
  );
}

/** Mean power. */
export function power(samples: Int16Array): number {
  return samples.reduce((sum, sample) => sum + sample * sample, 0) / Math.max(1, samples.length);
}

/** The part of the power that is at this frequency, from 0 to 1 (Goertzel). */
export function share(samples: Int16Array, hertz: number, sampleRate: number): number {
  let sine = 0;
  let cosine = 0;
  for (const [index, sample] of samples.entries()) {
    const angle = (2 * Math.PI * hertz * index) / sampleRate;
    sine += sample * Math.sin(angle);
    cosine += sample * Math.cos(angle);
  }
  const atTone = (2 * (sine * sine + cosine * cosine)) / samples.length ** 2;
  const all = power(samples);
  return all === 0 ? 0 : atTone / all;
}

export function joined(parts: readonly Int16Array[]): Int16Array {
  return Int16Array.from(parts.flatMap((part) => [...part]));
}

/** A WAV file, mono. */
export function wav(samples: Int16Array, sampleRate: number): Buffer {
  const data = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(sampleRate, 24);
  header.writeUInt32LE(sampleRate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}
