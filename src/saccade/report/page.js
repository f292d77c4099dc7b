"use strict";
// Conveniences only: without scripts the page has everything. Tables sort, pictures enlarge, wide tables say so.
const number = text => {
  const found = text.replace(/,/g, "").match(/-?[0-9.]+/);
  return found ? parseFloat(found[0]) : NaN;
};
const compare = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
  return isNaN(x) ? a.localeCompare(b, undefined, {numeric: true}) : x - y;
};
for (const table of document.querySelectorAll("table.sortable")) {
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
for (const box of document.querySelectorAll(".scroll")) {
  const hint = document.createElement("p");
  hint.className = "sideways";
  hint.textContent = "Wide table: scroll it sideways.";
  hint.hidden = true;
  box.before(hint);
  const look = () => { hint.hidden = box.clientWidth === 0 || box.scrollWidth <= box.clientWidth + 1; };
  new ResizeObserver(look).observe(box);
}
const dialog = document.createElement("dialog");
dialog.setAttribute("aria-label", "Enlarged picture");
const large = document.createElement("img"), words = document.createElement("p"), close = document.createElement("button");
close.type = "button";
close.textContent = "Close";
close.addEventListener("click", () => dialog.close());
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
dialog.append(large, words, close);
document.body.append(dialog);
for (const picture of document.querySelectorAll(".card img, .thumbnails img")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.setAttribute("aria-label", `Enlarge: ${picture.alt}`);
  picture.replaceWith(button);
  button.append(picture);
  button.addEventListener("click", () => {
    large.src = picture.src;
    large.alt = picture.alt;
    large.className = picture.className;
    const factor = Math.max(1, Math.min(8, Math.floor(Math.min(innerWidth - 96, 640) / Math.max(picture.naturalWidth, picture.naturalHeight))));
    large.width = picture.naturalWidth * factor;
    large.height = picture.naturalHeight * factor;
    words.textContent = `${picture.alt} (${picture.naturalWidth}x${picture.naturalHeight} pixels are kept)`;
    dialog.showModal();
  });
}
