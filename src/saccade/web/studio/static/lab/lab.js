// The Lab: the bench, the same kernel on a photo, guided cards, and filters that a run has learned.
import { Bench } from "./bench.js";
import { Photo } from "./photo.js";

const settings = JSON.parse(document.getElementById("settings").textContent);
const photo = new Photo(document.getElementById("photo"));
const bench = new Bench(document.getElementById("bench"), settings.bench);
const run = document.getElementById("run"), number = document.getElementById("filter"), words = document.getElementById("learned-words");
let learned = [];

bench.changed = (state) => photo.update(state);
photo.update(bench.state);

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
