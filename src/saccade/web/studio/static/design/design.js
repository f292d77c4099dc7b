// A network that is drawn up anew as one types; the address holds all of it. Rows sort, boxes find rows, a photo shows the field.

import { save } from "../drawing.js";
import { Walk } from "./walk.js";

const PAUSE_MS = 250;
const part = (name) => document.getElementById(name);
const form = part("wanted");
let timer = 0;
let drawing = null; // the request that is on its way
const first = new URLSearchParams(location.search);
let layer = first.has("layer") ? Number(first.get("layer")) : null; // that the address names, until another is chosen
const walk = new Walk(first.has("walk"), (place) => pick(place), keep);

function wanted() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value.trim()) query.set(name, value.trim());
  return query;
}

// The address: the network, the chosen layer, whether an image walks through.
function keep() {
  const query = wanted();
  if (layer !== null) query.set("layer", layer);
  if (walk.isOn) query.set("walk", "1");
  history.replaceState(null, "", `/design?${query}`);
}

async function renew() {
  drawing?.abort(); // the studio need not begin with what nobody waits for
  const own = (drawing = new AbortController());
  const query = wanted();
  keep();
  const waits = setTimeout(() => (part("told").textContent = "Drawing up the network."), 300);
  let response, text;
  try {
    response = await fetch(`/design/part?${query}`, { signal: own.signal });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") return; // a later one is on its way
    part("told").textContent = "The studio does not answer. Is it still running?";
    return;
  } finally {
    clearTimeout(waits);
  }
  if (own !== drawing) return;
  part("told").textContent = "";
  const isDrawn = response.ok && !text.includes("data-refused");
  part("refused").innerHTML = isDrawn ? "" : text;
  part("part").classList.toggle("old", !isDrawn);
  part("part").querySelector("[data-pending]")?.remove();
  if (!isDrawn) return;
  part("part").innerHTML = text;
  for (const link of document.querySelectorAll("a[data-keeps]")) link.search = query;
  startPart(query);
}

function soon() {
  layer = null;
  clearTimeout(timer);
  timer = setTimeout(renew, PAUSE_MS);
}

// --- one layer: its row, its box, its field

function rows() {
  return [...part("layers").tBodies[0].rows];
}

function choose(place) {
  const row = part(`layer-${place}`);
  if (!row) return;
  for (const each of document.querySelectorAll(".chosen")) each.classList.remove("chosen");
  row.classList.add("chosen");
  document.querySelector(`.network [data-row="${place}"]`)?.classList.add("chosen");
  part("field-layer").value = place;
  drawField(row);
  walk.show(place);
}

function pick(place) {
  layer = place;
  choose(place);
  keep();
}

function drawField(row) {
  const box = document.querySelector(".seeing");
  const [high, wide] = [Number(box.dataset.height), Number(box.dataset.width)];
  const [height, width] = row.dataset.field.split(",").map(Number);
  const name = row.cells[0].textContent;
  const square = part("field-square");
  square.toggleAttribute("hidden", !height);
  if (!height) {
    part("field-words").textContent = `${name}: not known, or not of the image.`;
    return;
  }
  const [shownHigh, shownWide] = [Math.min(height, high), Math.min(width, wide)];
  for (const [key, value] of [["x", (wide - shownWide) / 2], ["y", (high - shownHigh) / 2], ["width", shownWide], ["height", shownHigh]]) square.setAttribute(key, value);
  const sides = height === width ? `${height}x${height}` : `${height}x${width}`;
  const beyond = height >= high && width >= wide;
  part("field-words").textContent = `${name}: ${sides} of ${high}x${wide} pixels${beyond ? ", the whole image and beyond" : `, ${((100 * shownHigh * shownWide) / (high * wide)).toFixed(shownHigh * shownWide * 50 < high * wide ? 2 : 0)} % of it`}.`;
}

function sortBy(column, button) {
  const head = button.closest("th");
  const isDown = head.getAttribute("aria-sort") === "descending" || (head.getAttribute("aria-sort") === "none" && !head.classList.contains("number") && column < 4);
  for (const each of head.parentElement.cells) each.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", isDown ? "ascending" : "descending");
  const valueOf = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compared = (a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)];
    return x !== "" && y !== "" && !Number.isNaN(Number(x)) && !Number.isNaN(Number(y)) ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true });
  };
  part("layers").tBodies[0].append(...rows().sort((a, b) => (isDown ? 1 : -1) * compared(a, b)));
}

function startPart(query) {
  walk.start(query);
  choose(layer !== null && part(`layer-${layer}`) ? layer : Number(part("field-layer").value));
  part("field-layer").addEventListener("input", (event) => pick(Number(event.target.value)));
  part("find").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase();
    for (const row of rows()) row.hidden = !row.textContent.toLowerCase().includes(words);
  });
  for (const kind of ["svg", "png"])
    part(`save-${kind}`).addEventListener("click", () => save(document.querySelector(".network"), `network.${kind}`));
  for (const button of document.querySelectorAll("[data-sort]")) button.addEventListener("click", () => sortBy(Number(button.dataset.sort), button));
  part("layers").tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) pick(Number(row.id.slice("layer-".length)));
  });
  document.querySelector(".network").addEventListener("click", (event) => {
    const place = event.target.closest("[data-row]")?.dataset.row;
    if (place === undefined || place === "-1") return;
    pick(Number(place));
    part(`layer-${place}`).scrollIntoView({ block: "center" });
  });
}

form.addEventListener("input", (event) => {
  if (event.target.name === "network" && form.elements.run) form.elements.run.value = "";
  soon();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  renew();
});
form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-network]");
  if (!button) return;
  form.elements.network.value = button.dataset.network;
  form.elements.input.value = button.dataset.input;
  if (form.elements.run) form.elements.run.value = "";
  layer = null;
  renew();
});
renew();
