// Pooling: a window that keeps the largest number or the mean, over an image painted by hand.
import { averagePool, makeMap, makeWindow, maxPool, pad, rowsOf, windowValues } from "./convolution.js";
import { buttons, slider } from "./controls.js";
import { Grid, figure, make, rangeOf } from "./grid.js";

const FILLS = { max: -Infinity, average: 0 };

/** What pooling makes of rows of numbers. */
export function poolRows(rows, { kind, f, s, p }) {
  const window = makeWindow(f, { stride: s, before: p });
  const map = makeMap(1, rows.length, rows[0].length, rows.flat());
  const output = kind === "max" ? maxPool(map, [window, window]) : averagePool(map, [window, window]);
  return { window, output, padded: pad(map, [window, window], FILLS[kind]) };
}

export class Pool {
  constructor(host, settings) {
    this.state = structuredClone(settings.state);
    this.brush = settings.brushes.at(-1);
    this.place = [0, 0];
    this.input = new Grid("Image", { kind: "grey", onPaint: (row, column) => this.paint(row, column) });
    this.output = new Grid("Output", { kind: "grey", onPick: (row, column) => { this.place = [row, column]; this.update(); } });
    this.words = make("p", { class: "total", role: "status" });
    const range = { f: [2, 3], s: [1, 3], p: [0, 1] };
    const names = { f: "window f", s: "stride s", p: "padding p" };
    const sliders = Object.keys(range).map((key) => slider(names[key], [...range[key], this.state[key]], (value) => { this.state[key] = value; this.update(); }));
    const kinds = buttons("Kind of pooling", ["max", "average"], this.state.kind, (kind) => { this.state.kind = kind; this.update(); });
    const brushes = buttons("Paint with", settings.brushes.map(String), String(this.brush), (value) => { this.brush = Number(value); });
    host.replaceChildren(make("div", { class: "controls" }, kinds, make("span", { class: "with" }, "paint with"), brushes), make("div", { class: "sliders" }, ...sliders),
      make("div", { class: "stage" }, this.input.node, make("span", { class: "sign", "aria-hidden": "true" }, "→"), this.output.node), this.words);
    this.update();
  }

  paint(row, column) {
    const [top, left] = [row - this.state.p, column - this.state.p];
    if (this.state.image[top]?.[left] === undefined) return;
    this.state.image[top][left] = this.brush;
    this.update();
  }

  update() {
    const { window, output, padded } = poolRows(this.state.image, this.state);
    this.place = [Math.min(this.place[0], output.height - 1), Math.min(this.place[1], output.width - 1)];
    const side = this.state.image.length;
    const frame = { top: this.state.p, left: this.state.p, height: side, width: side };
    const range = rangeOf(this.state.image);
    this.input.show(rowsOf(padded), { range, frame, caption: `Image, ${side}×${side}` });
    this.output.show(rowsOf(output), { range, caption: `Output, ${output.height}×${output.width}` });
    this.input.mark((row, column) => [row, column].every((at, axis) => {
      const from = at - this.place[axis] * window.stride;
      return from >= 0 && from < window.kernel;
    }));
    this.output.mark((row, column) => row === this.place[0] && column === this.place[1]);
    const seen = windowValues(padded, 0, ...this.place, [window, window]).map(figure);
    const value = figure(rowsOf(output)[this.place[0]][this.place[1]]);
    this.words.textContent = this.state.kind === "max" ? `max(${seen.join(", ")}) = ${value}` : `(${seen.join(" + ")}) / ${seen.length} = ${value}`;
  }
}
