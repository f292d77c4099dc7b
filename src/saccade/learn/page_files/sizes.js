// How many windows fit, which pixels they use and how often: sliders for n, f, p, s and d.
import { coverage, extentOf, makeWindow, outputSize, sizeFormula } from "./convolution.js";
import { draw, slider } from "./controls.js";
import { Grid, make } from "./grid.js";

const NAMES = { n: "image n", f: "filter f", p: "padding p", s: "stride s", d: "dilation d" };
const CELL = 28, BAR = 12;

/** The size along one axis, in numbers and words; `counts` says how often each pixel is used. */
export function describe({ n, f, p, s, d }) {
  const window = makeWindow(f, { stride: s, before: p, dilation: d });
  const size = outputSize(n, window);
  const counts = size < 1 ? new Array(n).fill(0) : coverage(n, window);
  const missed = counts.filter((count) => count === 0).length;
  const words = size < 1 ? "The window does not fit." : missed ? `${missed} of the ${n} rows and columns ${missed === 1 ? "is" : "are"} never covered.` : "Every pixel is used.";
  return { window, size: Math.max(size, 0), counts, formula: sizeFormula(n, window), words };
}

export class Sizes {
  constructor(host, settings) {
    this.state = { ...settings.state };
    this.strip = make("div", { class: "strip-host", tabindex: "0", role: "group", "aria-label": "Drawing" });
    this.grid = new Grid("");
    this.formula = make("p", { class: "total", role: "status" });
    const sliders = Object.keys(settings.limits).map((key) =>
      slider(NAMES[key], [...settings.limits[key], this.state[key]], (value) => this.set(key, value)));
    host.replaceChildren(make("div", { class: "sliders" }, ...sliders), this.formula, this.strip, this.grid.node);
    this.update();
  }

  set(key, value) {
    this.state[key] = value;
    this.update();
  }

  update() {
    const found = describe(this.state);
    this.formula.textContent = `${found.formula}. ${found.words}`;
    this.strip.replaceChildren(this.windows(found));
    const rows = found.counts.map((down) => found.counts.map((right) => down * right));
    this.grid.show(rows, { range: { low: 0, high: Math.max(1, ...rows.flat()) }, caption: `How often each pixel of the ${this.state.n}×${this.state.n} image is used` });
  }

  /** One axis: the pixels with their padding, and under them a bar for every window. */
  windows({ window, size, counts }) {
    const { n, p } = this.state;
    const width = (n + 2 * p) * CELL, height = CELL + 8 + Math.max(size, 1) * BAR;
    const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "strip-svg", role: "img", "aria-label": `${size} windows on ${n} pixels` });
    for (let place = 0; place < n + 2 * p; place++) {
      const inside = place >= p && place < n + p;
      const kind = !inside ? "pad" : counts[place - p] ? "used" : "missed";
      picture.append(draw("rect", { x: place * CELL + 1, y: 1, width: CELL - 2, height: CELL - 2, rx: 3, class: `pixel ${kind}` }));
      if (inside) picture.append(draw("text", { x: (place + 0.5) * CELL, y: CELL / 2 + 4, class: `digit ${kind}`, "text-anchor": "middle" }, String(place - p + 1)));
    }
    for (let number = 0; number < size; number++) {
      const y = CELL + 8 + number * BAR, x = number * window.stride * CELL;
      picture.append(draw("rect", { x: x + 2, y: y + 4, width: extentOf(window) * CELL - 4, height: 2, class: "reach" }));
      for (let tap = 0; tap < window.kernel; tap++)
        picture.append(draw("rect", { x: x + tap * window.dilation * CELL + 3, y: y + 1, width: CELL - 6, height: 8, rx: 2, class: "tap" }));
    }
    return picture;
  }
}
