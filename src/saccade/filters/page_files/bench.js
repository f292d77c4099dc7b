// The bench: an image painted by hand, a kernel, and the window that steps over it with its sum written out.
import { averagePool, convolve, coverage, crossCorrelate, flip, makeKernel, makeMap, makeWindow, maxPool, outputSize, pad, relu, rowsOf, sizeFormula, windowValues } from "./convolution.js";
import { Grid, figure, lengthClass, make, rangeOf, stepClass } from "./grid.js";

const MODES = { zero: "zeros", reflect: "reflected", replicate: "replicated" };
const POOLS = { none: null, "max 2x2": ["max", 2, 2], "average 2x2": ["average", 2, 2], "max 3x3, stride 2": ["max", 3, 2] };
const PLAY_MS = 600;
const OWN = "your own", PAINTED = "painted by hand";
export const COLOURS = ["red", "green", "blue"];

/** Everything that follows from the settings of a bench: windows, output, what ReLU and pooling make of it. */
export function calculate(state) {
  const map = makeMap(state.image.length, state.image[0].length, state.image[0][0].length, state.image.flat(2));
  const [filters, channels, height, width] = shapeOf(state.kernel);
  const kernel = makeKernel(filters, channels, height, width, state.kernel.flat(3));
  const options = { stride: state.stride, before: state.padding, dilation: state.dilation };
  const windows = [makeWindow(height, options), makeWindow(width, options)];
  const operate = state.operation === "true convolution" ? convolve : crossCorrelate;
  const output = operate(map, kernel, windows, { mode: state.mode, bias: state.bias });
  const activated = state.relu ? relu(output) : output;
  return {
    map, windows, output, activated,
    applied: state.operation === "true convolution" ? flip(kernel) : kernel,
    padded: pad(map, windows, state.mode),
    pooled: poolOf(activated, state.pool),
    formulas: [sizeFormula(map.height, windows[0]), sizeFormula(map.width, windows[1])],
  };
}

function shapeOf(kernel) {
  return [kernel.length, kernel[0].length, kernel[0][0].length, kernel[0][0][0].length];
}

function poolOf(map, name) {
  const asked = POOLS[name];
  if (!asked) return null;
  const window = makeWindow(asked[1], { stride: asked[2] });
  if (outputSize(map.height, window) < 1 || outputSize(map.width, window) < 1) return null;
  return asked[0] === "max" ? maxPool(map, [window, window]) : averagePool(map, [window, window]);
}

/** The terms of one output number: for each channel and tap the pixel, the weight and their product. */
export function termsOf(result, filter, row, column) {
  const { padded, applied, windows } = result;
  const area = applied.height * applied.width;
  return Array.from({ length: applied.channels }, (_, channel) => {
    const seen = windowValues(padded, channel, row, column, windows);
    const first = (filter * applied.channels + channel) * area;
    return seen.map((pixel, tap) => ({ pixel, weight: applied.values[first + tap], product: pixel * applied.values[first + tap] }));
  });
}

/** What a person should know of the result, in words. */
export function notesOf(state, result) {
  const notes = [];
  const missed = [["row", result.map.height, result.windows[0]], ["column", result.map.width, result.windows[1]]]
    .map(([axis, size, window]) => missedWords(axis, coverage(size, window)))
    .filter(Boolean);
  if (missed.length) notes.push(`No window covers ${missed.join(" and ")}.`);
  notes.push(flipWords(state.kernel));
  if (state.pool !== "none" && !result.pooled) notes.push("The map is too small for this pooling.");
  return notes;
}

function missedWords(axis, counts) {
  const missed = counts.flatMap((count, position) => (count ? [] : [position]));
  if (!missed.length) return "";
  const last = missed.every((position, index) => position === counts.length - missed.length + index);
  if (!last) return `${missed.length} of the ${counts.length} ${axis}s`;
  return missed.length === 1 ? `the last ${axis}` : `the last ${missed.length} ${axis}s`;
}

function flipWords(kernel) {
  const numbers = kernel.flat(1).map((rows) => rows.flat());
  const against = (sign) => numbers.every((values) =>
    values.every((value, tap) => Math.abs(value - sign * values[values.length - 1 - tap]) < 1e-12));
  if (against(1)) return "Flipping leaves this kernel as it is: both operations give the same values.";
  if (against(-1)) return "Flipping only changes the sign of this kernel: true convolution gives the exact negative of cross-correlation.";
  return "Flipping changes this kernel: cross-correlation, which networks compute, and true convolution differ.";
}

/** The same work as a line of NumPy or torch. */
export function codeOf(state, library) {
  const image = JSON.stringify(state.image), kernel = JSON.stringify(state.kernel);
  const flipped = state.operation === "true convolution";
  if (library === "torch") return [
    "import torch", "from torch.nn import functional as F", "",
    `image_BCHW = torch.tensor([${image}], dtype=torch.float64)`,
    `kernel_OIHW = torch.tensor(${kernel}, dtype=torch.float64)${flipped ? ".flip(2, 3)" : ""}`,
    ...(state.padding ? [`image_BCHW = F.pad(image_BCHW, [${state.padding}] * 4, mode="${{ zero: "constant", reflect: "reflect", replicate: "replicate" }[state.mode]}")`] : []),
    `output_BCHW = F.conv2d(image_BCHW, kernel_OIHW, ${state.bias ? `torch.tensor(${JSON.stringify(state.bias)}, dtype=torch.float64), ` : ""}stride=${state.stride}, dilation=${state.dilation})`,
    ...(state.relu ? ["output_BCHW = F.relu(output_BCHW)"] : []),
    "print(output_BCHW)",
  ].join("\n");
  return [
    "import numpy as np", "",
    `image_CHW = np.array(${image}, float)`,
    `kernel_OIHW = np.array(${kernel}, float)${flipped ? "[..., ::-1, ::-1]" : ""}`,
    ...(state.padding ? [`image_CHW = np.pad(image_CHW, [(0, 0), (${state.padding}, ${state.padding}), (${state.padding}, ${state.padding})], mode="${{ zero: "constant", reflect: "reflect", replicate: "edge" }[state.mode]}")`] : []),
    "extent_HW = [(size - 1) * " + state.dilation + " + 1 for size in kernel_OIHW.shape[2:]]",
    "windows = np.lib.stride_tricks.sliding_window_view(image_CHW, extent_HW, (1, 2))",
    `windows = windows[:, ::${state.stride}, ::${state.stride}, ::${state.dilation}, ::${state.dilation}]`,
    `output_CHW = np.einsum("chwij,ocij->ohw", windows, kernel_OIHW)${state.bias ? ` + np.array(${JSON.stringify(state.bias)})[:, None, None]` : ""}`,
    ...(state.relu ? ["output_CHW = np.maximum(output_CHW, 0)"] : []),
    "print(output_CHW)",
  ].join("\n");
}

/** The bench as a part of a page. `settings` is the state to begin with, its choices and which controls it has. */
export class Bench {
  constructor(host, settings) {
    this.host = host;
    this.settings = settings;
    this.brush = settings.brushes?.at(-1) ?? 10;
    this.changed = () => {};
    this.moved = () => {};
    this.load(settings.state);
  }

  /** Begin again with another state, of any number of channels and filters. */
  load(state) {
    this.stop();
    this.state = structuredClone(state);
    this.place = [0, 0];
    this.problem = "";
    this.build(this.host);
    this.update();
  }

  has(control) {
    return this.settings.controls.includes(control);
  }

  build(host) {
    const { image, kernel } = this.state;
    this.inputs = image.map((_, channel) => new Grid(this.nameOf("Image", channel, image.length), {
      kind: "grey",
      onPaint: this.has("paint") ? (row, column) => this.paint(channel, row, column) : null,
    }));
    this.outputs = kernel.map((_, filter) => new Grid(this.numbered("Output", filter, kernel.length), {
      onPick: (row, column) => this.go(row, column),
    }));
    this.kernelHost = make("div", { class: "stack" });
    this.after = make("div", { class: "stack" });
    this.terms = make("div", { class: "terms", role: "status" });
    this.words = make("ul", { class: "plain" });
    const stage = make("div", { class: image.length * kernel.length > 1 ? "stage many" : "stage" },
      make("div", { class: "stack" }, ...this.inputs.map((grid) => grid.node)),
      make("span", { class: "sign", "aria-hidden": "true" }, "∗"), this.kernelHost,
      make("span", { class: "sign", "aria-hidden": "true" }, "="),
      make("div", { class: "stack" }, ...this.outputs.map((grid) => grid.node)), this.after);
    host.replaceChildren(this.controls(), ...(this.has("edit") ? [this.edits()] : []), stage, this.stepper(), this.terms, this.words, this.code());
    this.buildKernel();
  }

  nameOf(what, channel, channels) {
    return channels === 3 ? `${what}, ${COLOURS[channel]}` : what;
  }

  numbered(what, number, total) {
    return total > 1 ? `${what} ${number + 1}` : what;
  }

  controls() {
    const { images, kernels } = this.settings;
    const row = make("div", { class: "controls" });
    this.choices = {};
    if (this.has("paint")) row.append(this.choice("Paint with", this.settings.brushes.map(String), String(this.brush), (value) => { this.brush = Number(value); }));
    if (images) row.append(this.choice("Image", [...Object.keys(images), PAINTED], nameIn(images, this.state.image, PAINTED), (name) => this.takeImage(name)));
    if (kernels) row.append(this.choice("Kernel", [...Object.keys(kernels), OWN], nameIn(kernels, this.state.kernel, OWN), (name) => this.takeKernel(name)));
    if (this.has("operation")) row.append(this.choice("Operation", ["cross-correlation", "true convolution"], this.state.operation, (operation) => this.set({ operation })));
    if (this.has("padding")) row.append(this.number("Padding", 0, 3, this.state.padding, (padding) => this.set({ padding })));
    if (this.has("mode")) row.append(this.choice("filled with", Object.values(MODES), MODES[this.state.mode], (words) => this.set({ mode: Object.keys(MODES).find((key) => MODES[key] === words) })));
    if (this.has("stride")) row.append(this.number("Stride", 1, 4, this.state.stride, (stride) => this.set({ stride })));
    if (this.has("dilation")) row.append(this.number("Dilation", 1, 3, this.state.dilation, (dilation) => this.set({ dilation })));
    if (this.has("bias")) row.append(this.number("Bias", -50, 50, this.state.bias?.[0] ?? 0, (bias) => this.set({ bias: this.state.kernel.map(() => bias) })));
    if (this.has("relu")) row.append(this.check("ReLU", this.state.relu, (isOn) => this.set({ relu: isOn })));
    if (this.has("pool")) row.append(this.choice("Pooling", Object.keys(POOLS), this.state.pool, (pool) => this.set({ pool })));
    if (this.has("compare")) row.append(this.check("beside the other operation", this.state.compare, (isOn) => this.set({ compare: isOn })));
    return row;
  }

  /** What changes the kernel or the number of its channels and filters as a whole. */
  edits() {
    const each = (change) => this.own(this.state.kernel.map((filter) => filter.map(change)));
    const sizes = ["1", "2", "3", "5", "7"];
    const [filters, channels, height] = shapeOf(this.state.kernel);
    const divisor = make("input", { type: "number", step: "any", value: 9, "aria-label": "Divide by" });
    const button = (name, use) => make("button", { type: "button", onclick: use }, name);
    return make("div", { class: "controls" },
      this.choice("Kernel size", sizes, String(height), (size) => each((rows) => resized(rows, Number(size)))),
      button("Transpose", () => each((rows) => rows[0].map((_, column) => rows.map((values) => values[column])))),
      button("Flip", () => each((rows) => rows.toReversed().map((values) => values.toReversed()))),
      button("Negate", () => each((rows) => rows.map((values) => values.map((value) => -value + 0)))),
      button("Divide by", () => { if (Number(divisor.value)) each((rows) => rows.map((values) => values.map((value) => value / Number(divisor.value)))); }), divisor,
      this.choice("Channels", ["1", "3"], String(channels), (count) => this.reshape(Number(count), filters)),
      this.choice("Filters", ["1", "2"], String(filters), (count) => this.reshape(channels, Number(count))));
  }

  own(kernel) {
    this.set({ kernel });
    this.rename("Kernel", OWN);
  }

  /** Say in a list that what was chosen there has been changed since. */
  rename(label, name) {
    if (this.choices[label]) this.choices[label].value = name;
  }

  /** The same image and kernel in another number of channels and filters; what is new is a copy of what there is. */
  reshape(channels, filters) {
    const { image, kernel, bias } = this.state;
    const copy = (values, count) => Array.from({ length: count }, (_, number) => structuredClone(values[number] ?? values[0]));
    this.load({
      ...this.state, image: copy(image, channels), bias: bias && copy(bias, filters),
      kernel: copy(kernel, filters).map((filter) => copy(filter, channels)),
    });
  }

  choice(label, names, chosen, use) {
    const select = make("select", { "aria-label": label, onchange: (event) => use(event.target.value) },
      ...names.map((name) => make("option", { value: name, selected: name === chosen }, name)));
    this.choices[label] = select;
    return make("label", {}, label, select);
  }

  number(label, least, most, value, use) {
    const input = make("input", { type: "number", min: least, max: most, value, onchange: () => {
      const asked = Math.round(Math.min(Math.max(Number(input.value), least), most));
      input.value = asked;
      use(asked);
    } });
    return make("label", {}, label, input);
  }

  check(label, isOn, use) {
    return make("label", { class: "check" }, make("input", { type: "checkbox", checked: isOn, onchange: (event) => use(event.target.checked) }), label);
  }

  stepper() {
    this.slider = make("input", { type: "range", min: 0, value: 0, "aria-label": "Place of the window", oninput: () => this.goTo(Number(this.slider.value)) });
    this.playButton = make("button", { type: "button", onclick: () => this.play() }, "Play");
    this.where = make("output", {});
    return make("div", { class: "stepper" },
      make("button", { type: "button", onclick: () => this.goTo(this.number1() - 1) }, "Previous"), this.playButton,
      make("button", { type: "button", onclick: () => this.goTo(this.number1() + 1) }, "Next"), this.slider, this.where);
  }

  code() {
    this.codeText = make("pre", { tabindex: "0" });
    this.library = "torch";
    const choose = (name) => { this.library = name; this.update(); };
    const copy = make("button", { type: "button", onclick: () => this.copy(copy) }, "Copy");
    return make("details", {}, make("summary", {}, "As code"),
      make("div", { class: "controls" }, this.choice("Library", ["torch", "numpy"], "torch", choose), copy), this.codeText);
  }

  async copy(button) {
    await navigator.clipboard.writeText(this.codeText.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  buildKernel() {
    const blocks = this.state.kernel.map((filter, number) => {
      const grids = filter.map((rows, channel) => this.kernelGrid(rows, number, channel));
      return make("div", { class: "filter" }, ...grids);
    });
    this.kernelHost.replaceChildren(...blocks);
  }

  kernelGrid(rows, filter, channel) {
    const { kernel } = this.state;
    const caption = this.nameOf(this.numbered("Kernel", filter, kernel.length), channel, kernel[0].length);
    const lines = rows.map((values, row) => make("div", { class: "line" }, ...values.map((value, column) => {
      const input = make("input", { class: "cell", inputmode: "decimal", "aria-label": `${caption}, row ${row + 1}, column ${column + 1}`, value: figure(value) });
      input.addEventListener("change", () => this.takeNumber(input, filter, channel, row, column));
      input.addEventListener("focus", () => input.select());
      return input;
    })));
    const node = make("figure", { class: "sheet kernel" }, make("figcaption", {}, caption), make("div", { class: "fit" }, make("div", { class: "cells" }, ...lines)));
    node.style.setProperty("--columns", rows[0].length);
    return node;
  }

  takeNumber(input, filter, channel, row, column) {
    const value = Number(input.value.replace("−", "-").replace(",", "."));
    if (input.value.trim() && Number.isFinite(value)) {
      this.state.kernel[filter][channel][row][column] = value;
      this.rename("Kernel", OWN);
    }
    this.update();
  }

  takeImage(name) {
    const images = this.settings.images[name];
    if (images) this.set({ image: this.state.image.map((_, channel) => structuredClone(images[channel] ?? images[0])) });
  }

  /** A kernel of the list: of one filter and one channel it serves every channel of every filter. */
  takeKernel(name) {
    const kernel = this.settings.kernels[name];
    if (!kernel) return;
    const [filters, channels] = shapeOf(this.state.kernel);
    const fits = kernel.length === filters && kernel[0].length === channels;
    const same = Array.from({ length: filters }, () => Array.from({ length: channels }, () => kernel[0][0]));
    this.set({ kernel: structuredClone(fits ? kernel : same) });
  }

  set(change) {
    const before = this.state;
    this.state = { ...before, ...change };
    try {
      calculate(this.state);
      this.problem = "";
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.problem = error.message;
      this.state = before;
    }
    if (change.kernel) this.buildKernel();
    this.update();
  }

  /** The place is one of the padded image; its frame cannot be painted. */
  paint(channel, row, column) {
    const [top, left] = [row - this.result.windows[0].before, column - this.result.windows[1].before];
    if (this.state.image[channel][top]?.[left] === undefined) return;
    this.state.image[channel][top][left] = this.brush;
    this.rename("Image", PAINTED);
    this.update();
  }

  size() {
    return [this.result.output.height, this.result.output.width];
  }

  number1() {
    return this.place[0] * this.size()[1] + this.place[1];
  }

  go(row, column) {
    this.place = [row, column];
    this.moved();
    this.draw();
  }

  goTo(number) {
    const [height, width] = this.size();
    const inside = Math.min(Math.max(number, 0), height * width - 1);
    this.go(Math.floor(inside / width), inside % width);
  }

  play() {
    if (this.timer) return this.stop();
    this.playButton.textContent = "Pause";
    if (this.number1() === this.size()[0] * this.size()[1] - 1) this.goTo(0);
    this.timer = setInterval(() => {
      this.goTo(this.number1() + 1);
      if (this.number1() === this.size()[0] * this.size()[1] - 1) this.stop();
    }, PLAY_MS);
  }

  stop() {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = null;
    this.playButton.textContent = "Play";
  }

  update() {
    this.result = calculate(this.state);
    this.changed(this.state);
    const [height, width] = this.size();
    this.place = [Math.min(this.place[0], height - 1), Math.min(this.place[1], width - 1)];
    this.draw();
  }

  draw() {
    const { result, state } = this;
    const [vertical, horizontal] = result.windows;
    const frame = { top: vertical.before, left: horizontal.before, height: result.map.height, width: result.map.width };
    const range = rangeOf(state.image.flat());
    this.inputs.forEach((grid, channel) => {
      grid.show(rowsOf(result.padded, channel), { range, frame, caption: this.caption("Image", channel, state.image.length, result.map) });
      grid.mark((row, column) => this.isUnder(row, column), (row, column) => this.weightOver(channel, row, column));
    });
    this.outputs.forEach((grid, filter) => {
      grid.show(rowsOf(result.output, filter), { caption: `${this.numbered("Output", filter, state.kernel.length)}, ${result.output.height}×${result.output.width}` });
      grid.mark((row, column) => row === this.place[0] && column === this.place[1]);
    });
    this.tintKernel();
    this.drawAfter();
    this.drawTerms();
    this.drawWords();
    this.slider.max = this.size()[0] * this.size()[1] - 1;
    this.slider.value = this.number1();
    this.where.textContent = `row ${this.place[0] + 1}, column ${this.place[1] + 1}`;
    this.codeText.textContent = codeOf(state, this.library);
  }

  caption(what, channel, channels, map) {
    return `${this.nameOf(what, channel, channels)}, ${map.height}×${map.width}`;
  }

  /** Whether a cell of the padded image lies under a tap of the window. */
  isUnder(row, column) {
    return [row, column].every((position, axis) => {
      const window = this.result.windows[axis];
      const from = position - this.place[axis] * window.stride;
      return from >= 0 && from % window.dilation === 0 && from / window.dilation < window.kernel;
    });
  }

  /** The weight of the first filter that lies over a cell of the padded image. */
  weightOver(channel, row, column) {
    const { applied, windows } = this.result;
    const [down, right] = [row, column].map((position, axis) => (position - this.place[axis] * windows[axis].stride) / windows[axis].dilation);
    return this.state.kernel.length > 1 ? "" : `×${figure(applied.values[(channel * applied.height + down) * applied.width + right])}`;
  }

  tintKernel() {
    const range = rangeOf(this.state.kernel.flat(2));
    const inputs = this.kernelHost.querySelectorAll("input");
    this.state.kernel.flat(3).forEach((value, index) => {
      inputs[index].value = figure(value);
      inputs[index].className = `cell ${stepClass(value, { kind: "signed", ...range })}${lengthClass(inputs[index].value)}`;
    });
  }

  drawAfter() {
    const { state, result } = this;
    const other = state.operation === "true convolution" ? "cross-correlation" : "true convolution";
    const beside = state.compare ? calculate({ ...state, operation: other }).output : null;
    const difference = beside && { ...beside, values: result.output.values.map((value, index) => value - beside.values[index]) };
    const stages = [...(beside ? [[`by ${other}`, beside], ["minus that", difference]] : []), ...(state.relu ? [["after ReLU", result.activated]] : []), ...(result.pooled ? [[`after pooling`, result.pooled]] : [])];
    this.after.replaceChildren(...stages.flatMap(([name, map]) => Array.from({ length: map.channels }, (_, channel) => {
      const grid = new Grid("");
      grid.show(rowsOf(map, channel), { caption: `${this.numbered("Output", channel, map.channels)} ${name}, ${map.height}×${map.width}` });
      return grid.node;
    })));
  }

  drawTerms() {
    const blocks = this.state.kernel.map((_, filter) => this.termsBlock(filter));
    this.terms.replaceChildren(...blocks);
  }

  termsBlock(filter) {
    const channels = termsOf(this.result, filter, ...this.place);
    const width = this.result.applied.width;
    const totals = channels.map((terms) => terms.reduce((sum, term) => sum + term.product, 0));
    const tables = channels.map((terms, channel) => termsTable(terms, width, channels.length === 3 ? COLOURS[channel] : ""));
    const bias = this.state.bias?.[filter] ?? 0;
    const sum = totals.reduce((all, total) => all + total, 0);
    const parts = channels.length > 1 ? `${totals.map(signed).join(" ").replace(/^\+ /, "")} = ` : "";
    const rest = this.state.bias ? ` ${signed(bias)} bias = ${figure(sum + bias)}` : "";
    const activated = this.state.relu ? `; ReLU: ${figure(Math.max(sum + bias, 0))}` : "";
    const total = make("p", { class: "total" }, `${this.numbered("Output", filter, this.state.kernel.length)}: ${parts}`, make("strong", {}, figure(sum)), `${rest}${activated}`);
    return make("div", { class: "term-block" }, make("div", { class: "tables" }, ...tables), total);
  }

  drawWords() {
    const [height, width] = this.result.formulas;
    const lines = [`Height ${height}, width ${width}.`, ...notesOf(this.state, this.result)];
    if (this.problem) lines.unshift(this.problem);
    this.words.replaceChildren(...lines.map((line) => make("li", {}, line)));
  }
}

/** The name of the entry that is equal to `value`, else `other`. */
function nameIn(entries, value, other) {
  const text = JSON.stringify(value);
  return Object.keys(entries).find((name) => JSON.stringify(entries[name]) === text) ?? other;
}

/** The rows cut or filled with zeros around their middle. */
function resized(rows, size) {
  const shift = Math.floor((size - rows.length) / 2);
  return Array.from({ length: size }, (_, row) => Array.from({ length: size }, (__, column) => rows[row - shift]?.[column - shift] ?? 0));
}

function signed(value) {
  return value < 0 ? `− ${figure(-value)}` : `+ ${figure(value)}`;
}

/** One row a row of the kernel: pixel times weight, and what the row comes to. */
export function termsTable(terms, width, name) {
  const rows = [];
  for (let first = 0; first < terms.length; first += width) {
    const cells = terms.slice(first, first + width);
    const sum = cells.reduce((all, term) => all + term.product, 0);
    rows.push(make("tr", {}, ...cells.map((term) => make("td", { class: term.product === 0 ? "nothing" : "" }, `${figure(term.pixel)} × ${figure(term.weight)}`)), make("td", { class: "row-sum" }, `= ${figure(sum)}`)));
  }
  return make("table", {}, make("caption", { class: name ? "" : "unseen" }, name || "The terms of the sum"), make("tbody", {}, ...rows));
}
