// A walk through a network: its layers as blocks, one of them chosen, with how its size and its parameters come about.
import { draw, grouped, slider } from "./controls.js";
import { make } from "./grid.js";

const HEIGHT = 180, BOTTOM = 22, GAPS = [6, 56];

/** Height and width of a block in pixels: the side of the map by its square root, the channels by their logarithm. */
function blockSize({ output }, largest) {
  const [channels, side] = output.length === 3 ? [output[0], Math.max(output[1], output[2])] : [1, 0];
  if (!side) return { height: 18 + 10 * Math.log2(output[0]), width: 10 };
  return { height: Math.max(6, HEIGHT * Math.sqrt(side / largest)), width: 8 + 5 * Math.log2(channels + 1) };
}

export class Walker {
  constructor(host, settings) {
    this.layers = settings.layers;
    this.chosen = 0;
    this.picture = make("div", { class: "strip-host", tabindex: "0", role: "group", "aria-label": "Drawing" });
    this.words = make("div", { class: "layer-words", role: "status" });
    this.bars = make("div", { class: "bars" });
    this.slider = make("input", { type: "range", min: 0, max: this.layers.length - 1, value: 0, "aria-label": "Layer", oninput: () => this.go(Number(this.slider.value)) });
    const stepper = make("div", { class: "stepper" },
      make("button", { type: "button", onclick: () => this.go(this.chosen - 1) }, "Previous"),
      make("button", { type: "button", onclick: () => this.go(this.chosen + 1) }, "Next"), this.slider);
    host.replaceChildren(this.picture, stepper, this.words, this.bars);
    this.go(1);
  }

  go(number) {
    this.chosen = Math.min(Math.max(number, 0), this.layers.length - 1);
    this.slider.value = this.chosen;
    this.slider.setAttribute("aria-valuetext", this.layers[this.chosen].name);
    this.picture.replaceChildren(this.blocks());
    this.tell();
    this.compare();
  }

  blocks() {
    const largest = Math.max(...this.layers.flatMap(({ output }) => (output.length === 3 ? output.slice(1) : [])));
    const sizes = this.layers.map((layer) => blockSize(layer, largest));
    const room = (this.picture.clientWidth || 900) - sizes.reduce((sum, size) => sum + size.width, 6);
    const gap = Math.min(Math.max(room / sizes.length, GAPS[0]), GAPS[1]);
    let x = 2;
    const places = sizes.map((size) => {
      const place = { x, ...size };
      x += size.width + gap;
      return place;
    });
    const picture = draw("svg", { viewBox: `0 0 ${x} ${HEIGHT + BOTTOM}`, width: x, height: HEIGHT + BOTTOM, class: "blocks", role: "img", "aria-label": `${this.layers.length} layers; ${this.layers[this.chosen].name} is chosen` });
    places.forEach((place, number) => {
      const y = (HEIGHT - place.height) / 2 + 1;
      const kind = this.layers[number].kind.includes("pool") ? "pooling" : this.layers[number].output.length === 3 ? "map" : "vector";
      const block = draw("rect", { x: place.x, y, width: place.width, height: place.height, rx: 2, class: `block ${kind}${number === this.chosen ? " chosen" : ""}` });
      block.addEventListener("click", () => this.go(number));
      if (number) {
        const before = places[number - 1];
        picture.append(draw("line", { x1: before.x + before.width, x2: place.x, y1: HEIGHT / 2 + 1, y2: HEIGHT / 2 + 1, class: "axis" }));
      }
      picture.append(block);
    });
    const { x: left, width } = places[this.chosen];
    picture.append(draw("text", { x: Math.min(Math.max(left + width / 2, 40), x - 40), y: HEIGHT + BOTTOM - 4, "text-anchor": "middle", class: "digit used" }, this.layers[this.chosen].shape));
    return picture;
  }

  tell() {
    const layer = this.layers[this.chosen];
    this.words.replaceChildren(make("h4", {}, `${this.chosen + 1}. ${layer.name}: ${layer.kind}`), ...layer.words.map((line) => make("p", { class: "total" }, line)));
  }

  /** Two rows of bars: how many numbers each layer leaves, how many parameters it has. */
  compare() {
    const row = (title, key) => {
      const most = Math.max(1, ...this.layers.map((layer) => layer[key]));
      const bars = this.layers.map((layer, number) => {
        const bar = make("i", { class: number === this.chosen ? "chosen" : "", title: `${layer.name}: ${grouped(layer[key])}` });
        bar.style.height = `${layer[key] ? Math.max(2, (100 * layer[key]) / most) : 0}%`;
        return bar;
      });
      return make("figure", {}, make("figcaption", {}, `${title}: ${grouped(this.layers[this.chosen][key])}`), make("div", { class: "columns" }, ...bars));
    };
    this.bars.replaceChildren(row("Activations", "activations"), row("Parameters", "parameters"), row("Multiply-adds", "multiply_adds"));
  }
}
