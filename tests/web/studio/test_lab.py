"""The Lab in a real browser: the published numbers, the cards, a photo of one's own, the filters that a run learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from tests.web_pages import Watched

from saccade.conv.filters import parse_kernel
from saccade.conv.reference import cross_correlate, full_windows
from saccade.filters.photo import FilterOptions, filter_photo
from saccade.web.process import RunningServer
from saccade.web.studio.lab.cards import cards

OUTPUT = "[...document.querySelectorAll('.cells.picked .line')].map((line) => line.innerText.split(/\\s+/))"


@pytest.fixture
def lab(browser: Any, studio: RunningServer) -> Any:
    with Watched(browser) as watched:
        watched.page.goto(f"{studio.url}/lab")
        watched.wait_until("document.querySelector('.photos canvas+canvas')?.width > 0")
        yield watched
        assert watched.told == []


def test_the_quarters_and_0_30_30_0_are_two_clicks_away(lab: Any):
    page = lab.page
    assert page.evaluate(f"{OUTPUT}[0]") == ["0", "0", "30", "30", "0", "0"]
    page.click("[data-card='0']")
    assert page.evaluate(OUTPUT) == [
        ["0", "0", "0", "0"],
        *[["30", "10", "−10", "−30"]] * 2,
        ["0", "0", "0", "0"],
    ]
    page.click(".cells.picked .line:nth-child(2) .cell:nth-child(2)")
    assert page.inner_text("#bench .total") == "Output: 10"


def test_both_operations_stand_beside_each_other_with_their_difference(lab: Any):
    lab.page.click("[data-card='5']")
    captions = lab.page.locator("#bench figcaption").all_inner_texts()
    assert captions[-2:] == ["Output by true convolution, 6×6", "Output minus that, 6×6"]
    lab.page.get_by_label("Kernel", exact=True).select_option("gaussian")
    cells = lab.page.locator("#bench figure").last.locator(".cell").all_inner_texts()
    assert set(cells) == {"0"}


def test_a_kernel_of_ones_own_is_resized_turned_and_divided(lab: Any):
    page = lab.page
    page.get_by_label("Kernel size").select_option("5")
    page.get_by_role("button", name="Negate").click()
    numbers = "[...document.querySelectorAll('input.cell')].map((input) => input.value)"
    row = ["0", "−1", "0", "1", "0"]
    assert page.evaluate(numbers) == ["0"] * 5 + row * 3 + ["0"] * 5
    page.get_by_role("button", name="Transpose").click()
    assert page.evaluate(numbers)[5:10] == ["0", "−1", "−1", "−1", "0"]
    assert page.get_by_label("Kernel", exact=True).input_value() == "your own"
    page.fill("[aria-label='Kernel, row 1, column 1']", "2,5")
    page.press("[aria-label='Kernel, row 1, column 1']", "Enter")
    assert page.evaluate(numbers)[0] == "2.5"
    page.fill("[aria-label='Kernel, row 1, column 1']", "nonsense")
    page.press("[aria-label='Kernel, row 1, column 1']", "Enter")
    assert page.evaluate(numbers)[0] == "2.5"
    page.get_by_label("Channels").select_option("3")
    page.get_by_label("Filters").select_option("2")
    assert page.locator("#bench .cells.picked").count() == 2
    assert page.locator("input.cell").count() == 2 * 3 * 25


def test_what_a_window_does_not_fit_is_said_and_nothing_else_happens(lab: Any):
    lab.page.get_by_label("Padding").fill("3")
    lab.page.get_by_label("Padding").press("Enter")
    lab.page.get_by_label("Dilation").fill("3")
    lab.page.get_by_label("Dilation").press("Enter")
    lab.page.get_by_label("Kernel size").select_option("7")
    assert "The window does not fit on the height: floor((8 + 6 - 19)/1) + 1 = -4." in lab.page.inner_text(
        "#bench .plain"
    )


def test_a_photo_of_ones_own_is_filtered_as_the_product_filters_it(lab: Any, tmp_path: Path):
    image_HW = np.random.default_rng(3).integers(0, 256, (40, 56), dtype=np.uint8)
    Image.fromarray(image_HW).save(tmp_path / "photo.png")
    (tmp_path / "note.txt").write_text("no image")
    lab.page.set_input_files("input[type=file]", tmp_path / "photo.png")
    lab.wait_until("document.querySelector('#photo .muted').textContent.startsWith('40×56')")
    response = filter_photo(image_HW[..., None], parse_kernel("vertical"), FilterOptions()).response_HWC
    said = lab.page.inner_text("#photo .muted >> nth=0").replace("−", "-")
    assert said.startswith(f"40×56 → 38×54, values {response.min():g} to {response.max():g}: orange above zero")
    lab.page.focus(".photos canvas+canvas")
    lab.page.keyboard.press("ArrowDown")
    assert lab.page.inner_text("#photo .total").replace("−", "-") == f"row 2, column 1: {response[1, 0, 0]:g}"
    lab.page.set_input_files("input[type=file]", tmp_path / "note.txt")
    lab.wait_until("document.querySelector('#photo [role=alert]').textContent")
    assert lab.page.inner_text("#photo [role=alert]") == "note.txt is not an image that this browser reads."


def test_a_filter_that_a_run_has_learned_comes_to_the_bench(lab: Any):
    page = lab.page
    page.select_option("#run", label="second")
    lab.wait_until("!document.querySelector('#filter').parentNode.hidden")
    assert "filters of the first layer" in page.inner_text("#learned-words")
    page.fill("#filter", "2")
    page.press("#filter", "Enter")
    assert page.evaluate("document.querySelectorAll('input.cell').length") > 0


def test_a_box_twice_is_one_5x5():
    (card,) = (card for card in cards() if card.topic == "vgg")
    twice = np.array(card.state["kernel"])[0, 0]
    box = parse_kernel("box").weights_HW[None, None]
    assert_allclose(twice, cross_correlate(box, box, full_windows(box[0, 0]))[0, 0], atol=1e-15)


def test_the_address_holds_the_bench_so_that_a_reload_and_a_link_show_the_same(lab: Any):
    page = lab.page
    assert "#" not in page.url
    page.click("[data-card='5']")
    page.get_by_label("Stride").fill("2")
    page.get_by_label("Stride").press("Enter")
    page.get_by_label("View").select_option("clipped")
    page.click("#bench .cells.picked .line:nth-child(2) .cell:nth-child(3)")
    lab.wait_until("location.hash.includes('at=1,2')")
    shown = "[document.getElementById('bench').innerText, document.querySelector('#photo .muted').innerText]"
    before = page.evaluate(shown)
    page.reload()
    lab.wait_until("document.querySelector('#photo .muted')?.textContent.includes('cut to 0 to 255')")
    assert page.evaluate(shown) == before
    for wrong in ("kernel=1,2", "image=1,2_3", "stride=9", "nothing=1", "kernel=a,b", "pool=7", "image=", "at=-1,0"):
        page.evaluate(f"location.hash = '{wrong}'")
        lab.wait_until("document.getElementById('address-words').textContent.startsWith('The address says nothing')")
        assert page.evaluate(f"{OUTPUT}[0]") == ["0", "0", "30", "30", "0", "0"]
        page.evaluate("location.hash = 'stride=1'")
        lab.wait_until("document.getElementById('address-words').textContent === ''")


def test_a_topic_of_learn_opens_from_the_lab(lab: Any):
    lab.page.click("text=Learn: edges")
    lab.page.wait_for_selector("h1 >> text=Edges: nine numbers find them")
    lab.wait_until("document.querySelector('.bench .cells') !== null")  # its script runs under its own policy
