"""The pages of the studio in Chromium: milliseconds to the first paint, and bytes without images.

    python -m benchmarks.page_paint RUNS --pairs 5

RUNS is a folder of runs, and every page of each finished one is opened. The goals are 500 ms on the same machine and
150 KB. Each page is opened so often, in turns, in a tab of its own; the first time nothing of the run has been read.
It needs Playwright and a Chromium (scripts/install-browser).
"""

import json
import re
import time
from typing import Any
from urllib.request import urlopen

from benchmarks import common

PAINT_MS = "performance.getEntriesByType('paint').find((entry) => entry.name === 'first-paint').startTime"
SENT_BYTES = """['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
  .filter((entry) => !/picture|thumbnail/.test(entry.name)).reduce((sum, entry) => sum + entry.encodedBodySize, 0)"""
WHOLE = """document.querySelector('[data-pending]') === null && document.readyState === 'complete'
  && performance.getEntriesByType('paint').length > 0"""
RUN_PAGES = ("", "/mistakes", "/classes", "/calibration", "/ranking", "/network", "/data", "/images/0")
PLACES = ("/runs", "/design", "/design?network=resnet50", "/data", "/lab", "/predict")
PATIENCE_S = 120.0


def main() -> None:
    """Run the benchmark."""
    from tests.web_pages import started_browser

    from saccade import api

    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("runs")
    arguments = parser.parse_args()
    header = common.start(arguments)
    with api.studio(arguments.runs) as studio, started_browser() as browser:
        opened: dict[str, list[tuple[float, int]]] = {path: [] for path in _paths(studio.url)}
        for _ in range(1 if arguments.smoke else arguments.pairs):
            for path, found in opened.items():
                found.append(_measured(browser, studio.url + path))
    lines = [f"{'page':42} {'first, ms':>10} {'median, ms':>11} {'most, ms':>9} {'KB':>6}"]
    for path, found in opened.items():
        paints = sorted(paint_ms for paint_ms, _ in found)
        most_kb = max(sent for _, sent in found) / 1000
        lines.append(f"{path:42} {found[0][0]:10.0f} {paints[len(paints) // 2]:11.0f} {paints[-1]:9.0f} {most_kb:6.0f}")
    common.report(arguments, {"header": header, "pages": opened}, "\n".join(lines))


def _paths(url: str) -> list[str]:
    """The pages of every place, of every finished run, and of the data sets."""
    with urlopen(f"{url}/api/runs", timeout=60) as answer:
        runs = [f"/runs/{row['id']}" for row in json.load(answer)["runs"] if row["state"] == "finished"]
    with urlopen(f"{url}/data", timeout=60) as answer:
        sets = re.findall(r'href="(/data/[^"?]+)"', answer.read().decode())
    return [*PLACES, *(f"{run}{page}" for run in runs for page in RUN_PAGES), *dict.fromkeys(sets)]


def _measured(browser: Any, address: str) -> tuple[float, int]:
    """(milliseconds to the first paint, bytes without images) of a page in a tab of its own."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    try:
        page.goto(address)
        until_s = time.monotonic() + PATIENCE_S
        while not page.evaluate(WHOLE) and time.monotonic() < until_s:
            page.wait_for_timeout(50)
        return page.evaluate(PAINT_MS), page.evaluate(SENT_BYTES)
    finally:
        page.close()


if __name__ == "__main__":
    main()
