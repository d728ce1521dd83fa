/**
 * One figure: its latest value, a line plot of the last minute, and a legend. Two lines at most, told apart by colour
 * and by dashes. Draws on a canvas with the colours of the style sheet.
 */
const SECONDS = 60;
/** A value that did not come for so many seconds is no longer that of now. */
const CURRENT_SECONDS = 3;
const PLOT = { left: 34, right: 6, top: 8, bottom: 18 };

export class Figure {
  #root;
  #canvas;
  #options;
  #samples = [];

  /**
   * @param {HTMLElement} root
   * @param {{ unit: string, digits: number, least: number, lines: [name: string, name: string] }} options
   *   `least`: the smallest top of the scale, so that noise does not look like trouble
   */
  constructor(root, options) {
    this.#root = root;
    this.#canvas = root.querySelector("canvas");
    this.#options = options;
    new ResizeObserver(() => this.#draw()).observe(this.#canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    this.#label();
  }

  clear() {
    this.#samples = [];
    this.#label();
    this.#draw();
  }

  /** @param {(number | undefined)[]} values one for each line */
  add(values) {
    this.#samples.push(values);
    if (this.#samples.length > SECONDS + 1) this.#samples.shift();
    this.#label();
    this.#draw();
  }

  #label() {
    const { lines, unit } = this.#options;
    const current = this.#samples.slice(-CURRENT_SECONDS);
    const latest = lines.map((_, line) => current.findLast((sample) => sample[line] !== undefined)?.[line]);
    const shown = latest.find((value) => value !== undefined);
    const unitText = document.createElement("small");
    unitText.textContent = unit;
    this.#root
      .querySelector("output")
      .replaceChildren(...(shown === undefined ? ["\u2013"] : [this.#text(shown), unitText]));
    const items = lines.map((name, line) => {
      const item = document.createElement("li");
      const value = document.createElement("b");
      value.textContent = latest[line] === undefined ? "\u2013" : `${this.#text(latest[line])} ${unit}`;
      item.append(name, value);
      return item;
    });
    this.#root.querySelector(".legend").replaceChildren(...items);
    const spoken = lines.map(
      (name, line) => `${name} ${latest[line] === undefined ? "unknown" : `${this.#text(latest[line])} ${unit}`}`,
    );
    this.#canvas.setAttribute("aria-label", `Last minute. Now: ${spoken.join(", ")}`);
  }

  #text(value) {
    return value.toFixed(value >= 100 ? 0 : this.#options.digits);
  }

  #draw() {
    const canvas = this.#canvas;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (width === 0) return;
    const ratio = devicePixelRatio;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(this.#root);
    const colour = (name) => style.getPropertyValue(name).trim();

    const top = niceTop(Math.max(this.#options.least, ...this.#samples.flat().filter((value) => value !== undefined)));
    const x = (index) =>
      width - PLOT.right - ((this.#samples.length - 1 - index) / SECONDS) * (width - PLOT.left - PLOT.right);
    const y = (value) => height - PLOT.bottom - (value / top) * (height - PLOT.top - PLOT.bottom);

    context.font = `11px ${style.fontFamily}`;
    context.fillStyle = colour("--ink-soft");
    context.strokeStyle = colour("--line");
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const value of [0, top / 2, top]) {
      context.fillText(`${Number(value.toFixed(2))}`, PLOT.left - 7, y(value));
      line(context, [
        [PLOT.left, y(value)],
        [width - PLOT.right, y(value)],
      ]);
    }
    context.textBaseline = "bottom";
    context.fillText("now", width - PLOT.right, height);
    context.textAlign = "left";
    context.fillText(`${SECONDS} s ago`, PLOT.left, height);

    context.lineWidth = 1.75;
    context.lineJoin = "round";
    // The second first, so that the main line lies on top.
    for (const [index, name, dash] of [
      [1, "--second", [4, 3]],
      [0, "--accent", []],
    ]) {
      context.strokeStyle = colour(name);
      context.fillStyle = colour(name);
      context.setLineDash(dash);
      const points = this.#samples.map((sample, at) =>
        sample[index] === undefined ? undefined : [x(at), y(sample[index])],
      );
      drawRuns(context, points);
    }
  }
}

/** Where a value is missing the line is broken, unless only one is: pings and reports do not come on the second. */
function drawRuns(context, points) {
  let run = [];
  let missing = 0;
  for (const point of [...points, undefined, undefined]) {
    if (point !== undefined) {
      run.push(point);
      missing = 0;
    } else if (++missing === 2) {
      if (run.length > 1) line(context, run);
      else if (run.length === 1) dot(context, run[0]);
      run = [];
    }
  }
}

function line(context, points) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.stroke();
}

function dot(context, [x, y]) {
  context.beginPath();
  context.arc(x, y, 2, 0, 2 * Math.PI);
  context.fill();
}

/** The next of 1, 2, 4, 6, 10 times a power of ten: halves of them are easy to read. */
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 4, 6].find((step) => step * power >= value) ?? 10);
}
