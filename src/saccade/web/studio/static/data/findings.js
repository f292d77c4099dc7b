// The check-up of a data set: begun, followed, shown.

import { poll } from "../live.js";
import { ask, root } from "./data.js";

const part = (name) => document.getElementById(name);
const told = part("findings-told");
const TOLD_EACH_MS = 10000; // a screen reader is not told each second

async function showPart() {
  const response = await fetch(`${root}/findings`);
  if (!response.ok) return;
  part("findings-part").innerHTML = await response.text();
}

function shows(status) {
  const isRunning = status.state === "running";
  part("check").disabled = isRunning;
  part("check").textContent = status.state === "done" ? "Check again" : "Check the images";
  part("check-progress").hidden = !isRunning;
  part("check-progress").max = Math.max(1, status.total);
  part("check-progress").value = status.done;
  part("check-count").textContent = isRunning && status.total ? `${status.done.toLocaleString("en")} of ${status.total.toLocaleString("en")}` : "";
}

function follow() {
  let toldAt = 0;
  poll(
    () => `/api${root}/findings`,
    (status) => {
      shows(status);
      if (status.state === "running") {
        if (Date.now() - toldAt > TOLD_EACH_MS) {
          toldAt = Date.now();
          told.textContent = "Looking at every image.";
        }
        return true;
      }
      told.textContent = status.state === "failed" ? status.problem : "";
      if (status.state === "done") showPart();
      return false;
    },
  );
}

async function begin() {
  told.textContent = "Looking at every image.";
  const answer = await ask(`/api${root}/findings`, { method: "POST" });
  if (answer.error) {
    told.textContent = answer.error;
    return;
  }
  shows(answer);
  follow();
}

part("check").addEventListener("click", begin);
if (part("findings").dataset.state === "running") follow();
