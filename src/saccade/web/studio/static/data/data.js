// A data set: the grid of which only the rows in view are in the page, filters, and an image large.

const TILE_PX = 112;
const LABEL_PX = 20;
const WINDOW = 240; // images of an answer
const ROWS_AROUND = 3;
const RESTED_MS = 60;
const MOST_PX = 15_000_000; // higher than this a browser lays out nothing

const part = (name) => document.getElementById(name);
const section = part("images");
const root = `/data/${section.dataset.set}`;
const tiles = part("tiles");
const list = part("tile-list");
const viewer = part("viewer");

const grid = { version: "", num: 0, columns: 1, windows: new Map(), shown: new Map(), number: 0 };
let opened = null; // the place in the grid of the image that is large

async function ask(address, how = {}) {
  let response;
  try {
    response = await fetch(address, how);
  } catch {
    return { error: "The studio does not answer. Is it still running?" };
  }
  const found = await response.json().catch(() => null);
  if (response.ok && found) return found;
  return { error: found?.error ? `${found.error.message} ${found.error.hint}`.trim() : `The studio answered ${response.status}.` };
}

function remembersInAddress(values) {
  const address = new URL(location.href);
  for (const [key, value] of Object.entries(values)) {
    if (value === "" || value === null) address.searchParams.delete(key);
    else address.searchParams.set(key, value);
  }
  history.replaceState(null, "", address);
}

// --- the grid

const chosen = () => `class=${part("class").value}&split=${part("split").value}`;

function windowOf(number) {
  if (!grid.windows.has(number)) {
    const at = grid.number;
    const asked = ask(`/api${root}/images?of=${grid.version}&${chosen()}&start=${number * WINDOW}`).then((found) => {
      if (at !== grid.number) return [];
      if (found.error) {
        grid.windows.delete(number);
        tell(found.error);
      }
      return found.images ?? [];
    });
    grid.windows.set(number, asked);
  }
  return grid.windows.get(number);
}

async function imageAt(place) {
  return (await windowOf(Math.floor(place / WINDOW)))[place % WINDOW];
}

function tell(text) {
  part("images-told").textContent = text;
}

function fill(item, image, place) {
  const link = document.createElement("a");
  const picture = document.createElement("img");
  const label = document.createElement("small");
  link.href = `?image=${image.position}`;
  link.title = image.name;
  link.setAttribute("aria-label", `${image.name}: ${image.label}`);
  picture.alt = "";
  picture.decoding = "async";
  picture.addEventListener("error", () => picture.replaceWith(Object.assign(document.createElement("span"), { className: "no-picture", textContent: "cannot be read" })));
  picture.src = `${root}/images/${image.position}/thumbnail?of=${grid.version}`;
  label.textContent = image.label;
  link.append(picture, label);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openImage(place);
  });
  item.append(link);
}

function made(place) {
  const item = document.createElement("li");
  const [row, column] = [Math.floor(place / grid.columns), place % grid.columns];
  item.style.transform = `translate(${(column * list.clientWidth) / grid.columns}px, ${row * (TILE_PX + LABEL_PX)}px)`;
  item.dataset.place = place;
  item.setAttribute("aria-setsize", grid.num);
  item.setAttribute("aria-posinset", place + 1);
  const at = grid.number;
  imageAt(place).then((image) => {
    if (image && at === grid.number && grid.shown.get(place) === item) fill(item, image, place);
  });
  return item;
}

function inView() {
  const height = TILE_PX + LABEL_PX;
  const first = Math.max(0, Math.floor(tiles.scrollTop / height) - ROWS_AROUND) * grid.columns;
  const last = (Math.ceil((tiles.scrollTop + tiles.clientHeight) / height) + ROWS_AROUND) * grid.columns;
  return [first, Math.min(grid.num, last)];
}

function draw() {
  const [first, last] = inView();
  for (const [place, item] of grid.shown)
    if ((place < first || place >= last) && !item.contains(document.activeElement)) {
      item.querySelector("img")?.removeAttribute("src"); // a picture that is not here yet need not come any more
      item.remove();
      grid.shown.delete(place);
    }
  for (let place = first; place < last; place += 1) {
    if (grid.shown.has(place)) continue;
    const item = made(place);
    const next = [...list.children].find((other) => Number(other.dataset.place) > place) ?? null;
    list.insertBefore(item, next);
    grid.shown.set(place, item);
  }
}

function layOut() {
  const columns = Math.max(1, Math.floor(list.clientWidth / TILE_PX));
  const top = tiles.scrollTop / (TILE_PX + LABEL_PX) * grid.columns;
  grid.columns = columns;
  const height = Math.ceil(grid.num / columns) * (TILE_PX + LABEL_PX);
  list.style.height = `${Math.min(height, MOST_PX)}px`;
  for (const item of grid.shown.values()) item.remove();
  grid.shown.clear();
  tiles.scrollTop = Math.floor(top / columns) * (TILE_PX + LABEL_PX);
  draw();
}

function startScrolling() {
  let timer = 0;
  let drawnAt = 0;
  tiles.addEventListener("scroll", () => {
    clearTimeout(timer);
    // A slow scroll draws as it goes; a thumb that is dragged over thousands of rows draws where it rests.
    const isNear = Math.abs(tiles.scrollTop - drawnAt) < tiles.clientHeight;
    const now = () => {
      drawnAt = tiles.scrollTop;
      draw();
    };
    if (isNear) requestAnimationFrame(now);
    else timer = setTimeout(now, RESTED_MS);
  });
  let width = 0;
  new ResizeObserver(() => {
    if (list.clientWidth === width) return;
    width = list.clientWidth;
    layOut();
  }).observe(tiles);
}

async function choose() {
  grid.number += 1;
  grid.windows.clear();
  const at = grid.number;
  const found = await ask(`/api${root}/images?of=${grid.version}&${chosen()}`);
  if (at !== grid.number) return;
  if (found.error) {
    tell(found.error);
    return;
  }
  grid.num = found.num;
  grid.windows.set(0, Promise.resolve(found.images));
  tiles.scrollTop = 0;
  layOut();
  const room = Math.floor(MOST_PX / (TILE_PX + LABEL_PX)) * grid.columns;
  const cut = found.num > room ? ` The first ${room.toLocaleString("en")} are shown: choose a class or a split.` : "";
  tell(`${found.num.toLocaleString("en")} ${found.num === 1 ? "image" : "images"}.${cut}`);
}

function startFilters(found) {
  const given = new URL(location.href).searchParams;
  found.classes.forEach((each, number) => part("class").add(new Option(`${each.name} (${each.num.toLocaleString("en")})`, number)));
  for (const each of found.splits) part("split").add(new Option(`${each.name} (${each.num.toLocaleString("en")})`, each.name));
  part("split-label").hidden = found.splits.length === 0;
  part("class").parentElement.hidden = found.classes.length === 0;
  for (const name of ["class", "split"]) {
    part(name).value = given.get(name) ?? "";
    if (part(name).selectedIndex < 0) part(name).value = "";
    part(name).addEventListener("change", () => {
      remembersInAddress({ class: part("class").value, split: part("split").value });
      choose();
    });
  }
}

function startKeys() {
  tiles.addEventListener("keydown", (event) => {
    const item = event.target.closest("li");
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -grid.columns, ArrowDown: grid.columns }[event.key];
    if (!item || !step || event.altKey || event.ctrlKey || event.metaKey) return;
    const place = Number(item.dataset.place) + step;
    if (place < 0 || place >= grid.num) return;
    event.preventDefault();
    focusTile(place);
  });
}

async function focusTile(place) {
  const top = Math.floor(place / grid.columns) * (TILE_PX + LABEL_PX);
  if (top < tiles.scrollTop) tiles.scrollTop = top;
  if (top + TILE_PX + LABEL_PX > tiles.scrollTop + tiles.clientHeight) tiles.scrollTop = top + TILE_PX + LABEL_PX - tiles.clientHeight;
  draw();
  await imageAt(place);
  grid.shown.get(place)?.querySelector("a")?.focus({ preventScroll: true });
}

// --- one image

async function openImage(place) {
  const image = await imageAt(place);
  if (!image) return;
  opened = place;
  await show(image.position);
}

async function show(position) {
  const found = await ask(`/api${root}/images/${position}?of=${grid.version}`);
  if (found.error) {
    tell(found.error);
    return;
  }
  const picture = part("image-picture");
  part("image-name").textContent = found.name;
  part("image-label").replaceChildren(Object.assign(document.createElement("b"), { textContent: found.label }), found.split ? `, ${found.split}` : "");
  const lines = found.problem ? [found.problem] : found.lines;
  part("image-lines").replaceChildren(...lines.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  picture.hidden = Boolean(found.problem);
  picture.alt = found.name;
  picture.classList.toggle("pixels", (found.width_px ?? 999) <= 128);
  if (found.problem) picture.removeAttribute("src");
  else picture.src = `${root}/images/${position}/picture?of=${grid.version}`;
  for (const button of viewer.querySelectorAll("[data-step]")) {
    const next = (opened ?? -9) + Number(button.dataset.step);
    button.disabled = opened === null || next < 0 || next >= grid.num;
  }
  if (!viewer.open) viewer.showModal();
  remembersInAddress({ image: position });
  document.dispatchEvent(new CustomEvent("image", { detail: found }));
}

function step(by) {
  if (opened === null || opened + by < 0 || opened + by >= grid.num) return;
  openImage(opened + by);
}

function startViewer() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-position]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    opened = null;
    show(link.dataset.position);
  });
  for (const button of viewer.querySelectorAll("[data-step]")) button.addEventListener("click", () => step(Number(button.dataset.step)));
  viewer.querySelector("[data-close]").addEventListener("click", () => viewer.close());
  viewer.addEventListener("close", () => {
    remembersInAddress({ image: null });
    if (opened !== null) focusTile(opened);
    opened = null;
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) {
      event.preventDefault();
      step(by);
    }
  });
}

export { ask, root, section, grid };

async function start() {
  part("of-run")?.querySelector("select").addEventListener("change", (event) => event.target.form.submit());
  const found = await ask(`/api${root}`);
  delete section.dataset.pending;
  if (found.error || found.problem) {
    tell(found.error ?? found.problem);
    return;
  }
  grid.version = found.version;
  part("images-part").hidden = false;
  startFilters(found);
  startScrolling();
  startKeys();
  startViewer();
  await choose();
  const wanted = new URL(location.href).searchParams.get("image");
  if (wanted && /^\d{1,9}$/.test(wanted)) await show(wanted);
}

start();
