// What training sees of the open image: eight draws of the run's augmentation, by a seed.

import { ask, grid, root, section } from "./data.js";

const MOST_SEED = 2 ** 31 - 1;
const part = (name) => document.getElementById(name);
const draws = part("draws");
let position = null;
let number = 0;

function made(name, values, ...children) {
  const found = Object.assign(document.createElement(name), values);
  found.append(...children);
  return found;
}

function entry(picture, title, lines) {
  const image = made("img", { src: picture, alt: title });
  image.addEventListener("load", () => image.classList.toggle("pixels", image.naturalWidth <= 96));
  return made("li", {}, image, made("b", { textContent: title }), ...lines.map((text) => made("small", { textContent: text })));
}

async function load() {
  if (!draws.open || position === null) return;
  number += 1;
  const at = number;
  const seed = part("seed").value.trim();
  part("draws-told").textContent = "Drawing.";
  const found = await ask(`/api${root}/images/${position}/draws?of=${grid.version}&run=${section.dataset.run}&seed=${encodeURIComponent(seed)}`);
  if (at !== number) return;
  if (found.error) {
    part("draws-told").textContent = found.error;
    part("draw-list").replaceChildren();
    part("strengths").replaceChildren();
    return;
  }
  part("seed").value = found.seed;
  const own = found.seed === found.own_seed ? "the run's own seed" : `the run's own seed is ${found.own_seed}`;
  part("draws-told").textContent = `As ${found.run} draws it with seed ${found.seed}; ${own}.`;
  part("draw-list").replaceChildren(
    entry(found.evaluated, "as it is judged", found.values ? [found.values] : []),
    ...found.draws.map((draw, place) => entry(draw.picture, `draw ${place + 1}`, draw.lines.length ? draw.lines : ["nothing changed"])),
  );
  part("strengths").replaceChildren(...found.strengths.map((text) => made("li", { textContent: text })));
}

document.addEventListener("image", (event) => {
  position = event.detail.position;
  part("draw-list").replaceChildren();
  load();
});
draws.addEventListener("toggle", load);
part("seed").addEventListener("change", load);
part("reseed").addEventListener("click", () => {
  part("seed").value = Math.floor(Math.random() * MOST_SEED);
  load();
});
