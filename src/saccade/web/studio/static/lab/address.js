// The state of the bench as the fragment of the address: a reload, a bookmark and a link show the same image, kernel and
// options. Only what differs from the usual state is written. What a link says is checked before it is believed.

const SIDES = [1, 2, 3, 5, 7], MOST_SIDE = 16;
const CHOICES = {
  operation: ["cross-correlation", "true convolution"],
  mode: ["zero", "reflect", "replicate"],
  pool: ["none", "max 2x2", "average 2x2", "max 3x3, stride 2"],
};
const WHOLE = { padding: [0, 3], stride: [1, 4], dilation: [1, 3] };
const SWITCHES = ["relu", "compare"];
const BETWEEN = [",", "_", ";", "!"]; // numbers, rows, channels, filters

/** The fragment that stands for `state`, the window at `place`. */
export function written(state, place, usual) {
  const parts = [];
  const add = (name, text) => parts.push(`${name}=${text}`);
  for (const name of ["image", "kernel"]) if (differ(state[name], usual[name])) add(name, joined(state[name], name === "image" ? 2 : 3));
  for (const name of Object.keys(CHOICES)) if (state[name] !== usual[name]) add(name, CHOICES[name].indexOf(state[name]));
  for (const name of Object.keys(WHOLE)) if (state[name] !== usual[name]) add(name, state[name]);
  for (const name of SWITCHES) if (Boolean(state[name]) !== Boolean(usual[name])) add(name, Number(Boolean(state[name])));
  if (state.bias?.some(Boolean)) add("bias", state.bias.join(","));
  if (place.some(Boolean)) add("at", place.join(","));
  return parts.join("&");
}

/** { state, place } of a fragment; null where it does not say what a bench can hold. */
export function read(fragment, usual) {
  const state = structuredClone(usual);
  let place = [0, 0];
  for (const part of fragment.split("&").filter(Boolean)) {
    const [name, text = ""] = part.split("=");
    if (name === "image" || name === "kernel") state[name] = nested(text, name === "image" ? 2 : 3);
    else if (name in CHOICES) state[name] = CHOICES[name][Number(text)];
    else if (name in WHOLE) state[name] = Number(text);
    else if (SWITCHES.includes(name)) state[name] = text === "1";
    else if (name === "bias") state.bias = text.split(",").map(Number);
    else if (name === "at") place = text.split(",").map(Number);
    else if (name !== "view") return null;
  }
  return fits(state) && place.length === 2 && place.every((at) => Number.isInteger(at) && at >= 0) ? { state, place } : null;
}

function differ(one, other) {
  return JSON.stringify(one) !== JSON.stringify(other);
}

function joined(values, depth) {
  return depth < 0 ? String(values) : values.map((each) => joined(each, depth - 1)).join(BETWEEN[depth]);
}

function nested(text, depth) {
  return depth < 0 ? (text === "" ? NaN : Number(text)) : text.split(BETWEEN[depth]).map((each) => nested(each, depth - 1));
}

function fits(state) {
  const { image, kernel } = state;
  const [height, width] = [image[0].length, image[0][0].length];
  const side = kernel[0][0].length;
  return [1, 3].includes(image.length) && Math.max(height, width) <= MOST_SIDE
    && [1, 2].includes(kernel.length) && SIDES.includes(side)
    && image.every((rows) => isGrid(rows, height, width))
    && kernel.every((filter) => filter.length === image.length && filter.every((rows) => isGrid(rows, side, side)))
    && Object.keys(CHOICES).every((name) => CHOICES[name].includes(state[name]))
    && Object.entries(WHOLE).every(([name, [least, most]]) => Number.isInteger(state[name]) && state[name] >= least && state[name] <= most)
    && (state.bias === null || (state.bias.length === kernel.length && state.bias.every(Number.isFinite)));
}

function isGrid(rows, height, width) {
  return rows.length === height && rows.every((values) => values.length === width && values.every(Number.isFinite));
}
