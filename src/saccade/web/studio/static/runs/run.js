// The pages of a run: a live run renews itself; images enlarge, are marked, and show where the evidence lies.

import { offerSaving } from "../drawing.js";
import { ageWords, poll } from "../live.js";
import { remembered } from "../memory.js";
import { Curves } from "./curves.js";

const run = document.getElementById("run");
const viewer = document.getElementById("viewer");
const TOLD_EACH_MS = 10000;
const curvesRoot = document.getElementById("curve-part");
const curves = curvesRoot ? new Curves(curvesRoot, run.dataset.run) : null;

// --- a run that goes on

function watch() {
  const freshness = document.getElementById("freshness");
  const told = document.getElementById("told");
  let toldAt = 0;
  let changedAt = 0;
  setInterval(() => {
    if (!changedAt) return;
    freshness.hidden = false;
    freshness.textContent = `running, updated ${ageWords((Date.now() - changedAt) / 1000)}`;
  }, 1000);
  poll(
    () => `/api/runs/${run.dataset.run}`,
    (status) => {
      changedAt = Date.now() - 1000 * status.changed_s;
      if (status.state !== run.dataset.state) {
        location.reload();
        return false;
      }
      for (const name of ["stage", "left", "silence"]) document.getElementById(name).textContent = status[name];
      if (Date.now() - toldAt > TOLD_EACH_MS && told.textContent !== status.stage) {
        toldAt = Date.now();
        told.textContent = status.stage;
      }
      if (String(status.version) !== run.dataset.version) {
        run.dataset.version = status.version;
        curves?.grow();
      }
      return true;
    },
  );
}

// The part of a page that takes long to make, and what to say where it cannot be made.
async function loadPart() {
  const part = document.querySelector("#part[data-pending]");
  if (!part) return;
  const response = await fetch(`/runs/${run.dataset.run}/parts/${part.dataset.part}`);
  if (response.ok) {
    part.innerHTML = await response.text();
    arrangeTables(part); // tables.js
    offerSaving(part);
  } else {
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    part.replaceChildren(...page.getElementById("main").childNodes);
  }
  delete part.dataset.pending;
  addCopyButton();
}

// The command that makes the run again can be copied.
function addCopyButton() {
  const command = document.querySelector("#reproduce > pre");
  if (!command || command.id) return;
  command.id = "reproduce-command";
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.copy = command.id;
  button.textContent = "Copy";
  command.after(button);
}

// --- the matrix

function startMatrix() {
  document.addEventListener("click", async (event) => {
    const link = event.target.closest?.(".matrix a, .beside a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || !link.hash.startsWith("#cell")) return;
    event.preventDefault();
    await showCell(link.href);
    history.pushState(null, "", link.href);
    const cell = document.getElementById("cell");
    cell.scrollIntoView({ block: "start" });
    cell.focus({ preventScroll: true });
  });
  window.addEventListener("popstate", () => location.reload());
  document.addEventListener("keydown", (event) => {
    const cell = event.target.closest?.(".matrix:not(.large) td");
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!cell || !step) return;
    event.preventDefault();
    let [row, column] = [cell.parentElement.sectionRowIndex, cell.cellIndex];
    const rows = cell.closest("tbody").rows;
    for (;;) {
      row += step[0];
      column += step[1];
      const next = rows[row]?.cells[column];
      if (!next || next.tagName !== "TD") return;
      const link = next.querySelector("a");
      if (link) {
        link.focus();
        return;
      }
    }
  });
}

async function showCell(address) {
  const response = await fetch(address);
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const cell = document.getElementById("cell");
  cell.replaceChildren(...page.getElementById("cell").childNodes);
  readPictures(cell);
}

// --- pictures that the run does not keep, from its source

const inView = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    inView.unobserve(target);
    readAgain(target);
  }
});

function readPictures(root) {
  for (const place of root.querySelectorAll("[data-from]")) inView.observe(place);
}

// Put the picture in its place; or why there is none.
async function readAgain(place) {
  const response = await fetch(`/api${place.dataset.from}/source`);
  const answer = await response.json();
  const problem = response.ok ? answer.message : answer.error.message;
  if (problem) place.textContent = problem;
  else if ("none" in place.dataset) showSeen(place.closest("article"));
  else place.replaceWith(Object.assign(document.createElement("img"), { src: `${place.dataset.from}/thumbnail`, alt: "", width: 96, height: 96 }));
}

// What the network sees, at its own size, as a map over it is.
function showSeen(article) {
  const seen = article.querySelector("[data-seen][data-source]");
  if (!seen) return;
  seen.src = seen.dataset.source;
  delete seen.dataset.source;
  seen.parentElement.hidden = false;
  article.querySelector("[data-none]")?.remove();
  seen.closest("figure").querySelector("figcaption").textContent = "What the network sees, read from the source again.";
}

// Which labels may be wrong takes seconds to find: the page does not wait for it.
async function showDoubts() {
  const grid = document.querySelector("[data-doubts]");
  if (!grid) return;
  const response = await fetch(grid.dataset.doubts);
  if (!response.ok) return;
  const { positions } = await response.json();
  for (const position of positions) {
    const tag = grid.querySelector(`a.open[data-position="${position}"]`)?.closest(".card").querySelector(".doubted");
    if (tag) tag.hidden = false;
  }
  delete grid.dataset.doubts;
}

// --- one image

let opener = null; // the link that the open image was opened by

async function openImage(link) {
  const response = await fetch(`${link.getAttribute("href")}/part`);
  if (!response.ok) {
    location.href = link.href;
    return;
  }
  opener = link;
  const content = document.getElementById("viewer-content");
  content.innerHTML = await response.text();
  content.querySelector("[data-viewer-only]").hidden = false;
  if (!viewer.open) viewer.showModal();
  showSteps();
  readPictures(content);
}

function neighbour(step) {
  const links = [...document.querySelectorAll("a.open")];
  return links[links.indexOf(opener) + step];
}

function showSteps() {
  for (const button of viewer.querySelectorAll("[data-step]")) button.disabled = !neighbour(Number(button.dataset.step));
}

function shownImage() {
  return viewer?.open ? viewer.querySelector("article.image") : document.querySelector("main > .panel > article.image");
}

async function mark(article, name) {
  const told = article.querySelector("[data-told]");
  const isSet = article.querySelector(`[data-mark="${name}"]`).getAttribute("aria-pressed") === "true";
  const wanted = isSet ? "" : name;
  const response = await fetch(`/api/runs/${article.dataset.run}/marks`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ position: Number(article.dataset.position), mark: wanted }),
  });
  const answer = await response.json();
  if (!response.ok) {
    told.textContent = `Not stored: ${answer.error.message}`;
    return;
  }
  told.textContent = wanted ? `Marked. ${answer.words}` : `Mark taken away. ${answer.words}`;
  for (const button of article.querySelectorAll("[data-mark]"))
    button.setAttribute("aria-pressed", String(button.dataset.mark === wanted));
  for (const tag of document.querySelectorAll(`li[data-name="${CSS.escape(article.dataset.name)}"] .marked`)) {
    tag.textContent = wanted;
    tag.hidden = !wanted;
  }
}

async function showEvidence(article, isWanted) {
  const button = article.querySelector("[data-cam]");
  if (!button) return;
  const veil = article.querySelector(".veil");
  const words = article.querySelector("[data-cam-words]");
  button.setAttribute("aria-pressed", String(isWanted));
  if (!isWanted) {
    veil.hidden = true;
    return;
  }
  const query = `class=${article.querySelector("[data-class]").value}`;
  words.textContent = "Looking where the evidence lies.";
  const response = await fetch(`/api${article.dataset.root}/evidence?${query}`);
  const answer = await response.json();
  const problem = response.ok ? answer.message : `${answer.error.message} ${answer.error.hint}`.trim();
  veil.hidden = Boolean(problem);
  if (!problem) showSeen(article);
  if (!problem) veil.src = `${article.dataset.root}/evidence?${query}`;
  words.textContent = problem || `Evidence for '${answer.class}' in layer '${answer.layer}', from none to most (dark violet to light yellow).`;
}

function startImages() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a.open");
    if (link && viewer && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      openImage(link);
      return;
    }
    const article = event.target.closest?.("article.image");
    const button = event.target.closest?.("button");
    if (!article || !button) return;
    if (button.dataset.mark) mark(article, button.dataset.mark);
    else if ("cam" in button.dataset) showEvidence(article, button.getAttribute("aria-pressed") !== "true");
    else if (button.dataset.step) openImage(neighbour(Number(button.dataset.step)));
    else if ("close" in button.dataset) viewer.close();
  });
  document.addEventListener("change", (event) => {
    const article = event.target.closest?.("article.image");
    if (article && event.target.matches("[data-class]")) showEvidence(article, true);
  });
  document.addEventListener("input", (event) => {
    const article = event.target.closest?.("article.image");
    if (article && event.target.matches("[data-opacity]")) article.querySelector(".veil").style.opacity = event.target.value / 100;
  });
  viewer?.addEventListener("close", () => opener?.focus());
  document.addEventListener("keydown", (event) => {
    const article = shownImage();
    if (!article || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("select, input")) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && viewer?.open && neighbour(step)) openImage(neighbour(step));
    if (remembered("single-keys", "on") !== "on") return;
    if (event.key === "c") showEvidence(article, article.querySelector("[data-cam]")?.getAttribute("aria-pressed") !== "true");
    if (event.key === "l") mark(article, "label wrong");
    if (event.key === "u") mark(article, "unclear");
  });
}

startImages();
readPictures(document);
showDoubts();
if (run) {
  startMatrix();
  if (curvesRoot && "pending" in curvesRoot.dataset) curves.renew();
  loadPart();
  addCopyButton();
  if (run.dataset.state === "running") watch();
}
