// Photos to answers: dropped, pasted, chosen or filmed; by one run or several beside each other; as cards and as CSV.

import { remembered } from "../memory.js";

const MOST_CARDS = 200;
const FRAME_MS = 400;
const FRAME_PX = 640;

const part = (name) => document.getElementById(name);
const photos = []; // {file, url, card, answers: Map of run id to answer}
const view = { seen: false, evidence: false };
let waiting = Promise.resolve();
let number = 0;

const runs = () => [...document.querySelectorAll("input[name=run]:checked")].map((box) => ({ id: box.value, name: box.dataset.name }));
const least = () => Math.min(100, Math.max(0, Number(part("least").value) || 0)) / 100;
const percent = (share) => (100 * share).toFixed(1);

function made(name, attributes = {}, ...children) {
  const space = ["svg", "rect"].includes(name) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const found = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined && value !== false) found.setAttribute(key, value === true ? "" : value);
  found.append(...children.filter((child) => child !== ""));
  return found;
}

// --- asking

async function ask(address, file) {
  let response;
  try {
    response = await fetch(address, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
  } catch {
    return { error: "The studio does not answer. Is it still running?" };
  }
  const found = await response.json().catch(() => null);
  if (response.ok && found) return found;
  return { error: found?.error ? `${found.error.message} ${found.error.hint}`.trim() : `The studio answered ${response.status}.` };
}

const askRun = (run, file) => ask(`/api/predict/${run.id}?least=${least()}`, file);

async function answerAll(photo) {
  for (const run of runs()) if (!photo.answers.has(run.id) && !photo.isGone) {
    photo.answers.set(run.id, await askRun(run, photo.file));
    draw(photo);
  }
  if (view.evidence) await findEvidence(photo);
}

async function findEvidence(photo) {
  for (const run of runs()) {
    const answer = photo.answers.get(run.id);
    const first = answer?.top?.[0];
    if (!first || answer.evidence || photo.isGone) continue;
    answer.evidence = await ask(`/api/predict/${run.id}/evidence?class=${first.index}`, photo.file);
    draw(photo);
  }
}

function inTurn(work) {
  waiting = waiting.then(work);
  return waiting;
}

// --- showing

function bar(share) {
  return made("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", class: "bar8", "aria-hidden": "true" },
    made("rect", { class: "track", y: 2, width: 100, height: 4 }), made("rect", { class: "value", y: 2, width: 100 * share, height: 4 }));
}

function picture(photo, answer, run) {
  const box = made("div", { class: "layers" });
  const isSeen = (view.seen || view.evidence) && answer?.seen;
  const image = made("img", { src: isSeen ? answer.seen : photo.url, alt: isSeen ? `${photo.file.name} as ${run.name} sees it` : photo.file.name });
  image.addEventListener("error", () => {
    if (answer?.seen && image.src !== answer.seen) image.src = answer.seen; // a format that only the studio reads
    else if (!answer?.seen) box.replaceChildren(made("p", { class: "no-picture" }, "This browser cannot show the file."));
  });
  box.append(image);
  if (view.evidence && answer?.evidence?.veil && !answer.evidence.message) box.append(made("img", { src: answer.evidence.veil, alt: "", class: "veil" }));
  return box;
}

function answerPart(photo, run, isOnly, isBeside) {
  const answer = photo.answers.get(run.id);
  const found = made("div", { class: "answer-of" });
  if (!isOnly) found.append(made("h3", {}, run.name));
  if (isBeside) found.append(picture(photo, answer, run));
  if (!answer) found.append(made("p", { class: "muted" }, "Waiting."));
  else if (answer.error) found.append(made("p", { class: "bad" }, answer.error));
  else found.append(...answerLines(answer));
  return found;
}

function answerLines(answer) {
  const lines = [];
  if (answer.why_none) lines.push(made("p", { class: "warn" }, answer.why_none), made("p", { class: "muted" }, `If it had to answer: ${answer.answer}.`));
  else lines.push(made("p", { class: "said" }, made("b", {}, answer.answer), answer.measured ? ` ${answer.measured}` : ""));
  if (answer.top.length) {
    const rows = answer.top.map((each) => made("tr", {}, made("th", { scope: "row" }, each.class), made("td", { class: "number" }, percent(each.probability)), made("td", {}, bar(each.probability))));
    const heads = made("tr", {}, made("th", { scope: "col" }, "class"), made("th", { scope: "col", class: "number" }, made("span", { class: "unseen" }, "probability, "), "%"), made("th", { scope: "col" }, made("span", { class: "unseen" }, "bar")));
    lines.push(made("table", { class: "classes" }, made("thead", {}, heads), made("tbody", {}, ...rows)));
  }
  const notes = [...answer.notes, ...(view.evidence && answer.evidence ? [answer.evidence.error || answer.evidence.message || `Evidence for ${answer.top[0].class}, at ${answer.evidence.layer}.`] : [])];
  lines.push(made("p", { class: "muted" }, [`${answer.ms} ms`, ...notes].join("; ")));
  return lines;
}

function draw(photo) {
  const chosen = runs();
  const isBeside = (view.seen || view.evidence) && chosen.length > 1;
  const shown = chosen.find((run) => photo.answers.get(run.id)?.seen) ?? chosen[0];
  const own = isBeside ? "" : picture(photo, shown && photo.answers.get(shown.id), shown);
  const answers = chosen.map((run) => answerPart(photo, run, chosen.length === 1, isBeside));
  photo.card.classList.toggle("beside", isBeside);
  photo.card.replaceChildren(...[made("h2", {}, photo.file.name), own, made("div", { class: "answers-of" }, ...answers)].filter((each) => each !== ""));
  drawTable();
}

function rowsOf(chosen) {
  return photos.map((photo) => [photo.file.name, ...chosen.flatMap((run) => {
    const answer = photo.answers.get(run.id);
    if (!answer || answer.error) return [answer ? `error: ${answer.error}` : "", "", ""];
    const none = answer.why_none ? answer.why_none.split(":")[0].replace(/\.$/, "") : "";
    return [none ? "" : answer.answer, answer.top[0] ? answer.top[0].probability : "", none];
  })]);
}

function drawTable() {
  const chosen = runs();
  part("over").hidden = photos.length === 0;
  part("table").hidden = photos.length < 2;
  if (photos.length < 2) return;
  const head = made("tr", {}, made("th", { scope: "col" }, "photo"), ...chosen.flatMap((run) => [made("th", { scope: "col" }, run.name), made("th", { scope: "col", class: "number" }, "%")]));
  const body = rowsOf(chosen).map((row, place) => made("tr", {}, made("th", { scope: "row" }, made("a", { href: `#${photos[place].card.id}` }, row[0])),
    ...chosen.flatMap((run, k) => [made("td", {}, String(row[1 + 3 * k] || row[3 + 3 * k])), made("td", { class: "number" }, row[2 + 3 * k] === "" ? "" : percent(row[2 + 3 * k]))])));
  part("table").replaceChildren(made("table", {}, made("thead", {}, head), made("tbody", {}, ...body)));
}

function drawAll() {
  for (const photo of photos) draw(photo);
  drawTable();
}

// --- what a person brings

function take(files) {
  const room = MOST_CARDS - photos.length;
  const taken = [...files].slice(0, Math.max(0, room));
  if (files.length > taken.length) part("told").textContent = `${MOST_CARDS} photos fit here, so ${files.length - taken.length} are left out. For more: saccade predict RUN FOLDER --out answers.csv`;
  for (const file of taken) add(file);
}

function add(file) {
  number += 1;
  const photo = { file, url: URL.createObjectURL(file), card: made("li", { class: "panel card-wide", id: `photo-${number}` }), answers: new Map() };
  photos.push(photo);
  part("answers").append(photo.card);
  draw(photo);
  inTurn(async () => {
    await answerAll(photo);
    const left = photos.filter((each) => runs().some((run) => !each.answers.has(run.id))).length;
    part("told").textContent = left ? `${photos.length - left} of ${photos.length} answered.` : photos.length ? `${photos.length} answered.` : "";
  });
  return photo;
}

function clear() {
  for (const photo of photos.splice(0)) {
    photo.isGone = true;
    URL.revokeObjectURL(photo.url);
    photo.card.remove();
  }
  part("told").textContent = "";
  drawTable();
}

// A cell that a spreadsheet would take for a formula begins with an apostrophe.
const cell = (value) => {
  const text = typeof value === "number" ? String(value) : /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

function save() {
  const chosen = runs();
  const head = ["image", ...chosen.flatMap((run) => (chosen.length === 1 ? ["class", "probability", "no_answer"] : [`class (${run.name})`, `probability (${run.name})`, `no_answer (${run.name})`]))];
  const text = [head, ...rowsOf(chosen)].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  const link = made("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "answers.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// --- the camera

let film = null;

async function startFilm() {
  if (film) return stopFilm();
  if (!window.isSecureContext || !navigator.mediaDevices) {
    const port = location.port || "80";
    part("camera-words").textContent = `Browsers give the camera to localhost only. Open this studio through: ssh -N -L ${port}:127.0.0.1:${port} USER@${location.hostname}`;
    return undefined;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: FRAME_PX } } });
  } catch (error) {
    part("camera-words").textContent = error.name === "NotAllowedError" ? "The browser does not allow the camera here." : "No camera was found.";
    return undefined;
  }
  part("video").srcObject = stream;
  await part("video").play();
  part("live").hidden = false;
  part("film").textContent = "Stop the camera";
  film = { stream, photo: null };
  return frame();
}

function stopFilm() {
  for (const track of film.stream.getTracks()) track.stop();
  film = null;
  part("video").srcObject = null;
  part("live").hidden = true;
  part("film").textContent = "Use the camera";
}

async function frame() {
  if (!film) return;
  const own = film;
  const canvas = document.createElement("canvas");
  canvas.width = part("video").videoWidth;
  canvas.height = part("video").videoHeight;
  canvas.getContext("2d").drawImage(part("video"), 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
  if (blob && film === own) {
    const file = new File([blob], "camera.jpg", { type: "image/jpeg" });
    if (!own.photo || own.photo.isGone) own.photo = add(file);
    else {
      const photo = own.photo;
      const answers = new Map();
      for (const run of runs()) answers.set(run.id, await askRun(run, file));
      URL.revokeObjectURL(photo.url);
      Object.assign(photo, { file, url: URL.createObjectURL(file), answers });
      draw(photo);
    }
  }
  setTimeout(frame, FRAME_MS);
}

// --- the page

function choose() {
  const chosen = runs();
  const address = new URL(location.href);
  address.searchParams.delete("run");
  for (const run of chosen) address.searchParams.append("run", run.id);
  history.replaceState(null, "", address);
  part("program").textContent = chosen.length ? `curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' ${location.origin}/api/predict/${chosen[0].id}` : "";
  part("told").textContent = chosen.length ? "" : "Choose a run that answers.";
  for (const photo of photos) inTurn(() => answerAll(photo));
  drawAll();
}

function askAgain() {
  for (const photo of photos) {
    photo.answers.clear();
    inTurn(() => answerAll(photo));
  }
  drawAll();
}

function toggle(name, button) {
  view[name] = !view[name];
  button.setAttribute("aria-pressed", String(view[name]));
  if (name === "evidence" && view.evidence) for (const photo of photos) inTurn(() => findEvidence(photo));
  drawAll();
}

function start() {
  const drop = part("drop");
  for (const name of ["dragenter", "dragover"]) document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => take(event.dataTransfer.files));
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  part("files").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = "";
  });
  part("film").addEventListener("click", startFilm);
  part("clear").addEventListener("click", clear);
  part("save").addEventListener("click", save);
  part("least").addEventListener("change", askAgain);
  part("show-seen").addEventListener("click", (event) => toggle("seen", event.currentTarget));
  part("show-evidence").addEventListener("click", (event) => toggle("evidence", event.currentTarget));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select") || remembered("single-keys", "on") !== "on") return;
    const button = { e: part("show-evidence"), s: part("show-seen") }[event.key];
    if (button && !part("over").hidden) button.click();
  });
  for (const box of document.querySelectorAll("input[name=run]")) box.addEventListener("change", choose);
  choose();
}

if (part("drop")) start();
