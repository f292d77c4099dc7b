// Things to move about practice: draws of augmentation, looks at an image, votes, the ladder of freeze depths, a timeline.
import { draw, grouped, slider } from "./controls.js";
import { make } from "./grid.js";

/** An image beside what an augmentation makes of it, draw by draw. */
export class Gallery {
  constructor(host, { original, entries }) {
    this.entries = entries;
    this.name = Object.keys(entries)[0];
    this.number = 0;
    this.image = make("img", { alt: "" });
    this.words = make("p", { class: "key", role: "status" });
    const choice = make("select", { "aria-label": "Augmentation", onchange: (event) => { this.name = event.target.value; this.update(); } }, ...Object.keys(entries).map((name) => make("option", {}, name)));
    host.replaceChildren(
      make("div", { class: "controls" }, make("label", {}, "Augmentation", choice)),
      make("div", { class: "sliders" }, slider("draw", [1, entries[this.name].length, 1], (value) => { this.number = value - 1; this.update(); })),
      make("div", { class: "pair" }, make("figure", {}, make("img", { src: original, alt: "The photograph as evaluation sees it" }), make("figcaption", {}, "as evaluation sees it")), make("figure", {}, this.image, this.words)));
    this.update();
  }

  update() {
    const drawn = this.entries[this.name][this.number];
    this.image.src = drawn.image;
    this.image.alt = `Drawn: ${drawn.words}`;
    this.words.textContent = `drawn: ${drawn.words}`;
  }
}

/** The frame of a look on the photo, and what the network gets. */
export class Crops {
  constructor(host, settings) {
    this.settings = settings;
    this.stage = make("div", { class: "framed" });
    this.view = make("img", { alt: "" });
    this.words = make("p", { class: "key", role: "status" });
    host.replaceChildren(
      make("div", { class: "sliders" }, slider("look", [1, settings.looks.length, 1], (value) => this.update(value - 1))),
      make("div", { class: "pair" }, this.stage, make("figure", {}, this.view, this.words)));
    this.update(0);
  }

  update(number) {
    const { photo, width, height, side, looks } = this.settings;
    const { image, top, left, mirrored } = looks[number];
    const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, width: 2 * width, height: 2 * height, role: "img", "aria-label": `Look ${number + 1} at row ${top}, column ${left}` });
    picture.append(draw("image", { href: photo, width, height }), draw("rect", { x: left + 1, y: top + 1, width: side - 2, height: side - 2, class: "frame" }));
    this.stage.replaceChildren(picture);
    this.view.src = image;
    this.view.alt = `What the network gets from look ${number + 1}`;
    this.words.textContent = `${number + 1} of ${looks.length}: ${side}×${side} at row ${top}, column ${left}${mirrored ? ", mirrored" : ""}`;
  }
}

/** Probabilities of two classes by several members, and their mean. */
export class Votes {
  constructor(host, { start }) {
    this.says = [...start];
    this.words = make("p", { class: "total", role: "status" });
    const sliders = start.map((value, number) => slider(`network ${number + 1} says cat`, [0, 100, value], (said) => { this.says[number] = said; this.update(); }, { words: (said) => `${said} %` }));
    host.replaceChildren(make("div", { class: "sliders" }, ...sliders), this.words);
    this.update();
  }

  update() {
    const mean = meanOf(this.says);
    const cats = this.says.filter((said) => said > 50).length;
    this.words.textContent = `(${this.says.join(" + ")}) / ${this.says.length} = ${mean.toFixed(1)} % cat, so ${mean > 50 ? "cat" : "dog"}; by counting votes ${cats * 2 > this.says.length ? "cat" : "dog"} (${cats} of ${this.says.length})`;
  }
}

export function meanOf(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

const BOX = { width: 92, height: 48, gap: 8 };

/** The parts of a network with the cut between frozen and trained, and what was measured there. */
export class Ladder {
  constructor(host, settings) {
    this.settings = settings;
    const { rungs, chosen } = settings;
    this.picture = make("div", { class: "strip-host", tabindex: "0", role: "group", "aria-label": "Drawing" });
    this.words = make("div", { role: "status" });
    const start = Math.max(0, rungs.findIndex(({ depth }) => depth === chosen));
    host.replaceChildren(
      make("div", { class: "sliders" }, slider("frozen up to", [0, rungs.length - 1, start], (number) => this.update(number), { words: (number) => rungs[number].depth })),
      this.picture, this.words);
    this.update(start);
  }

  update(number) {
    const { rungs, parts, chosen } = this.settings;
    const rung = rungs[number];
    const cut = rung.depth === "all" ? parts.length - 1 : parts.indexOf(rung.depth) + 1;
    const width = parts.length * (BOX.width + BOX.gap);
    const picture = draw("svg", { viewBox: `0 0 ${width} ${BOX.height}`, width, height: BOX.height, role: "img", "aria-label": `${cut} of ${parts.length} parts are frozen` });
    parts.forEach((part, place) => {
      const x = place * (BOX.width + BOX.gap) + 1, isFrozen = place < cut;
      picture.append(draw("rect", { x, y: 1, width: BOX.width, height: BOX.height - 2, rx: 4, class: isFrozen ? "block pooling" : "block vector" }));
      picture.append(draw("text", { x: x + BOX.width / 2, y: 20, "text-anchor": "middle", class: isFrozen ? "digit used" : "digit on" }, part));
      picture.append(draw("text", { x: x + BOX.width / 2, y: 37, "text-anchor": "middle", class: isFrozen ? "digit used" : "digit on" }, isFrozen ? "frozen" : "trained"));
    });
    this.picture.replaceChildren(picture);
    const fill = make("i", {});
    fill.style.width = `${rung.accuracy}%`;
    this.words.replaceChildren(make("div", { class: "counted" },
      make("strong", {}, `${rung.accuracy.toFixed(1)} %`),
      make("span", {}, `of ${grouped(rung.judged)} images left out (${rung.low.toFixed(1)} to ${rung.high.toFixed(1)}); ${grouped(rung.parameters)} parameters trained in ${rung.seconds.toFixed(0)} s${rung.depth === chosen ? "; chosen: freezing less is not better beyond chance" : ""}`),
      make("div", { class: "track-bar" }, fill)));
  }
}

const LINE = { height: 28, left: 96, top: 22 };

/** When each step waited for its batch and when it trained; above it, one work after the other. */
export class Timeline {
  constructor(host, settings) {
    this.settings = settings;
    this.picture = make("div", { class: "strip-host", tabindex: "0", role: "group", "aria-label": "Timeline" });
    this.words = make("p", { class: "total", role: "status" });
    host.replaceChildren(this.picture, make("div", { class: "sliders" }, slider("batch", [1, settings.turns.length, 1], (number) => this.update(number - 1))), this.words);
    this.update(0);
  }

  update(chosen) {
    const { turns, loading, training } = this.settings;
    const width = Math.max(this.picture.clientWidth || 900, 320), longest = Math.max(loading + training, turns.at(-1)[2]);
    const place = (seconds) => LINE.left + (seconds / longest) * (width - LINE.left - 4);
    const picture = draw("svg", { viewBox: `0 0 ${width} ${3 * LINE.height + LINE.top}`, width, height: 3 * LINE.height + LINE.top, role: "img", "aria-label": `Together ${turns.at(-1)[2].toFixed(2)} s, one after the other ${(loading + training).toFixed(2)} s` });
    const bar = (row, from, to, kind) => picture.append(draw("rect", { x: place(from), y: row * LINE.height + 3, width: Math.max(place(to) - place(from), 0.5), height: LINE.height - 8, class: kind }));
    ["in turn", "together"].forEach((name, row) => picture.append(draw("text", { x: 0, y: row * LINE.height + 18, class: "digit used" }, name)));
    bar(0, 0, loading, "work loads");
    bar(0, loading, loading + training, "work trains");
    turns.forEach(([asked, came, done], number) => {
      bar(1, asked, came, "work waits");
      bar(1, came, done, number === chosen ? "work trains chosen" : "work trains");
    });
    picture.append(draw("line", { x1: LINE.left, x2: width, y1: 2 * LINE.height + 4, y2: 2 * LINE.height + 4, class: "axis" }));
    for (const [share, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) picture.append(draw("text", { x: place(share * longest), y: 2 * LINE.height + 22, "text-anchor": anchor, class: "digit used" }, `${(share * longest).toFixed(2)} s`));
    this.picture.replaceChildren(picture);
    const [asked, came, done] = turns[chosen].map((seconds) => 1000 * seconds);
    this.words.textContent = `batch ${chosen + 1}: waited ${(came - asked).toFixed(1)} ms, trained ${(done - came).toFixed(1)} ms`;
  }
}
