// Controls that several parts of a page share.
import { make } from "./grid.js";

const SVG = "http://www.w3.org/2000/svg";

/** A slider with its name and its value; `use(value)` as it moves, `words(value)` is what is shown. */
export function slider(label, [least, most, value], use, { step = 1, words = String } = {}) {
  const shown = make("output", {}, words(value));
  const input = make("input", { type: "range", min: least, max: most, step, value, "aria-label": label });
  input.addEventListener("input", () => {
    shown.textContent = words(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
    use(Number(input.value));
  });
  return make("label", { class: "slider" }, make("span", {}, label), shown, input);
}

/** Buttons of which one is pressed. */
export function buttons(label, names, chosen, use) {
  const all = names.map((name) => make("button", { type: "button", "aria-pressed": name === chosen, onclick: (event) => {
    for (const one of all) one.setAttribute("aria-pressed", String(one === event.currentTarget));
    use(name);
  } }, name));
  return make("div", { class: "buttons", role: "group", "aria-label": label }, ...all);
}

/** An element of a drawing. */
export function draw(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
}

/** 14,450,688. */
export function grouped(value) {
  return Math.round(value).toLocaleString("en-US");
}
