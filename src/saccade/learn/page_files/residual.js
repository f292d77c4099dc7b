// A residual block on a short vector, and curves that were measured.
import { draw, slider } from "./controls.js";
import { times } from "./descent.js";
import { Grid, make } from "./grid.js";

const positive = (vector) => vector.map((value) => Math.max(value, 0));

/** g(z + a) and, without the shortcut, g(z), where z = scale * second * g(scale * first * a). */
export function block({ first, second, input }, scale) {
  const hidden = positive(times(first, input).map((value) => scale * value));
  const z = times(second, hidden).map((value) => scale * value);
  return { z, residual: positive(z.map((value, index) => value + input[index])), plain: positive(z) };
}

export class Residual {
  constructor(host, settings) {
    this.settings = settings;
    this.grids = ["a, the input", "z, behind two layers", "plain: g(z)", "residual: g(z + a)"].map((name) => new Grid(name));
    this.words = make("p", { class: "total", role: "status" });
    host.replaceChildren(
      make("div", { class: "sliders" }, slider("all weights times", [0, 2, 0], (scale) => this.update(scale), { step: 0.05, words: (value) => value.toFixed(2) })),
      make("div", { class: "stage" }, ...this.grids.map((grid) => grid.node)), this.words);
    this.update(0);
  }

  update(scale) {
    const { input } = this.settings;
    const found = block(this.settings, scale);
    const range = { low: -10, high: 10 };
    [input, found.z, found.plain, found.residual].forEach((vector, number) => this.grids[number].show([vector], { range }));
    const same = found.residual.every((value, index) => value === input[index]);
    this.words.textContent = same ? "The block hands its input on, number by number; without the shortcut nothing is left." : "The block adds to its input what its weights have learned.";
  }
}

const WIDEST = 640, HEIGHT = 260, LEFT = 44, TOP = 12, BOTTOM = 28, RIGHT = 84;

/** Lines over epochs, with a slider that reads them off. `series` is [{name, values: [per run][per epoch]}], in percent. */
export class Curves {
  constructor(host, settings) {
    this.settings = settings;
    this.epoch = settings.series[0].values[0].length;
    this.picture = make("div", { class: "strip-host", tabindex: "0", role: "group", "aria-label": "Drawing" });
    this.words = make("div", { role: "status" });
    host.replaceChildren(this.picture, make("div", { class: "sliders" }, slider("epoch", [1, this.epoch, this.epoch], (epoch) => { this.epoch = epoch; this.update(); })), this.words);
    this.update();
  }

  place(epoch, value) {
    const count = this.settings.series[0].values[0].length;
    return [LEFT + ((epoch - 1) / Math.max(count - 1, 1)) * (this.width - LEFT - RIGHT), TOP + (1 - value / 100) * (HEIGHT - TOP - BOTTOM)];
  }

  update() {
    const { series, title } = this.settings;
    const width = this.width = Math.min(this.picture.clientWidth || WIDEST, WIDEST);
    const picture = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": title });
    for (const share of [0, 25, 50, 75, 100]) {
      const y = this.place(1, share)[1];
      picture.append(draw("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: "rule" }), draw("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end", class: "digit used" }, `${share} %`));
    }
    const [x] = this.place(this.epoch, 0);
    picture.append(draw("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM, class: "axis" }), draw("text", { x, y: HEIGHT - 8, "text-anchor": "middle", class: "digit used" }, `epoch ${this.epoch}`));
    const ends = [];
    series.forEach(({ name, values }, number) => {
      for (const run of values) picture.append(draw("polyline", { points: run.map((value, index) => this.place(index + 1, value).map((one) => one.toFixed(1)).join(",")).join(" "), class: `line line${number}` }));
      const last = mean(values.map((run) => run.at(-1)));
      ends.push({ name, number, y: this.place(1, last)[1] });
    });
    ends.sort((one, other) => one.y - other.y);
    ends.forEach((end, index) => { if (index) end.y = Math.max(end.y, ends[index - 1].y + 14); });
    const over = Math.max(0, ends.at(-1).y - (HEIGHT - BOTTOM));
    for (const { name, number, y } of ends) picture.append(draw("text", { x: width - RIGHT + 8, y: y + 4 - over, class: `digit name${number}` }, name));
    this.picture.replaceChildren(picture);
    this.words.replaceChildren(...series.map(({ name, values }) => {
      const here = values.map((run) => run[this.epoch - 1]);
      return make("p", { class: "total" }, `${name}: ${mean(here).toFixed(1)} % (${Math.min(...here).toFixed(1)} to ${Math.max(...here).toFixed(1)})`);
    }));
  }
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
