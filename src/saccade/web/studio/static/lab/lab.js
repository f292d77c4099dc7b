// The Lab: the bench, the same kernel on a photo, guided cards, and filters that a run has learned. The address holds it.
import { Bench, calculate } from "./bench.js";
import { Photo } from "./photo.js";
import { read, written } from "./address.js";

const PAUSE_MS = 300;
const settings = JSON.parse(document.getElementById("settings").textContent);
const usual = settings.bench.state;
const photo = new Photo(document.getElementById("photo"));
const bench = new Bench(document.getElementById("bench"), settings.bench);
const run = document.getElementById("run"), number = document.getElementById("filter"), words = document.getElementById("learned-words");
let learned = [];
let timer = 0;

// --- the address

function keep() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const parts = [written(bench.state, bench.place, usual), photo.show === "signed" ? "" : `view=${photo.show}`].filter(Boolean);
    history.replaceState(null, "", parts.length ? `#${parts.join("&")}` : location.pathname);
  }, PAUSE_MS);
}

// What a fragment says, where the bench can hold and compute it.
function held(fragment) {
  const found = read(fragment, usual);
  try {
    if (found) calculate(found.state);
    return found;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return null;
  }
}

function restore() {
  const fragment = location.hash.slice(1);
  const found = fragment ? held(fragment) : { state: usual, place: [0, 0] };
  document.getElementById("address-words").textContent = found ? "" : "The address says nothing that the bench can hold; this is where it begins.";
  photo.choose(/(?:^|&)view=(\w+)/.exec(fragment)?.[1] ?? "signed");
  bench.load(found?.state ?? usual);
  if (found) bench.goTo(Math.min(found.place[0], bench.size()[0] - 1) * bench.size()[1] + Math.min(found.place[1], bench.size()[1] - 1));
}

bench.changed = (state) => {
  photo.update(state);
  keep();
};
bench.moved = keep;
photo.changed = keep;
photo.update(bench.state);
if (location.hash) restore();
window.addEventListener("hashchange", restore);

// --- cards and learned filters

for (const card of document.querySelectorAll("[data-card]"))
  card.addEventListener("click", () => {
    bench.load(settings.cards[Number(card.dataset.card)]);
    for (const each of document.querySelectorAll("[data-card]")) each.setAttribute("aria-pressed", String(each === card));
    document.getElementById("bench-title").scrollIntoView({ block: "start" });
  });

run.addEventListener("change", async () => {
  learned = [];
  number.parentNode.hidden = true;
  words.textContent = run.value ? "reading" : "";
  if (!run.value) return;
  const answer = await fetch(`/api/lab/filters/${run.value}`);
  const said = await answer.json();
  if (!answer.ok) { words.textContent = `${said.error.message} ${said.error.hint}`; return; }
  learned = said.filters;
  words.textContent = `${said.num_filters} filters of the first layer`;
  number.max = learned.length;
  number.value = 1;
  number.parentNode.hidden = false;
  take();
});
number.addEventListener("change", take);
document.getElementById("learned").addEventListener("submit", (event) => event.preventDefault());

/** Put the chosen filter on the bench, whose image gets as many channels. */
function take() {
  const filter = learned[Math.min(Math.max(Number(number.value), 1), learned.length) - 1];
  const image = filter.map((_, channel) => bench.state.image[channel] ?? bench.state.image[0]);
  bench.load({ ...bench.state, image, kernel: [filter], bias: null });
}
