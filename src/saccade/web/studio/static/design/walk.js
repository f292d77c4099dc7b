// One image through every layer: what each makes of it, strongest maps first. A walk is asked for once a person wants
// one, and again for every network that follows; its layer is the one that the whole page has chosen.

const BUILT_IN = "built-in";

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function part(name) {
  return document.getElementById(name);
}

async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

export class Walk {
  // `choose(place)` chooses a layer of the page; `changed()` is told when a walk begins.
  constructor(isOn, choose, changed) {
    this.photo = isOn ? BUILT_IN : null;
    this.choose = choose;
    this.changed = changed;
    this.found = null;
    this.asking = null;
    this.place = 0;
  }

  get isOn() {
    return this.photo !== null;
  }

  // After the page has another network, that of `query`.
  start(query) {
    this.query = query;
    this.found = null;
    part("walk-built-in").addEventListener("click", () => this.take(BUILT_IN));
    part("walk-file").addEventListener("change", (event) => this.take(event.target.files[0]));
    const panel = part("walk");
    panel.addEventListener("dragover", (event) => event.preventDefault());
    panel.addEventListener("drop", (event) => {
      event.preventDefault();
      this.take(event.dataTransfer.files[0]);
    });
    const strip = part("strip");
    strip.addEventListener("click", (event) => {
      const tile = event.target.closest("[data-place]");
      if (tile) this.choose(Number(tile.dataset.place));
    });
    strip.addEventListener("keydown", (event) => {
      const last = this.found ? this.found.layers.length - 1 : 0;
      const to = { ArrowRight: this.place + 1, ArrowLeft: this.place - 1, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.choose(Math.min(Math.max(to, 0), last));
    });
    this.ask();
  }

  take(photo) {
    if (!photo) return;
    this.photo = photo;
    this.changed();
    this.ask();
  }

  async ask() {
    this.asking?.abort();
    if (!this.isOn) return;
    this.asking = new AbortController();
    const query = new URLSearchParams(this.query);
    if (this.photo === BUILT_IN) query.set("photo", BUILT_IN);
    const told = part("walk-told");
    told.className = "muted";
    told.textContent = "The image walks through.";
    let answer, said;
    try {
      const body = this.photo === BUILT_IN ? "" : this.photo;
      answer = await fetch(`/api/design/walk?${query}`, { method: "POST", body, headers: { "Content-Type": "application/octet-stream" }, signal: this.asking.signal });
      said = await answer.json();
    } catch (error) {
      if (error.name === "AbortError") return; // a later one is on its way
      told.textContent = "The studio does not answer. Is it still running?";
      return;
    }
    if (!answer.ok) {
      told.className = "warn";
      told.textContent = `${said.error.message} ${said.error.hint}`.trim();
      part("walked").hidden = true;
      return;
    }
    this.found = said;
    told.textContent = `${this.photo === BUILT_IN ? "A flower, a photo that scikit-learn brings along (CC BY 2.0)" : this.photo.name}. ${said.weights}`;
    part("walk-seen").src = said.seen;
    part("field-photo").setAttribute("href", said.seen);
    part("walked").hidden = false;
    await this.drawStrip();
    this.show(this.place);
  }

  async drawStrip() {
    const found = this.found, size = found.tile_px;
    const sheet = await loaded(`/design/walks/${found.id}/picture`);
    if (found !== this.found) return;
    part("strip").replaceChildren(...found.layers.map((layer, place) => {
      const canvas = make("canvas", { width: size, height: size, "aria-hidden": "true" });
      const [row, column] = [Math.floor(place / found.tiles_a_row), place % found.tiles_a_row];
      canvas.getContext("2d").drawImage(sheet, column * size, row * size, size, size, 0, 0, size, size);
      const name = make("span", {}, layer.name.split(".").at(-1));
      return make("div", { role: "option", id: `tile-${place}`, "data-place": place, "aria-selected": "false", "aria-label": layer.name, title: `${layer.name}: ${layer.kind}` }, canvas, name);
    }));
  }

  // The maps of one layer.
  async show(place) {
    this.place = place;
    const found = this.found, layer = found?.layers[place];
    if (!layer) return;
    const strip = part("strip");
    for (const tile of strip.querySelectorAll("[aria-selected=true]")) tile.setAttribute("aria-selected", "false");
    const tile = part(`tile-${place}`);
    tile?.setAttribute("aria-selected", "true");
    strip.setAttribute("aria-activedescendant", `tile-${place}`);
    if (tile) strip.scrollLeft = tile.offsetLeft - (strip.clientWidth - tile.clientWidth) / 2;
    part("walk-name").textContent = `${layer.name}: ${layer.kind}`;
    part("walk-words").textContent = layer.words;
    part("walk-legend").textContent = layer.legend + (layer.is_vector ? "" : " The number below a map is its mean magnitude.");
    const sheet = await loaded(`/design/walks/${found.id}/${place}/picture`);
    if (found !== this.found || place !== this.place) return;
    const [height, width] = layer.size;
    part("maps").replaceChildren(...layer.channels.map((channel, number) => {
      const canvas = make("canvas", { width, height, role: "img", "aria-label": layer.is_vector ? `The values of ${layer.name}` : `Channel ${channel} of ${layer.name}` });
      canvas.getContext("2d").drawImage(sheet, 0, number * height, width, height, 0, 0, width, height);
      const words = layer.is_vector ? "" : `${channel} · ${layer.strengths[number]}`;
      return make("li", {}, canvas, make("small", {}, words));
    }));
    part("largest").replaceChildren(...layer.largest.map(({ name, value }) => make("li", {}, make("span", {}, name), make("b", {}, value))));
    part("largest").hidden = !layer.largest.length;
  }
}
