// What every page does: the theme, the keys, the list of keys.

import { offerSaving } from "./drawing.js";
import { remember, remembered } from "./memory.js";

const root = document.documentElement;

function startTheme() {
  const select = document.getElementById("theme");
  select.value = root.dataset.theme ?? "";
  select.addEventListener("change", () => {
    remember("theme", select.value);
    if (select.value) root.dataset.theme = select.value;
    else delete root.dataset.theme;
  });
}

function isTyping(target) {
  return target.closest?.("input:not([type=checkbox]), select, textarea, [contenteditable]") !== null;
}

function startKeys() {
  const help = document.getElementById("help");
  const single = document.getElementById("single-keys");
  single.checked = remembered("single-keys", "on") === "on";
  single.addEventListener("change", () => remember("single-keys", single.checked ? "on" : "off"));
  document.getElementById("help-button").addEventListener("click", () => help.showModal());
  let waitsForPlace = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || !single.checked) return;
    if (waitsForPlace) {
      waitsForPlace = false;
      const link = document.querySelector(`header.bar nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
      }
    } else if (event.key === "g") {
      waitsForPlace = true;
      setTimeout(() => (waitsForPlace = false), 1500);
    } else if (event.key === "?") {
      event.preventDefault();
      if (!help.open) help.showModal();
    }
  });
}

function startCopying() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy).innerText.trim();
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      button.textContent = "Selected: copy it";
    }
    setTimeout(() => (button.textContent = before), 2000);
  });
}

startTheme();
startKeys();
startCopying();
offerSaving(document);
