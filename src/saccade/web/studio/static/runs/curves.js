// The curves of a run: the scale of the loss, what runs along the x axis, smoothing, and a stretch that is chosen by
// dragging. The studio draws them, with the extremes of what is in view; the address holds how.

import { offerSaving } from "../drawing.js";

const PAUSE_MS = 120;
const LEAST_DRAG = 4; // units of the drawing
const SVG = "http://www.w3.org/2000/svg";

export class Curves {
  constructor(root, run) {
    this.root = root;
    this.run = run;
    this.tools = document.getElementById("curve-tools");
    this.hint = document.querySelector(".curve-hint");
    this.asked = 0;
    if (this.tools) this.startTools();
    this.startDragging();
  }

  field(name) {
    return this.tools.querySelector(`[name=${name}]`);
  }

  get isZoomed() {
    return Boolean(this.tools) && this.field("from").value !== "" && this.field("to").value !== "";
  }

  // How the curves are wanted, as the address has it.
  query() {
    const query = new URLSearchParams();
    if (!this.tools) return query;
    const add = (name, value, usual) => value && value !== usual && query.set(name, value);
    add("scale", this.tools.querySelector("[data-scale][aria-pressed=true]").dataset.scale, "");
    add("by", this.field("by").value, "epoch");
    add("smooth", this.field("smooth").value, "0");
    if (this.isZoomed) for (const name of ["from", "to"]) query.set(name, this.field(name).value);
    return query;
  }

  async renew() {
    const number = ++this.asked;
    const response = await fetch(`/runs/${this.run}/parts/curves?${this.query()}`);
    if (!response.ok || number !== this.asked) return;
    const text = await response.text();
    if (number !== this.asked) return; // a later one is on its way
    const open = [...this.root.querySelectorAll("details")].map((part) => part.open);
    delete this.root.dataset.pending;
    this.root.innerHTML = text;
    offerSaving(this.root);
    this.root.querySelectorAll("details").forEach((part, place) => (part.open = open[place] ?? false));
  }

  // More epochs are done: a stretch that is looked at stays where it is.
  grow() {
    if (!this.isZoomed) return this.renew();
    this.hint.querySelector("[data-newer]").hidden = false;
  }

  change() {
    const address = new URL(location.href);
    for (const name of ["scale", "by", "smooth", "from", "to"]) address.searchParams.delete(name);
    for (const [name, value] of this.query()) address.searchParams.set(name, value);
    history.replaceState(null, "", address);
    this.tools.querySelector("[data-all]").hidden = !this.isZoomed;
    this.tools.querySelector("[data-unit]").textContent = this.field("by").value === "time" ? "s" : "";
    if (!this.isZoomed) this.hint.querySelector("[data-newer]").hidden = true;
    this.renew();
  }

  look(low, high) {
    this.field("from").value = low;
    this.field("to").value = high;
    this.change();
  }

  startTools() {
    const scales = this.tools.querySelectorAll("[data-scale]");
    for (const button of scales)
      button.addEventListener("click", () => {
        for (const other of scales) other.setAttribute("aria-pressed", String(other === button));
        this.change();
      });
    this.field("by").addEventListener("change", () => this.look("", "")); // the ends were of another axis
    for (const name of ["from", "to"]) this.field(name).addEventListener("change", () => this.change());
    let timer = 0;
    this.field("smooth").addEventListener("input", (event) => {
      event.target.nextElementSibling.textContent = (event.target.value / 100).toFixed(2);
      clearTimeout(timer);
      timer = setTimeout(() => this.change(), PAUSE_MS);
    });
    this.tools.querySelector("[data-all]").addEventListener("click", () => this.look("", ""));
    this.hint.querySelector("[data-newer]").addEventListener("click", () => this.look("", ""));
  }

  startDragging() {
    let drag = null; // { svg, plot, from, to, brush }
    const across = (event, svg) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
    this.root.addEventListener("pointerdown", (event) => {
      const svg = event.target.closest?.("svg[data-plot]");
      if (!svg || event.button !== 0 || !this.tools) return;
      const [left, top, width, height] = svg.dataset.plot.split(" ").map(Number);
      const from = Math.min(Math.max(across(event, svg), left), left + width);
      const brush = document.createElementNS(SVG, "rect");
      for (const [name, value] of Object.entries({ class: "brush", x: from, y: top, width: 0, height })) brush.setAttribute(name, value);
      svg.append(brush);
      svg.setPointerCapture(event.pointerId);
      drag = { svg, left, width, from, to: from, brush };
      event.preventDefault();
    });
    this.root.addEventListener("pointermove", (event) => {
      if (!drag) return;
      drag.to = Math.min(Math.max(across(event, drag.svg), drag.left), drag.left + drag.width);
      drag.brush.setAttribute("x", Math.min(drag.from, drag.to));
      drag.brush.setAttribute("width", Math.abs(drag.to - drag.from));
    });
    const end = (isDone) => {
      if (!drag) return;
      const { svg, left, width, from, to, brush } = drag;
      drag = null;
      brush.remove();
      if (!isDone || Math.abs(to - from) < LEAST_DRAG) return;
      const [low, high] = svg.dataset.x.split(" ").map(Number);
      const at = (place) => low + ((place - left) / width) * (high - low);
      this.look(...this.rounded(at(Math.min(from, to)), at(Math.max(from, to))));
    };
    this.root.addEventListener("pointerup", () => end(true));
    this.root.addEventListener("pointercancel", () => end(false));
    this.root.addEventListener("dblclick", (event) => {
      if (this.isZoomed && event.target.closest("svg[data-plot]")) this.look("", "");
    });
  }

  // Whole epochs and steps, two of them at least; seconds to three digits of what is looked at.
  rounded(low, high) {
    if (this.field("by").value !== "time") {
      const first = Math.floor(low), last = Math.ceil(high);
      return [first, last > first ? last : first + 1];
    }
    const digits = Math.max(0, 3 - Math.ceil(Math.log10(high - low)));
    return [low, high].map((value) => Number(value.toFixed(Math.min(digits, 6))));
  }
}
