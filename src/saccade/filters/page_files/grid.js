// A grid of numbers on the page: shown in steps of colour, walked with the arrow keys, painted with pointer or keys.

export const STEPS = 8;

/** Short text of a number: three significant digits, at most three decimals, a true minus sign. */
export function figure(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "?";
  const rounded = Number(Number(value.toPrecision(Math.abs(value) >= 1000 ? 5 : 3)).toFixed(3));
  return String(rounded === 0 ? 0 : rounded).replace("-", "−");
}

/** The class of a value: steps of grey between low and high, or of blue and orange around zero. */
export function stepClass(value, { kind, low, high }) {
  if (kind === "grey") {
    const share = high > low ? (value - low) / (high - low) : 0;
    return `g${Math.round(STEPS * Math.min(Math.max(share, 0), 1))}`;
  }
  const scale = Math.max(Math.abs(low), Math.abs(high));
  const step = scale ? Math.round(STEPS * Math.min(Math.max(value / scale, -1), 1)) : 0;
  return `s${step === 0 ? 0 : step}`;
}

/** What makes long digits fit into a cell. */
export function lengthClass(text) {
  return text.length > 4 ? " long" : "";
}

/** The least and the largest of some rows, with zero among them. */
export function rangeOf(rows) {
  const values = rows.flat();
  return { low: Math.min(0, ...values), high: Math.max(0, ...values) };
}

export function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true && !key.startsWith("aria-")) node.setAttribute(key, "");
    else if ((value !== false && value !== null) || key.startsWith("aria-")) node.setAttribute(key, String(value));
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** A grid with a caption; a `fine` one has small cells without their digits. `onPick(row, column)` where a cell is chosen, `onPaint(row, column)` where it is painted. */
export class Grid {
  constructor(caption, { kind = "signed", fine = false, onPick = null, onPaint = null } = {}) {
    this.kind = kind;
    this.onPick = onPick;
    this.onPaint = onPaint;
    this.active = [0, 0];
    this.title = make("figcaption", {}, caption);
    const role = onPaint ? "painted" : onPick ? "picked" : "shown";
    this.cells = make("div", { class: `cells ${role}`, role: "grid", "aria-label": caption });
    this.node = make("figure", { class: fine ? "sheet fine" : "sheet" }, this.title, make("div", { class: "fit" }, this.cells));
    this.rows = [];
    if (onPaint || onPick) this.listen();
  }

  /** Show `rows`; `range` gives the ends of the colours, else the rows' own. `frame` is how many cells are padding. */
  show(rows, { range = null, caption = null, frame = null } = {}) {
    const { low, high } = range ?? rangeOf(rows);
    if (caption !== null) { this.title.textContent = caption; this.cells.setAttribute("aria-label", caption); }
    if (rows.length !== this.rows.length || rows[0].length !== this.rows[0]?.length) this.build(rows);
    this.rows = rows;
    rows.forEach((values, row) => values.forEach((value, column) => {
      const cell = this.cell(row, column);
      const outside = frame && this.isFrame(row, column, frame);
      cell.textContent = figure(value);
      cell.className = (outside ? "cell pad" : `cell ${stepClass(value, { kind: this.kind, low, high })}`) + lengthClass(cell.textContent);
    }));
  }

  /** Outline the cells that `chosen(row, column)` says, with the small text `note(row, column)` in them. */
  mark(chosen, note = null) {
    this.rows.forEach((values, row) => values.forEach((_, column) => {
      const cell = this.cell(row, column), isChosen = chosen(row, column);
      cell.classList.toggle("lit", isChosen);
      if (isChosen && note) cell.dataset.weight = note(row, column);
      else delete cell.dataset.weight;
    }));
  }

  cell(row, column) {
    return this.cells.children[row].children[column];
  }

  isFrame(row, column, { top, left, height, width }) {
    return row < top || column < left || row >= top + height || column >= left + width;
  }

  build(rows) {
    this.cells.replaceChildren(...rows.map((values) => {
      const line = make("div", { class: "line", role: "row" });
      line.append(...values.map(() => make("div", { class: "cell", role: "gridcell" })));
      return line;
    }));
    this.node.style.setProperty("--columns", rows[0].length);
    this.rows = rows;
    if (this.onPick || this.onPaint) this.activate(
      Math.min(this.active[0], rows.length - 1), Math.min(this.active[1], rows[0].length - 1), false);
  }

  /** The one cell that Tab reaches. */
  activate(row, column, focus = true) {
    for (const cell of this.cells.querySelectorAll("[tabindex]")) cell.removeAttribute("tabindex");
    this.active = [row, column];
    const cell = this.cell(row, column);
    cell.setAttribute("tabindex", "0");
    if (focus) cell.focus();
  }

  listen() {
    this.cells.addEventListener("keydown", (event) => this.onKey(event));
    this.cells.addEventListener("pointerdown", (event) => {
      const place = this.placeOf(event.target);
      if (!place) return;
      event.preventDefault();
      this.activate(...place);
      this.use(...place);
      if (this.onPaint) this.cells.setPointerCapture(event.pointerId);
    });
    this.cells.addEventListener("pointermove", (event) => {
      if (!this.onPaint || !(event.buttons & 1)) return;
      const place = this.placeOf(document.elementFromPoint(event.clientX, event.clientY));
      if (place && String(place) !== String(this.active)) { this.activate(...place); this.use(...place); }
    });
  }

  onKey(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (move) {
      const row = Math.min(Math.max(this.active[0] + move[0], 0), this.rows.length - 1);
      const column = Math.min(Math.max(this.active[1] + move[1], 0), this.rows[0].length - 1);
      this.activate(row, column);
      if (this.onPick && !this.onPaint) this.onPick(row, column);
    } else if (event.key === "Enter" || event.key === " ") this.use(...this.active);
    else return;
    event.preventDefault();
  }

  use(row, column) {
    (this.onPaint ?? this.onPick)(row, column);
  }

  placeOf(node) {
    const cell = node?.closest?.(".cell");
    if (!cell || !this.cells.contains(cell)) return null;
    const line = cell.parentNode;
    return [[...this.cells.children].indexOf(line), [...line.children].indexOf(cell)];
  }
}
