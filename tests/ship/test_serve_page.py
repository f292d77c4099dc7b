"""The page to try a server by, in a real browser: a photo gives the server's answer; nothing else is asked for."""

import shutil
from pathlib import Path

import pytest

for package in ("onnx", "openvino", "starlette", "uvicorn", "httptools", "python_multipart"):
    pytest.importorskip(package, reason="the extras 'export' and 'serve' are not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("chromium is not installed", allow_module_level=True)

from saccade import api  # noqa: E402

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
NOT_REACHED = "[...document.querySelectorAll('input, select, pre')].filter((part) => part.tabIndex < 0).length"


def test_a_photo_gives_bars_with_the_answer_of_predict_in_light_and_dark(run: Path, exported: Path, tmp_path: Path):
    photo = exported / "check" / "image-1.png"
    (prediction,) = api.predict(run, photo)
    first = prediction.top(1)[0][0]
    said = f"Answer of {run.name}: {first}."
    if prediction.unlike_training:
        said = f"{run.name}: unlike anything seen in training; if it had to answer: {first}."
    (tmp_path / "no.png").write_bytes(b"no image")
    with api.serve(exported, threads=1, deadline_s=60) as server, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme, width_px in [("light", 1280), ("dark", 390)]:
            page = browser.new_page(color_scheme=scheme, viewport={"width": width_px, "height": 900})
            told, addresses = [], []
            page.on("console", lambda message, told=told: told.append(message.text))
            page.on("pageerror", lambda error, told=told: told.append(str(error)))
            page.on("request", lambda request, addresses=addresses: addresses.append(request.url))
            page.goto(server.url)
            page.wait_for_function("document.getElementById('about').textContent.includes('10 classes')")
            page.set_input_files("#file", photo)
            page.wait_for_selector("#result:not([hidden])")
            rows = [row.inner_text().split() for row in page.query_selector_all("#bars tr")]
            assert rows == [[name, f"{100 * value:.1f}", "%"] for name, value in prediction.top(5)]
            assert page.inner_text("#said") == said
            assert page.evaluate("document.getElementById('photo').naturalWidth") == 640
            assert (page.evaluate(OVERFLOW), page.evaluate(NOT_REACHED)) == (0, 0)
            page.set_input_files("#file", tmp_path / "no.png")
            page.wait_for_selector("#said.bad")
            assert page.inner_text("#said").startswith("Not an image that can be read")
            assert [text for text in told if "422" not in text] == []  # what the browser itself says of the refusal
            assert {address.partition("?")[0] for address in addresses if not address.startswith("blob:")} == {
                f"{server.url}/",
                f"{server.url}/api/v1/models",
                f"{server.url}/api/v1/predict",
                "data:,",
            } - ({"data:,"} if "data:," not in addresses else set())
            page.close()
        browser.close()
