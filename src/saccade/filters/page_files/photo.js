// A kernel over a whole photo, in the browser: nothing leaves the page. The value under the pointer is written out.
import { averagePool, crossCorrelate, flip, makeKernel, makeMap, makeWindow, maxPool, outputSize, pad, relu, windowValues } from "./convolution.js";
import { termsTable } from "./bench.js";
import { STEPS, figure, make } from "./grid.js";

export const MOST_PX = 512;
const FULL_SCALE = 0.995; // of the magnitudes, as saccade.filters.view has it
const GREY = [0.299, 0.587, 0.114];
const SHOWS = ["signed", "absolute", "clipped"];

/** Bytes of RGBA as a map: brightness (one channel), or red, green and blue. */
export function mapOfPixels(data, height, width, channels) {
  const map = makeMap(channels, height, width);
  const area = height * width;
  for (let place = 0; place < area; place++) {
    const colours = [0, 1, 2].map((colour) => data[4 * place + colour]);
    if (channels === 1) map.values[place] = GREY.reduce((sum, share, colour) => sum + share * colours[colour], 0);
    else colours.forEach((value, colour) => { map.values[colour * area + place] = value; });
  }
  return map;
}

/** What the first filter of a bench's state makes of a map: its windows, the kernel as it is laid on, the response. */
export function respond(map, state) {
  const filter = state.kernel[0];
  const options = { stride: state.stride, before: state.padding, dilation: state.dilation };
  const windows = [makeWindow(filter[0].length, options), makeWindow(filter[0][0].length, options)];
  const given = makeKernel(1, filter.length, filter[0].length, filter[0][0].length, filter.flat(2));
  const kernel = state.operation === "true convolution" ? flip(given) : given;
  const bias = state.bias && [state.bias[0]];
  const output = crossCorrelate(map, kernel, windows, { mode: state.mode, bias });
  const activated = state.relu ? relu(output) : output;
  return { windows, kernel, padded: pad(map, windows, state.mode), response: pooledAs(activated, state.pool) };
}

function pooledAs(map, name) {
  const [, kind, side, stride] = /^(max|average) (\d)x\d(?:, stride (\d))?$/.exec(name) ?? [];
  if (!kind) return map;
  const window = makeWindow(Number(side), { stride: Number(stride ?? side) });
  if (outputSize(map.height, window) < 1 || outputSize(map.width, window) < 1) return map;
  return kind === "max" ? maxPool(map, [window, window]) : averagePool(map, [window, window]);
}

/** The magnitude drawn at full strength: beyond it lie the strongest half percent, or nothing. */
export function fullScale(values) {
  const sorted = Float64Array.from(values, Math.abs).sort();
  return sorted[Math.min(sorted.length - 1, Math.ceil(FULL_SCALE * (sorted.length - 1)))] || sorted.at(-1) || 1;
}

/** RGB of the steps s-8 to s8 of the page's theme. */
function paletteOf(node) {
  const style = getComputedStyle(node);
  return Array.from({ length: 2 * STEPS + 1 }, (_, index) => {
    const hex = style.getPropertyValue(`--s${index - STEPS}`).trim();
    return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  });
}

function colourOf(value, scale, show, palette) {
  if (show === "clipped") return [0, 1, 2].map(() => Math.round(Math.min(Math.max(value, 0), 255)));
  if (show === "absolute") return [0, 1, 2].map(() => Math.round(255 * Math.min(Math.abs(value) / scale, 1)));
  const place = STEPS + STEPS * Math.min(Math.max(value / scale, -1), 1);
  const low = Math.floor(place), high = Math.min(low + 1, 2 * STEPS);
  return palette[low].map((from, colour) => Math.round(from + (place - low) * (palette[high][colour] - from)));
}

/** A picture that the page draws itself: edges in many directions, a slope, texture. */
function sample(canvas) {
  [canvas.width, canvas.height] = [320, 240];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const slope = pen.createLinearGradient(0, 0, 320, 240);
  slope.addColorStop(0, "#35506b");
  slope.addColorStop(1, "#e8d9b5");
  pen.fillStyle = slope;
  pen.fillRect(0, 0, 320, 240);
  pen.fillStyle = "#c2500a";
  pen.beginPath();
  pen.arc(96, 120, 62, 0, 7);
  pen.fill();
  pen.fillStyle = "#f7f8fa";
  pen.fillRect(178, 58, 96, 96);
  pen.fillStyle = "#1b1f24";
  for (let stripe = 0; stripe < 8; stripe++) pen.fillRect(184 + stripe * 11, 64, 5, 84);
  pen.font = "600 34px sans-serif";
  pen.fillText("Saccade", 150, 206);
}

export class Photo {
  constructor(host) {
    this.source = document.createElement("canvas");
    this.before = make("canvas", { role: "img", "aria-label": "The photo" });
    this.after = make("canvas", { role: "img", tabindex: "0", "aria-label": "What the kernel answers; arrow keys move the place" });
    this.show = "signed";
    this.place = null;
    this.legend = make("p", { class: "muted", role: "status" });
    this.terms = make("div", { class: "terms" });
    this.problem = make("p", { class: "warn", role: "alert" });
    const file = make("input", { type: "file", accept: "image/*", onchange: () => this.open(file.files[0]) });
    this.changed = () => {};
    this.shows = make("select", { onchange: () => { this.choose(this.shows.value); this.changed(); } }, ...SHOWS.map((name) => make("option", {}, name)));
    host.replaceChildren(
      make("div", { class: "controls" }, make("label", {}, "Photo", file), make("button", { type: "button", onclick: () => { sample(this.source); this.read(); } }, "The drawn sample"), make("label", {}, "View", this.shows)),
      this.problem, make("div", { class: "photos" }, this.before, this.after), this.legend, this.terms);
    host.addEventListener("dragover", (event) => event.preventDefault());
    host.addEventListener("drop", (event) => { event.preventDefault(); this.open(event.dataTransfer.files[0]); });
    this.listen();
    sample(this.source);
  }

  /** Draw the response another way; what is no way leaves it as it is. */
  choose(show) {
    if (!SHOWS.includes(show)) return;
    this.show = this.shows.value = show;
    if (this.state) this.update(this.state);
  }

  listen() {
    this.after.addEventListener("pointermove", (event) => {
      const box = this.after.getBoundingClientRect();
      this.go(Math.floor(((event.clientY - box.top) / box.height) * this.after.height), Math.floor(((event.clientX - box.left) / box.width) * this.after.width));
    });
    this.after.addEventListener("keydown", (event) => {
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!move) return;
      event.preventDefault();
      const [row, column] = this.place ?? [0, 0];
      this.go(row + move[0], column + move[1]);
    });
    const again = () => this.state && this.update(this.state);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    new MutationObserver(again).observe(document.documentElement, { attributes: true });
  }

  /** Decode a file, upright, to at most MOST_PX a side. */
  async open(file) {
    if (!file) return;
    try {
      const bitmap = await createImageBitmap(file);
      const shrink = Math.min(1, MOST_PX / Math.max(bitmap.width, bitmap.height));
      this.source.width = Math.max(1, Math.round(bitmap.width * shrink));
      this.source.height = Math.max(1, Math.round(bitmap.height * shrink));
      this.source.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0, this.source.width, this.source.height);
      this.problem.textContent = "";
      this.read();
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.problem.textContent = `${file.name} is not an image that this browser reads.`;
    }
  }

  read() {
    this.place = null;
    this.update(this.state);
  }

  /** Filter by the first filter of `state`, as a bench has it. */
  update(state) {
    this.state = state;
    const { width, height } = this.source;
    const pixels = this.source.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height);
    const map = mapOfPixels(pixels.data, height, width, state.kernel[0].length);
    this.found = respond(map, state);
    [this.before.width, this.before.height] = [width, height];
    this.photo = pixels;
    this.paint();
    this.mark();
  }

  paint() {
    const { response } = this.found;
    const scale = fullScale(response.values), palette = paletteOf(this.after);
    this.picture = new ImageData(response.width, response.height);
    response.values.forEach((value, place) => this.picture.data.set([...colourOf(value, scale, this.show, palette), 255], 4 * place));
    [this.after.width, this.after.height] = [response.width, response.height];
    let [least, most] = [Infinity, -Infinity];
    for (const value of response.values) [least, most] = [Math.min(least, value), Math.max(most, value)];
    const words = {
      signed: `orange above zero, blue below; full colour at ±${figure(scale)} and beyond`,
      absolute: `black is 0, white ${figure(scale)} and beyond; the sign is not shown`,
      clipped: "the values as they are, cut to 0 to 255",
    };
    this.legend.textContent = `${this.source.height}×${this.source.width} → ${response.height}×${response.width}, values ${figure(least)} to ${figure(most)}: ${words[this.show]}.`;
  }

  go(row, column) {
    const { response } = this.found;
    this.place = [Math.min(Math.max(row, 0), response.height - 1), Math.min(Math.max(column, 0), response.width - 1)];
    this.mark();
  }

  /** The window on the photo and its sum, where a place is chosen and no pooling lies between. */
  mark() {
    const [before, after] = [this.before.getContext("2d"), this.after.getContext("2d")];
    before.putImageData(this.photo, 0, 0);
    after.putImageData(this.picture, 0, 0);
    this.terms.replaceChildren();
    if (!this.place) return this.terms.append(make("p", { class: "muted" }, "Point at the output, or move there with the arrow keys, to see the sum behind a pixel."));
    const [row, column] = this.place, { windows, kernel, padded, response } = this.found;
    const accent = getComputedStyle(this.after).getPropertyValue("--accent");
    after.strokeStyle = before.strokeStyle = accent;
    after.strokeRect(column - 1.5, row - 1.5, 4, 4);
    const value = response.values[row * response.width + column];
    const place = `row ${row + 1}, column ${column + 1}: ${figure(value)}`;
    if (this.state.pool !== "none") return this.terms.append(make("p", { class: "total" }, `${place}, after pooling`));
    const [top, left] = [row, column].map((at, axis) => at * windows[axis].stride - windows[axis].before);
    before.strokeRect(left - 0.5, top - 0.5, kernel.width * windows[1].dilation + 1, kernel.height * windows[0].dilation + 1);
    const area = kernel.height * kernel.width;
    const channels = Array.from({ length: kernel.channels }, (_, channel) => windowValues(padded, channel, row, column, windows).map((pixel, tap) => {
      const weight = kernel.values[channel * area + tap];
      return { pixel, weight, product: pixel * weight };
    }));
    const names = channels.length === 3 ? ["red", "green", "blue"] : [""];
    this.terms.append(make("div", { class: "tables" }, ...channels.map((terms, channel) => termsTable(terms, kernel.width, names[channel]))), make("p", { class: "total" }, place));
  }
}
