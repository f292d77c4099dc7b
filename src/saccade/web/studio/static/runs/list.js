// The list of runs: filters as one types, renews itself where something changed, keeps what was chosen.

import { ageWords, poll } from "../live.js";

const form = document.getElementById("filter");
const MOST = 6;

function chosen() {
  return [...document.querySelectorAll("#runs input[name=run]:checked")].map((box) => box.value);
}

function showChoice() {
  const button = document.getElementById("compare-button");
  if (!button) return;
  const number = chosen().length;
  button.disabled = number < 2;
  for (const box of document.querySelectorAll("#runs input[name=run]")) box.disabled = number >= MOST && !box.checked;
}

function showAges() {
  const now = Date.now() / 1000;
  for (const time of document.querySelectorAll("#runs time")) time.textContent = ageWords(now - Number(time.dataset.seconds));
}

// The page at `address` anew; only the list is taken over.
async function renew(address) {
  const response = await fetch(address);
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const before = chosen();
  const fresh = page.getElementById("runs");
  const own = document.getElementById("runs");
  if (!document.getElementById("filter") !== !page.getElementById("filter")) {
    location.reload(); // the first run, or the last one has gone
    return;
  }
  own.replaceChildren(...fresh.childNodes);
  own.dataset.version = fresh.dataset.version;
  const count = document.getElementById("count");
  if (count) count.textContent = page.getElementById("count").textContent;
  for (const box of own.querySelectorAll("input[name=run]")) box.checked = before.includes(box.value);
  showChoice();
  showAges();
}

if (form) {
  let timer = 0;
  const apply = () => {
    const address = `/runs?${new URLSearchParams(new FormData(form))}`;
    history.replaceState(null, "", address);
    renew(address);
  };
  form.querySelector("button").hidden = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(apply, 150);
  });
}

document.addEventListener("change", showChoice);
showChoice();
showAges();
setInterval(showAges, 1000);
poll(
  () => `/api/runs?since=${document.getElementById("runs").dataset.version}`,
  (answer) => {
    if (answer.version !== document.getElementById("runs").dataset.version) renew(location.href);
  },
);
