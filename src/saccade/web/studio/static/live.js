// Asks an address again and again: each second, each five where the page is hidden; old data stays when it fails.

const SHOWN_MS = 1000;
const HIDDEN_MS = 5000;

export function ageWords(seconds) {
  if (seconds < 1.5) return "just now";
  if (seconds < 100) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

// Calls `take(answer)` with each JSON answer of `address()`. Ends once `take` returns false.
export function poll(address, take) {
  const lost = document.getElementById("lost");
  let failures = 0;
  let timer = 0;
  let isAsking = false;

  async function ask() {
    if (isAsking) return;
    isAsking = true;
    let goesOn = true;
    try {
      const response = await fetch(address(), { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(String(response.status));
      goesOn = take(await response.json()) !== false;
      failures = 0;
      lost.hidden = true;
    } catch (error) {
      if (!(error instanceof TypeError) && !/^\d+$/.test(error.message)) throw error;
      failures += 1;
      lost.hidden = false;
      lost.textContent = `The studio does not answer; this is what it said last. Tried ${failures} ${failures === 1 ? "time" : "times"}.`;
    } finally {
      isAsking = false;
    }
    if (goesOn) timer = setTimeout(ask, document.hidden ? HIDDEN_MS : SHOWN_MS);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    clearTimeout(timer);
    ask();
  });
  timer = setTimeout(ask, SHOWN_MS);
}
