// A drawing of the page as a file, SVG or PNG, in the colours that it has now.

const LOOKS = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity", "font-family", "font-size", "font-weight", "text-anchor"];
const PNG_SCALE = 2;

// (text, width, height in pixels) of `svg` with its own styles, on the ground that it stands on.
function standalone(svg) {
  const [x, y, width, height] = (svg.getAttribute("viewBox") ?? `0 0 ${svg.clientWidth} ${svg.clientHeight}`).split(/[\s,]+/).map(Number);
  const drawn = svg.cloneNode(true);
  const shown = svg.querySelectorAll("*");
  drawn.querySelectorAll("*").forEach((each, number) => {
    const style = getComputedStyle(shown[number]);
    for (const name of LOOKS) each.setAttribute(name, style.getPropertyValue(name));
    each.removeAttribute("class");
    each.removeAttribute("style");
  });
  const ground = document.createElementNS(svg.namespaceURI, "rect");
  const panel = svg.closest("section, .panel") ?? document.body;
  for (const [name, value] of Object.entries({ x, y, width, height, fill: getComputedStyle(panel).backgroundColor })) ground.setAttribute(name, value);
  drawn.prepend(ground);
  for (const [name, value] of Object.entries({ width, height, color: getComputedStyle(svg).color })) drawn.setAttribute(name, value);
  drawn.removeAttribute("class");
  drawn.removeAttribute("style");
  return { text: new XMLSerializer().serializeToString(drawn), width, height };
}

async function asPng({ text, width, height }) {
  const picture = new Image();
  picture.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = PNG_SCALE * width;
  canvas.height = PNG_SCALE * height;
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(picture.src);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// Give the drawing `svg` to the person as the file `name`, whose ending says the kind.
export async function save(svg, name) {
  const drawn = standalone(svg);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(name.endsWith(".png") ? await asPng(drawn) : new Blob([drawn.text], { type: "image/svg+xml" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Two buttons below each chart in `root` that has none.
export function offerSaving(root) {
  for (const figure of root.querySelectorAll("figure:not(:has(.saves))")) {
    const svg = figure.querySelector("svg");
    const title = figure.querySelector("h3, figcaption")?.textContent.trim();
    if (!svg || !title || figure.closest(".card, article")) continue;
    const line = Object.assign(document.createElement("p"), { className: "saves muted" });
    line.append("Save as ");
    for (const kind of ["SVG", "PNG"]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: kind });
      const name = title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
      button.setAttribute("aria-label", `Save the chart '${title}' as ${kind}`);
      button.addEventListener("click", () => save(svg, `${name || "chart"}.${kind.toLowerCase()}`));
      line.append(button, " ");
    }
    figure.append(line);
  }
}
