"use strict";
// Of every page of the report and the studio: tables sort, and wide ones say so. Without scripts they have everything.
const number = text => {
  const found = text.replace(/,/g, "").match(/-?[0-9.]+/);
  return found ? parseFloat(found[0]) : NaN;
};
const compare = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
  return isNaN(x) ? a.localeCompare(b, undefined, {numeric: true}) : x - y;
};
const arrangeTables = root => {
  for (const table of root.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent.trim() || table.querySelector(`tbody tr > :nth-child(${column + 1}) svg`)) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const text = row => row.cells[column].textContent.trim();
        const isNumber = head.classList.contains("number");
        const rows = [...body.rows].sort((a, b) =>
          isNumber ? compare(text(a), text(b)) : text(a).localeCompare(text(b), undefined, {numeric: true}));
        body.append(...(down ? rows.reverse() : rows));
      });
    });
  }
  for (const box of root.querySelectorAll(".scroll")) {
    const hint = document.createElement("p");
    hint.className = "sideways";
    hint.textContent = "Wide table: scroll it sideways.";
    hint.hidden = true;
    box.before(hint);
    const look = () => { hint.hidden = box.clientWidth === 0 || box.scrollWidth <= box.clientWidth + 1; };
    new ResizeObserver(look).observe(box);
  }
};
arrangeTables(document);
