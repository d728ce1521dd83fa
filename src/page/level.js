/** How loud a stream is, drawn as a bar. Listens only; what is heard comes from the audio element. */

/** From this level up a bar is full; speech peaks about there. */
const FULL_SCALE = 0.35;

/**
 * @param {AudioContext} context
 * @param {MediaStream} stream
 * @param {HTMLElement} bar
 * @returns {() => void} ends it
 */
export function showLevel(context, stream, bar) {
  const source = context.createMediaStreamSource(stream);
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let shown = 0;
  let frame = requestAnimationFrame(function draw() {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    // Up at once, down slowly, as the eye wants it.
    shown = Math.max(Math.min(1, Math.sqrt(power) / FULL_SCALE), shown * 0.9);
    bar.style.transform = `scaleX(${shown.toFixed(3)})`;
    frame = requestAnimationFrame(draw);
  });
  return () => {
    cancelAnimationFrame(frame);
    source.disconnect();
    bar.style.transform = "";
  };
}
