// Learned edges: nine numbers as parameters, gradient descent on the mean squared error, live.
import { crossCorrelate, kernelOfRows, makeWindow, mapOfRows, rowsOf, windowValues } from "./convolution.js";
import { draw, slider } from "./controls.js";
import { Grid, make, rangeOf } from "./grid.js";

const WINDOWS = [makeWindow(3), makeWindow(3)];
const STEPS_A_FRAME = 1;
const CHART = { width: 320, height: 120 };

/** A derivative turned counterclockwise, as saccade.conv.filters.steer has it: cos * K + sin * (K turned by 90). */
export function steer(rows, degrees) {
  const radians = (degrees * Math.PI) / 180;
  const size = rows.length;
  const turned = (place) => rows[place[1]][size - 1 - place[0]];
  return rows.map((values, row) => values.map((value, column) => Math.cos(radians) * value + Math.sin(radians) * turned([row, column])));
}

/** What the descent needs of an image: the mean products of taps (9x9) and how steep the loss is at most. */
export function momentsOf(rows) {
  const map = mapOfRows(rows);
  const examples = [];
  for (let row = 0; row < map.height - 2; row++)
    for (let column = 0; column < map.width - 2; column++) examples.push(windowValues(map, 0, row, column, WINDOWS));
  const moments = examples[0].map((_, first) => examples[0].map((__, second) =>
    examples.reduce((sum, taps) => sum + taps[first] * taps[second], 0) / examples.length));
  return { moments, steepest: largestEigenvalue(moments) };
}

function largestEigenvalue(matrix) {
  let vector = matrix.map((_, index) => 1 + index / 10), length = 1;
  for (let turn = 0; turn < 200; turn++) {
    vector = times(matrix, vector);
    length = Math.hypot(...vector);
    vector = vector.map((value) => value / length);
  }
  return length;
}

export function times(matrix, vector) {
  return matrix.map((row) => row.reduce((sum, value, index) => sum + value * vector[index], 0));
}

/** The mean squared error of weights against the true ones, and its gradient by each weight. */
export function lossOf({ moments }, weights, truth) {
  const difference = weights.map((value, index) => value - truth[index]);
  const half = times(moments, difference);
  return { loss: difference.reduce((sum, value, index) => sum + value * half[index], 0), gradient: half.map((value) => 2 * value) };
}

export class Descent {
  constructor(host, settings) {
    this.settings = settings;
    this.found = momentsOf(settings.image);
    this.map = mapOfRows(settings.image);
    this.angle = settings.angle;
    this.rate = 1;
    this.build(host);
    this.begin();
  }

  build(host) {
    this.target = new Grid("The target", { fine: true });
    this.truth = new Grid("The true numbers");
    this.learned = new Grid("The learned numbers");
    this.answer = new Grid("What the learned numbers answer", { fine: true });
    this.source = new Grid("The image", { kind: "grey", fine: true });
    this.words = make("p", { class: "total", role: "status" });
    this.chart = make("div", { class: "strip-host", tabindex: "0", role: "group", "aria-label": "Drawing" });
    this.runButton = make("button", { type: "button", onclick: () => this.run() }, "Learn");
    const kernels = make("label", {}, "Kernel", make("select", { onchange: (event) => { this.name = event.target.value; this.begin(); } }, ...Object.keys(this.settings.kernels).map((name) => make("option", {}, name))));
    this.name = Object.keys(this.settings.kernels)[0];
    const sliders = make("div", { class: "sliders" },
      slider("angle", [0, 345, this.angle], (value) => { this.angle = value; this.begin(); }, { step: 5, words: (value) => `${value}°` }),
      slider("learning rate", [5, 120, 90], (value) => { this.rate = value / 100; }, { step: 5, words: (value) => `${value} % of the stable limit` }));
    host.replaceChildren(make("div", { class: "controls" }, kernels, this.runButton,
      make("button", { type: "button", onclick: () => this.step(1) }, "One step"),
      make("button", { type: "button", onclick: () => this.begin() }, "New random numbers")), sliders,
    make("div", { class: "stage" }, this.source.node, make("span", { class: "sign", "aria-hidden": "true" }, "∗"), this.learned.node,
      make("span", { class: "sign", "aria-hidden": "true" }, "="), this.answer.node, this.target.node, this.truth.node), this.words, this.chart);
    this.rate = 0.9;
  }

  begin() {
    this.stop();
    this.trueRows = steer(this.settings.kernels[this.name], this.angle);
    const size = Math.max(...this.trueRows.flat().map(Math.abs));
    this.weights = this.trueRows.flat().map(() => (Math.random() * 2 - 1) * size);
    this.losses = [];
    this.show();
  }

  run() {
    if (this.timer) return this.stop();
    this.runButton.textContent = "Pause";
    const frame = () => {
      this.step(STEPS_A_FRAME);
      const { loss } = lossOf(this.found, this.weights, this.trueRows.flat());
      if (loss < 1e-9 * this.losses[0] || !(loss < 1e12 * this.losses[0])) return this.stop();
      this.timer = requestAnimationFrame(frame);
    };
    this.timer = requestAnimationFrame(frame);
  }

  stop() {
    cancelAnimationFrame(this.timer);
    this.timer = null;
    this.runButton.textContent = "Learn";
  }

  /** w <- w - rate * gradient; above 1/steepest the loss grows in the steepest direction. */
  step(count) {
    for (let turn = 0; turn < count; turn++) {
      const { loss, gradient } = lossOf(this.found, this.weights, this.trueRows.flat());
      this.losses.push(loss);
      this.weights = this.weights.map((value, index) => value - (this.rate / this.found.steepest) * gradient[index]);
    }
    this.show();
  }

  show() {
    const rows = [0, 3, 6].map((first) => this.weights.slice(first, first + 3));
    const output = rowsOf(crossCorrelate(this.map, kernelOfRows(rows), WINDOWS));
    const target = rowsOf(crossCorrelate(this.map, kernelOfRows(this.trueRows), WINDOWS));
    this.source.show(this.settings.image);
    this.truth.show(this.trueRows);
    this.learned.show(rows, { range: rangeOf(this.trueRows) });
    this.answer.show(output, { range: rangeOf(target) });
    this.target.show(target);
    const { loss } = lossOf(this.found, this.weights, this.trueRows.flat());
    this.words.textContent = `${this.losses.length} steps, mean squared error ${loss.toPrecision(3)}`;
    this.chart.replaceChildren(...(this.losses.length > 1 ? [this.curve()] : []));
  }

  /** The loss by step, on a logarithmic scale. */
  curve() {
    const { width, height } = CHART;
    const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Mean squared error over ${this.losses.length} steps` });
    picture.append(draw("line", { x1: 0, x2: width, y1: height - 1, y2: height - 1, class: "axis" }));
    const values = this.losses.filter((value) => value > 0).map(Math.log10);
    if (values.length > 1) {
      const low = Math.min(...values), span = Math.max(...values) - low || 1;
      const points = values.map((value, index) => `${((index / (values.length - 1)) * width).toFixed(1)},${(height - 4 - ((value - low) / span) * (height - 24)).toFixed(1)}`);
      picture.append(draw("polyline", { points: points.join(" "), class: "curve" }));
      picture.append(draw("text", { x: 0, y: 12, class: "digit used" }, `10^${Math.round(Math.max(...values))} to 10^${Math.round(low)}`));
    }
    return picture;
  }
}
