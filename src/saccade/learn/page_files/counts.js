// Two calculators: the width of a bottleneck, and what the losses of side branches weigh.
import { grouped, slider } from "./controls.js";
import { make } from "./grid.js";

/** Multiplications of a large filter, alone and behind a 1x1 bottleneck of `width` channels. */
export function countBottleneck({ side, channels, filters, kernel, width }) {
  const area = side * side;
  return { naive: area * filters * kernel * kernel * channels, reduced: area * width * channels, behind: area * filters * kernel * kernel * width };
}

export class Bottleneck {
  constructor(host, settings) {
    this.state = { ...settings };
    this.words = make("div", { role: "status" });
    host.replaceChildren(
      make("div", { class: "sliders" }, slider("width of the bottleneck", [1, settings.channels, settings.width], (width) => { this.state.width = width; this.update(); }, { words: (value) => `${value} of ${settings.channels} channels` })),
      this.words);
    this.update();
  }

  update() {
    const { naive, reduced, behind } = countBottleneck(this.state);
    const most = Math.max(naive, reduced + behind);
    const share = (reduced + behind) / naive;
    this.words.replaceChildren(
      barOf("without", naive, most), barOf(`bottleneck of ${this.state.width}, then the filter`, reduced + behind, most),
      make("p", { class: "total" }, `${grouped(reduced)} + ${grouped(behind)} = ${grouped(reduced + behind)}, ${share.toFixed(3)} of the work`));
  }
}

function barOf(name, value, most) {
  const fill = make("i", {});
  fill.style.width = `${(100 * value) / most}%`;
  return make("div", { class: "counted" }, make("strong", {}, grouped(value)), make("span", {}, name), make("div", { class: "track-bar" }, fill));
}

/** The loss of training with side branches: main + weight * each other. */
export function totalLoss(losses, weight) {
  return losses.reduce((sum, loss, number) => sum + (number ? weight : 1) * loss, 0);
}

export class Losses {
  constructor(host, settings) {
    this.names = settings.names;
    this.weight = settings.weight;
    this.losses = settings.names.map((_, number) => 1 + number / 2);
    this.words = make("div", { role: "status" });
    const words = (value) => value.toFixed(2);
    const sliders = this.names.map((name, number) => slider(number ? `loss behind ${name}` : "main loss", [0, 5, this.losses[number]], (value) => { this.losses[number] = value; this.update(); }, { step: 0.05, words }));
    sliders.push(slider("weight", [0, 1, this.weight], (value) => { this.weight = value; this.update(); }, { step: 0.05, words }));
    host.replaceChildren(make("div", { class: "sliders" }, ...sliders), this.words);
    this.update();
  }

  update() {
    const total = totalLoss(this.losses, this.weight);
    const terms = this.losses.map((loss, number) => (number ? `${this.weight.toFixed(2)} · ${loss.toFixed(2)}` : loss.toFixed(2)));
    const rows = this.losses.map((loss, number) => {
      const part = (number ? this.weight : 1) * loss;
      const fill = make("i", {});
      fill.style.width = `${total ? (100 * part) / total : 0}%`;
      return make("div", { class: "counted" }, make("strong", {}, `${total ? ((100 * part) / total).toFixed(0) : 0} %`), make("span", {}, number ? `behind ${this.names[number]}` : "main"), make("div", { class: "track-bar" }, fill));
    });
    this.words.replaceChildren(make("p", { class: "total" }, `${terms.join(" + ")} = ${total.toFixed(2)}`), ...rows);
  }
}
