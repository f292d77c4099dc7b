// Behind tables.js, of the report and the studio: a matrix of many classes. Of its rows only those in view are in the
// page, of their cells those that are not empty.

const ROW_PX = 30;
const ROWS_AROUND = 8;
const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function made(name, values = {}, ...children) {
  const element = Object.assign(document.createElement(name), values);
  element.append(...children);
  return element;
}

class LargeMatrix {
  constructor(root) {
    const found = JSON.parse(root.dataset.cells);
    this.root = root;
    this.classes = found.classes;
    this.support = found.support;
    this.rows = found.rows; // of each class column, number of images, step of the heat map of one cell after the other
    this.shown = new Map();
    this.above = this.gap();
    this.below = this.gap();
    const heads = this.classes.map((name) => made("th", { scope: "col", title: name }, made("span", {}, name)));
    const caption = made("caption", { className: "unseen" }, "Confusion matrix: rows are the true class, columns the predicted one");
    this.head = made("thead", {}, made("tr", {}, made("th", { scope: "col" }, "true \\ predicted"), ...heads));
    this.body = made("tbody", {}, this.above, this.below);
    const table = made("table", {}, caption, this.head, this.body);
    table.setAttribute("aria-rowcount", this.classes.length + 1);
    root.replaceChildren(table);
    root.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
    root.addEventListener("keydown", (event) => this.moved(event));
    new ResizeObserver(() => this.draw()).observe(root);
    this.draw();
  }

  // Where the images of a cell are; "" where the page has none.
  address(row, column) {
    const address = this.root.dataset.address.replace("{true}", row).replace("{said}", column);
    return address.startsWith("#") && !document.getElementById(address.slice(1)) ? "" : address;
  }

  cells(row) {
    const values = this.rows[row];
    return Array.from({ length: values.length / 3 }, (_, at) => values.slice(3 * at, 3 * at + 3));
  }

  gap() {
    const row = made("tr", { className: "gap" }, made("td", { colSpan: this.classes.length + 1 }));
    row.setAttribute("aria-hidden", "true");
    return row;
  }

  row(number) {
    const name = this.classes[number];
    const row = made("tr", {}, made("th", { scope: "row", title: name }, name));
    row.setAttribute("aria-rowindex", number + 2);
    let next = 0;
    for (const [column, count, step] of this.cells(number)) {
      if (column > next) row.append(made("td", { colSpan: column - next }));
      next = column + 1;
      const images = `${count.toLocaleString("en")} ${count === 1 ? "image" : "images"}`;
      const share = `${((100 * count) / this.support[number]).toFixed(1)} %`;
      const title = `${images} of '${name}' (${share}) predicted as '${this.classes[column]}'`;
      const cell = made("td", { className: `heat${step}${column === number ? " right" : ""}`, title });
      const href = this.address(number, column);
      const content = href ? made("a", { href, title }, count.toLocaleString("en")) : count.toLocaleString("en");
      if (href) {
        content.setAttribute("aria-label", `${title}: show`);
        content.dataset.column = column;
      }
      cell.append(content);
      row.append(cell);
    }
    if (next < this.classes.length) row.append(made("td", { colSpan: this.classes.length - next }));
    return row;
  }

  draw() {
    const num = this.classes.length;
    const top = Math.floor(this.root.scrollTop / ROW_PX);
    const first = Math.max(0, Math.min(top, num - 1) - ROWS_AROUND);
    const last = Math.min(num, top + Math.ceil(this.root.clientHeight / ROW_PX) + ROWS_AROUND);
    for (const [number, row] of this.shown) {
      if (number >= first && number < last) continue;
      if (row.contains(document.activeElement)) this.root.focus({ preventScroll: true });
      row.remove();
      this.shown.delete(number);
    }
    let before = this.below;
    for (let number = last - 1; number >= first; number -= 1) {
      if (!this.shown.has(number)) {
        this.shown.set(number, this.row(number));
        this.body.insertBefore(this.shown.get(number), before);
      }
      before = this.shown.get(number);
    }
    for (const [gap, rows] of [[this.above, first], [this.below, num - last]]) {
      gap.hidden = rows === 0;
      gap.firstChild.style.height = `${rows * ROW_PX}px`;
    }
  }

  // The next cell that leads to images, in the direction of an arrow key.
  moved(event) {
    const step = KEYS[event.key];
    const link = event.target.closest("a");
    if (!step || !link || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    let row = Number(link.closest("tr").getAttribute("aria-rowindex")) - 2;
    let column = Number(link.dataset.column);
    const isLink = () => this.address(row, column) && this.cells(row).some((cell) => cell[0] === column);
    do {
      row += step[0];
      column += step[1];
      if (!this.classes[row] || !this.classes[column]) return;
    } while (!isLink());
    this.show(row, column);
  }

  show(row, column) {
    const head = this.head.offsetHeight;
    const top = row * ROW_PX;
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    if (top + ROW_PX + head > this.root.scrollTop + this.root.clientHeight) this.root.scrollTop = top + ROW_PX + head - this.root.clientHeight;
    this.draw();
    const link = this.shown.get(row).querySelector(`a[data-column="${column}"]`);
    const side = this.shown.get(row).firstChild.offsetWidth;
    if (link.parentElement.offsetLeft - side < this.root.scrollLeft) this.root.scrollLeft = link.parentElement.offsetLeft - side;
    link.focus();
  }
}

for (const root of document.querySelectorAll(".matrix.large")) new LargeMatrix(root);
