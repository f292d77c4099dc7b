"""What every page has to be, asked of a real Chromium: it fits, asks nobody else, says nothing wrong, can be read.

`sync_api` and a Chromium may be missing: `start_browser` then skips the test with the reason.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
REBOUND = "--host-resolver-rules=MAP evil.test 127.0.0.1"  # a name of somebody else that leads to this machine
LOOKS = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]  # theme, width in pixels

# axe does not look at text inside drawings; this measures it against what is painted behind.
SVG_CONTRAST = """() => {
  const channels = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const found = [];
  for (const text of document.querySelectorAll('svg text')) {
    let node = text, ground = null;
    while (node && !ground) { const c = channels(getComputedStyle(node).backgroundColor);
      if (c.length === 3 || c[3] > 0) ground = c; node = node.parentElement; }
    const a = light(channels(getComputedStyle(text).fill)) + 0.05, b = light(ground) + 0.05;
    found.push([text.textContent, Math.max(a, b) / Math.min(a, b)]);
  }
  return found;
}"""
OVERFLOW_PX = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Controls that are shown and that Tab does not reach.
NOT_REACHED = """[...document.querySelectorAll('a[href], button, input, select, textarea, summary')].filter(
  (part) => part.tabIndex < 0 && !part.disabled && part.checkVisibility()).map((part) => part.outerHTML.slice(0, 90))"""

TWICE = """[...document.querySelectorAll('[id]')].map((part) => part.id)
  .filter((id, place, all) => all.indexOf(id) !== place)"""


@contextmanager
def started_browser() -> Iterator[Any]:
    """A headless Chromium; the test is skipped where there is none, or no Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if not CHROMIUM:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", REBOUND])
        yield browser
        browser.close()


class Watched:
    """A page in a theme and a width, with what it asked for and what its console said."""

    def __init__(self, browser: Any, scheme: str = "light", width_px: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width_px, "height": 900}, color_scheme=scheme)
        self.told: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *ending: object) -> None:
        self.page.close()

    def wait_until(self, expression: str) -> None:
        """Wait until JavaScript is true: the policy of our pages forbids Playwright's own `wait_for_function`."""
        for _ in range(1200):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{expression} never came; the page says {self.page.inner_text('body')!r}")

    def problems(self, with_axe: bool = True) -> list[str]:
        """What is wrong with the page as it stands now; empty where nothing is. axe takes a second."""
        home = urlsplit(self.page.url).netloc
        found = [f"console: {text}" for text in self.told]
        found += [
            f"asks {url}"
            for url in self.requests
            if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != home
        ]
        overflow_px = self.page.evaluate(OVERFLOW_PX)
        found += [f"{overflow_px} px too wide"] if overflow_px > 0 else []
        found += [f"no Tab to {text}" for text in self.page.evaluate(NOT_REACHED)]
        found += [f"two elements have the id {name}" for name in self.page.evaluate(TWICE)]
        found += [
            f"contrast {ratio:.2f} of '{text}'" for text, ratio in self.page.evaluate(SVG_CONTRAST) if ratio < 4.5
        ]
        return found + (self._axe() if with_axe else [])

    def _axe(self) -> list[str]:
        """What axe finds, where it is installed."""
        try:
            from axe_playwright_python.sync_playwright import Axe
        except ImportError:
            return []
        violations = Axe().run(self.page).response["violations"]
        return [f"axe {each['id']}: {each['nodes'][0]['html'][:200]}" for each in violations]
