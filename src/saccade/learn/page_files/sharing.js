// What sharing saves: the parameters of a dense layer and of a convolution on the same image.
import { grouped, slider } from "./controls.js";
import { make } from "./grid.js";

/** Weights of a dense layer (without biases) and parameters of a convolution, both to the same output. */
export function countBoth({ side, channels, f, filters }) {
  const out = side - f + 1;
  return { out, dense: side * side * channels * out * out * filters, convolution: (f * f * channels + 1) * filters };
}

export class Sharing {
  constructor(host, settings) {
    this.state = { ...settings.state };
    this.words = make("div", { role: "status" });
    const names = { side: "image side", channels: "image channels", f: "filter f", filters: "filters" };
    const sliders = Object.keys(names).map((key) => slider(names[key], [...settings.limits[key], this.state[key]], (value) => { this.state[key] = value; this.update(); }));
    host.replaceChildren(make("div", { class: "sliders" }, ...sliders), this.words);
    this.update();
  }

  update() {
    const { side, channels, f, filters } = this.state;
    const { out, dense, convolution } = countBoth(this.state);
    const longest = Math.log10(dense);
    const bar = (name, value, formula) => {
      const fill = make("i", {});
      fill.style.width = `${(100 * Math.log10(value)) / longest}%`;
      return make("div", { class: "counted" }, make("strong", {}, grouped(value)), make("span", {}, `${name}: ${formula}`), make("div", { class: "track-bar" }, fill));
    };
    this.words.replaceChildren(
      bar("dense", dense, `${side}·${side}·${channels} inputs times ${out}·${out}·${filters} units`),
      bar("convolution", convolution, `(${f}·${f}·${channels} + 1)·${filters}, whatever the image size`),
      make("p", { class: "total" }, `${side}×${side}×${channels} → ${out}×${out}×${filters}: ${grouped(dense / convolution)} times fewer. The bars are logarithmic.`));
  }
}
