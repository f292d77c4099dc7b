// Convolution and pooling in the browser, in the numbers of saccade.conv: float64, tap by tap, the same sums in the
// same order. A map is {channels, height, width, values}, a kernel {filters, channels, height, width, values}, both
// with a Float64Array in the order of reading; a window is along one axis.

/** A sliding window on one axis, as saccade.conv.geometry.Window has it. */
export function makeWindow(kernel, { stride = 1, before = 0, after = before, dilation = 1 } = {}) {
  for (const [name, value] of Object.entries({ kernel, stride, dilation }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`The ${name} of a window must be at least 1, got ${value}.`);
  if (!(before >= 0 && after >= 0)) throw new RangeError(`The padding of a window must not be negative.`);
  return { kernel, stride, before, after, dilation };
}

/** Positions from the first tap to the last. */
export function extentOf(window) {
  return window.dilation * (window.kernel - 1) + 1;
}

/** How many windows fit on `size` positions: floor((n + 2p - f)/s) + 1. Below 1: it does not fit. */
export function outputSize(size, window) {
  return Math.floor((size + window.before + window.after - extentOf(window)) / window.stride) + 1;
}

/** The same with its numbers: `floor((7 + 0 - 3)/2) + 1 = 3`. */
export function sizeFormula(size, window) {
  const padding = window.before + window.after;
  return `floor((${size} + ${padding} - ${extentOf(window)})/${window.stride}) + 1 = ${outputSize(size, window)}`;
}

/** Padding [before, after] that keeps the size at stride 1; an even kernel needs one more after than before. */
export function samePadding(kernel, dilation = 1) {
  const total = dilation * (kernel - 1);
  return [Math.floor(total / 2), total - Math.floor(total / 2)];
}

/** How many windows use each input position. */
export function coverage(size, window) {
  const counts = new Array(size).fill(0);
  for (let place = 0; place < outputSize(size, window); place++)
    for (let tap = 0; tap < window.kernel; tap++) {
      const position = place * window.stride - window.before + tap * window.dilation;
      if (position >= 0 && position < size) counts[position]++;
    }
  return counts;
}

export function makeMap(channels, height, width, values = new Float64Array(channels * height * width)) {
  if (values.length !== channels * height * width)
    throw new RangeError(`A map of ${channels}x${height}x${width} needs as many values, got ${values.length}.`);
  return { channels, height, width, values: Float64Array.from(values) };
}

/** A map of one channel from rows of numbers. */
export function mapOfRows(rows) {
  return makeMap(1, rows.length, rows[0].length, rows.flat());
}

/** The rows of one channel. */
export function rowsOf(map, channel = 0) {
  return Array.from({ length: map.height }, (_, row) =>
    Array.from({ length: map.width }, (_, column) => valueAt(map, channel, row, column)));
}

export function valueAt(map, channel, row, column) {
  return map.values[(channel * map.height + row) * map.width + column];
}

/** A kernel {filters, channels, height, width, values} from its numbers in the order of reading. */
export function makeKernel(filters, channels, height, width, values) {
  if (values.length !== filters * channels * height * width)
    throw new RangeError(`A kernel of ${filters}x${channels}x${height}x${width} needs as many numbers.`);
  return { filters, channels, height, width, values: Float64Array.from(values) };
}

/** One filter of one channel from rows of numbers. */
export function kernelOfRows(rows) {
  return makeKernel(1, 1, rows.length, rows[0].length, rows.flat());
}

/** The kernel turned upside down and left to right. */
export function flip(kernel) {
  const area = kernel.height * kernel.width;
  const values = kernel.values.map((_, index, all) => {
    const first = Math.floor(index / area) * area;
    return all[first + (area - 1 - (index - first))];
  });
  return { ...kernel, values };
}

/** The map with its padding, filled with `mode`: zero, reflect, replicate, or a number (-Infinity for a maximum). */
export function pad(map, windows, mode) {
  const height = map.height + windows[0].before + windows[0].after;
  const width = map.width + windows[1].before + windows[1].after;
  if (mode === "reflect") requireRoom(map, windows);
  const padded = makeMap(map.channels, height, width);
  let index = 0;
  for (let channel = 0; channel < map.channels; channel++)
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++)
        padded.values[index++] = paddedValue(map, channel, row - windows[0].before, column - windows[1].before, mode);
  return padded;
}

function requireRoom(map, windows) {
  for (const [axis, size, window] of [["rows", map.height, windows[0]], ["columns", map.width, windows[1]]]) {
    const padding = Math.max(window.before, window.after);
    if (padding >= size)
      throw new RangeError(`Reflecting needs more ${axis} than padding, got ${size} ${axis} and padding ${padding}.`);
  }
}

function paddedValue(map, channel, row, column, mode) {
  const inside = row >= 0 && row < map.height && column >= 0 && column < map.width;
  if (!inside && mode === "zero") return 0;
  if (!inside && typeof mode === "number") return mode;
  const place = mode === "reflect" ? reflected : clamped;
  return valueAt(map, channel, place(row, map.height), place(column, map.width));
}

function reflected(position, size) {
  return position < 0 ? -position : position >= size ? 2 * (size - 1) - position : position;
}

function clamped(position, size) {
  return Math.min(Math.max(position, 0), size - 1);
}

/** What networks call convolution: each output is the sum of kernel times the padded map under it, plus its bias. */
export function crossCorrelate(map, kernel, windows, { mode = "zero", bias = null } = {}) {
  if (kernel.channels !== map.channels)
    throw new RangeError(`Filter channels must equal image channels: ${kernel.channels} for ${map.channels}.`);
  const [height, width] = sizesOf(map, windows);
  const padded = pad(map, windows, mode);
  const output = makeMap(kernel.filters, height, width);
  for (let row = 0; row < kernel.height; row++)
    for (let column = 0; column < kernel.width; column++)
      addTap(output, padded, kernel, windows, row, column);
  if (bias) addBias(output, bias);
  return output;
}

/** One tap of the kernel: for every output, the sum over the channels of tap times map. */
function addTap(output, padded, kernel, windows, row, column) {
  const area = output.height * output.width;
  for (let filter = 0; filter < kernel.filters; filter++)
    for (let place = 0; place < area; place++) {
      const top = Math.floor(place / output.width) * windows[0].stride + row * windows[0].dilation;
      const left = (place % output.width) * windows[1].stride + column * windows[1].dilation;
      let sum = 0;
      for (let channel = 0; channel < kernel.channels; channel++) {
        const weight = kernel.values[((filter * kernel.channels + channel) * kernel.height + row) * kernel.width + column];
        sum += weight * valueAt(padded, channel, top, left);
      }
      output.values[filter * area + place] += sum;
    }
}

function addBias(output, bias) {
  const area = output.height * output.width;
  output.values.forEach((value, index) => { output.values[index] = value + bias[Math.floor(index / area)]; });
}

/** True convolution: the kernel is flipped in both directions, then cross-correlated. */
export function convolve(map, kernel, windows, options) {
  return crossCorrelate(map, flip(kernel), windows, options);
}

export function relu(map) {
  return { ...map, values: map.values.map((value) => Math.max(value, 0)) };
}

/** The largest value under each window; padding counts as minus infinity, so it never wins. */
export function maxPool(map, windows) {
  return pooled(map, windows, -Infinity, (seen) => Math.max(...seen));
}

/** The mean under each window; padding counts as zeros where `countPadding` (torch's default), else not at all. */
export function averagePool(map, windows, countPadding = true) {
  return pooled(map, windows, countPadding ? 0 : NaN, (seen) => {
    const counted = seen.filter((value) => !Number.isNaN(value));
    return counted.reduce((sum, value) => sum + value, 0) / counted.length;
  });
}

function pooled(map, windows, fill, reduce) {
  const [height, width] = sizesOf(map, windows);
  const padded = pad(map, windows, fill);
  const output = makeMap(map.channels, height, width);
  let index = 0;
  for (let channel = 0; channel < map.channels; channel++)
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++)
        output.values[index++] = reduce(windowValues(padded, channel, row, column, windows));
  return output;
}

/** What the window at output (row, column) sees of one channel of a padded map, in the order of reading. */
export function windowValues(padded, channel, row, column, windows) {
  const seen = [];
  for (let down = 0; down < windows[0].kernel; down++)
    for (let right = 0; right < windows[1].kernel; right++)
      seen.push(valueAt(
        padded, channel,
        row * windows[0].stride + down * windows[0].dilation,
        column * windows[1].stride + right * windows[1].dilation,
      ));
  return seen;
}

function sizesOf(map, windows) {
  const sizes = [outputSize(map.height, windows[0]), outputSize(map.width, windows[1])];
  for (const [axis, size, input, window] of [
    ["height", sizes[0], map.height, windows[0]], ["width", sizes[1], map.width, windows[1]],
  ])
    if (size < 1) throw new RangeError(`The window does not fit on the ${axis}: ${sizeFormula(input, window)}.`);
  return sizes;
}
