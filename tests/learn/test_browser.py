"""The pages of `saccade learn` and the arithmetic behind them in a real browser, against the float64 reference.

One browser and one tab for all; skipped, with the reason, where there is none.
"""

import json
import re
from collections.abc import Iterator
from importlib import resources, util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tests.learn.made import lesson_of
from tests.ship.chromium import Tab, chromium, require_chromium

from saccade.conv import reference
from saccade.conv.filters import parse_kernel, steer
from saccade.conv.geometry import Window
from saccade.filters.photo import FilterOptions, filter_photo
from saccade.learn.page import bundle, write_page
from saccade.learn.topics import TOPICS

UNEVEN = [[0, 1, 4, 9, 16], [8, 2, 15, 13, 13], [15, 2, 8, 16, 9], [4, 1, 0, 1, 4], [9, 16, 8, 2, 15]]
SOBEL, EMBOSS = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]

RUN_CASES = """cases.map(({image, shape, kernel, size, bias, mode, flip, vertical, horizontal}) => {
  const map = c.makeMap(...shape, image), filters = c.makeKernel(...size, kernel);
  const windows = [vertical, horizontal].map(({kernel, ...rest}) => c.makeWindow(kernel, rest));
  return Array.from((flip ? c.convolve : c.crossCorrelate)(map, filters, windows, {mode, bias}).values);
})"""
RUN_POOLS = """cases.map(({image, shape, vertical, horizontal}) => {
  const map = c.makeMap(...shape, image);
  const windows = [vertical, horizontal].map(({kernel, ...rest}) => c.makeWindow(kernel, rest));
  return [c.maxPool(map, windows), c.averagePool(map, windows), c.averagePool(map, windows, false)]
    .map((output) => Array.from(output.values));
})"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(require_chromium(), tmp_path_factory.mktemp("profile")) as tabs:
        opened = tabs()
        for name in ("bench", "photo", "descent", "pool", "sharing", "sizes", "counts"):
            opened.ask(f"(() => {{{bundle(f'{name}.js')}; globalThis.{name} = module_{name}; }})()")
        opened.ask(f"(() => {{{bundle('convolution.js')}; globalThis.c = module_convolution; }})()")
        yield opened


def random_windows(draw: np.random.Generator, shape: tuple[int, int], kernel: tuple[int, int]) -> list[Window]:
    """Windows that fit."""
    found = []
    for size, taps in zip(shape, kernel):
        pads = tuple(int(pad) for pad in draw.integers(0, min(taps, 3), 2))
        dilation = int(draw.integers(1, 3)) if (taps - 1) * 2 < size else 1
        found.append(Window(taps, int(draw.integers(1, 4)), pads, dilation))
    return found


def as_settings(window: Window) -> dict[str, int]:
    before, after = window.pads
    settings = {"kernel": window.kernel, "stride": window.stride, "dilation": window.dilation}
    return settings | {"before": before, "after": after}


def run(tab: Tab, program: str, cases: list[dict[str, Any]]) -> list[Any]:
    return tab.ask(f"(() => {{ const cases = {json.dumps(cases)}; return {program}; }})()")


def test_convolution_is_the_reference_in_every_combination(tab: Tab):
    draw = np.random.default_rng(5)
    cases, expected = [], []
    for number in range(120):
        channels, filters = (int(count) for count in draw.integers(1, 4, 2))
        shape = tuple(int(size) for size in draw.integers(4, 11, 2))
        kernel = tuple(int(size) for size in draw.integers(1, 5, 2))
        windows = random_windows(draw, shape, kernel)
        image_CHW, kernel_OIHW = draw.normal(size=(channels, *shape)), draw.normal(size=(filters, channels, *kernel))
        bias_O = draw.normal(size=filters)
        mode, flip = ("zero", "reflect", "replicate")[number % 3], number % 2 == 1
        padded = reference.pad(image_CHW[None], tuple(windows), mode)
        bare = tuple(Window(window.kernel, window.stride, 0, window.dilation) for window in windows)
        operate = reference.convolve if flip else reference.cross_correlate
        expected.append(operate(padded, kernel_OIHW, bare)[0] + bias_O[:, None, None])
        cases.append(
            {
                "image": image_CHW.ravel().tolist(),
                "shape": image_CHW.shape,
                "kernel": kernel_OIHW.ravel().tolist(),
                "size": kernel_OIHW.shape,
                "bias": bias_O.tolist(),
                "mode": mode,
                "flip": flip,
                "vertical": as_settings(windows[0]),
                "horizontal": as_settings(windows[1]),
            }
        )
    for found, output_OHW in zip(run(tab, RUN_CASES, cases), expected, strict=True):
        assert_allclose(np.reshape(found, output_OHW.shape), output_OHW, rtol=0, atol=1e-12)


def test_pooling_is_the_reference_with_and_without_counted_padding(tab: Tab):
    draw = np.random.default_rng(6)
    cases, expected = [], []
    for _ in range(60):
        shape = tuple(int(size) for size in draw.integers(4, 11, 2))
        taps = tuple(int(size) for size in draw.integers(2, 4, 2))
        windows = tuple(
            Window(size, int(draw.integers(1, 4)), tuple(int(pad) for pad in draw.integers(0, size // 2 + 1, 2)))
            for size in taps
        )
        image_CHW = draw.normal(size=(2, *shape))
        batch = image_CHW[None]
        expected.append(
            [
                reference.max_pool(batch, windows),
                reference.average_pool(batch, windows),
                reference.average_pool(batch, windows, count_include_pad=False),
            ]
        )
        pair = {"vertical": as_settings(windows[0]), "horizontal": as_settings(windows[1])}
        cases.append({"image": image_CHW.ravel().tolist(), "shape": image_CHW.shape} | pair)
    for found, outputs in zip(run(tab, RUN_POOLS, cases), expected, strict=True):
        for values, output_BCHW in zip(found, outputs, strict=True):
            assert_allclose(np.reshape(values, output_BCHW.shape), output_BCHW, rtol=0, atol=1e-12)


VECTORS = [
    (SOBEL, "crossCorrelate", {}, [[11, 44, 9], [-11, 39, 4], [-16, 0, 16]]),
    (SOBEL, "convolve", {}, [[-11, -44, -9], [11, -39, -4], [16, 0, -16]]),
    (EMBOSS, "crossCorrelate", {}, [[26, 60, 28], [-22, 5, -17], [-3, 0, 5]]),
    (EMBOSS, "convolve", {}, [[-22, -30, -2], [26, 11, 49], [5, 0, -3]]),
    (SOBEL, "crossCorrelate", {"stride": 2, "before": 1}, [[4, 27, -31], [7, 39, -46], [33, -28, -5]]),
]


@pytest.mark.parametrize(("kernel", "operation", "window", "expected"), VECTORS)
def test_the_published_vectors_come_out_exactly(
    tab: Tab, kernel: list[list[int]], operation: str, window: dict[str, int], expected: list[list[int]]
):
    windows = f"[0, 1].map(() => c.makeWindow(3, {json.dumps(window)}))"
    maps = f"c.mapOfRows({UNEVEN}), c.kernelOfRows({kernel})"
    assert (
        tab.ask(f"c.rowsOf(c.{operation}({maps}, {windows})).map((row) => row.map((value) => value + 0))") == expected
    )


def test_sizes_coverage_and_refusals_are_the_geometrys(tab: Tab):
    for size in range(3, 12):
        for kernel, stride, pad, dilation in ((3, 1, 0, 1), (3, 2, 1, 1), (2, 3, 0, 2), (5, 2, 2, 1)):
            window = Window(kernel, stride, pad, dilation)
            made = f"c.makeWindow({kernel}, {json.dumps(as_settings(window))})"
            assert tab.ask(f"c.sizeFormula({size}, {made})") == window.formula(size)
            assert tuple(tab.ask(f"c.coverage({size}, {made})")) == window.coverage(size)
    for made in ("c.makeWindow(0)", "c.makeWindow(3, {stride: 0})", "c.makeWindow(3, {before: -1})"):
        refused = f"(() => {{ try {{ {made}; }} catch (error) {{ return error.name; }} }})()"
        assert tab.ask(refused) == "RangeError", made


def test_the_terms_of_a_sum_add_up_to_the_output(tab: Tab):
    draw = np.random.default_rng(7)
    state = {"image": draw.integers(0, 9, (3, 6, 7)).tolist(), "kernel": draw.integers(-3, 4, (2, 3, 3, 3)).tolist()}
    state |= {"operation": "true convolution", "padding": 1, "mode": "reflect", "stride": 2, "dilation": 1}
    state |= {"bias": None, "relu": True, "pool": "max 2x2"}
    found = tab.ask(
        f"""(() => {{ const result = bench.calculate({json.dumps(state)});
        const {{height, width}} = result.output, sums = [];
        for (let filter = 0; filter < 2; filter++) for (let row = 0; row < height; row++)
          for (let column = 0; column < width; column++)
            sums.push(bench.termsOf(result, filter, row, column).flat().reduce((sum, term) => sum + term.product, 0));
        return [sums, Array.from(result.output.values), Array.from(result.pooled.values)]; }})()"""
    )
    padded = reference.pad(np.array(state["image"])[None], (Window(3, padding=1),) * 2, "reflect")
    expected = reference.convolve(padded, np.array(state["kernel"]), (Window(3, 2),) * 2)
    pooled = reference.max_pool(np.maximum(expected, 0), (Window(2, 2),) * 2)
    assert found[0] == found[1] == expected.ravel().tolist()
    assert found[2] == pooled.ravel().tolist()


@pytest.mark.parametrize("padding", ["valid", "zero", "reflect", "replicate"])
def test_a_photo_is_filtered_as_the_product_filters_it(tab: Tab, padding: str):
    pixels_HWC = np.random.default_rng(9).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    options = FilterOptions(padding=padding, stride=2, true_convolution=True, grey=True)
    expected_HWC = filter_photo(pixels_HWC, parse_kernel("emboss"), options).response_HWC
    rgba = np.concatenate([pixels_HWC, np.full((9, 11, 1), 255, np.uint8)], axis=2).ravel().tolist()
    mode = "zero" if padding == "valid" else padding
    state = {"kernel": [[EMBOSS]], "operation": "true convolution", "mode": mode, "stride": 2, "dilation": 1}
    state |= {"padding": 0 if padding == "valid" else 1, "bias": None, "relu": False, "pool": "none"}
    response = f"photo.respond(photo.mapOfPixels({rgba}, 9, 11, 1), {json.dumps(state)}).response"
    assert_allclose(np.ravel(tab.ask(f"Array.from({response}.values)")), expected_HWC.ravel(), atol=1e-10)


def test_a_kernel_is_turned_as_the_product_turns_it_and_descent_finds_it(tab: Tab):
    rows = parse_kernel("scharr-x").weights_HW
    for degrees in (0, 30, 45, 70, 135, 290):
        turned = tab.ask(f"descent.steer({rows.tolist()}, {degrees})")
        assert_allclose(turned, steer(rows, degrees), atol=1e-12)
    image = json.dumps(np.random.default_rng(8).integers(0, 10, (12, 12)).tolist())
    learned = tab.ask(
        f"""(() => {{ const found = descent.momentsOf({image}), truth = descent.steer({rows.tolist()}, 70).flat();
        let weights = truth.map(() => 1);
        for (let step = 0; step < 4000; step++) {{
          const {{gradient}} = descent.lossOf(found, weights, truth);
          weights = weights.map((value, index) => value - 0.9 / found.steepest * gradient[index]);
        }}
        return weights; }})()"""
    )
    assert_allclose(learned, steer(rows, 70).ravel(), atol=1e-6)


def test_the_calculators_count_as_the_product_does(tab: Tab):
    assert tab.ask("sharing.countBoth({side: 32, channels: 3, f: 5, filters: 6})") == {
        "out": 28,
        "dense": 14_450_688,
        "convolution": 456,
    }
    block = "{side: 28, channels: 192, filters: 32, kernel: 5, width: 16}"
    found = tab.ask(f"counts.countBottleneck({block})")
    assert (found["naive"], found["reduced"] + found["behind"]) == (120_422_400, 12_443_648)
    assert tab.ask("counts.totalLoss([1, 2, 3], 0.5)") == 3.5
    pooled = "pool.poolRows([[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]], {kind: 'max', f: 2, s: 2, p: 0})"
    assert tab.ask(f"c.rowsOf({pooled}.output)") == [[9, 2], [6, 3]]


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe, or nothing where it is not installed."""
    if util.find_spec("axe_playwright_python") is None:
        return ""
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
# SVG text against what is painted behind the drawing; axe does not look at it.
FAINT = """(() => {
  const numbers = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = (colour) => { const [r, g, b] = colour.slice(0, 3).map((v) => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  return [...document.querySelectorAll('svg text, .cell')].flatMap((text) => {
    let node = text, ground = null;
    while (node && !ground) { const c = numbers(getComputedStyle(node).backgroundColor);
      if (c.length === 3 || c[3] > 0) ground = c; node = node.parentElement; }
    const style = getComputedStyle(text);
    const ink = numbers(text.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const [a, b] = [light(ink) + 0.05, light(ground) + 0.05];
    const ratio = Math.max(a, b) / Math.min(a, b);
    return ratio < 4.5 ? [[text.textContent, text.getAttribute('class'), ratio]] : [];
  });
})()"""


@pytest.mark.parametrize("name", TOPICS)
def test_every_page_opens_alone_and_fits_in_both_themes(tab: Tab, axe: str, name: str, tmp_path: Path):
    path = tmp_path / f"{name}.html"
    write_page(lesson_of(name), path)
    tab.requests.clear()
    tab.problems.clear()
    tab.look(1280, "light")
    tab.open(path.as_uri())
    tab.wait_for("document.readyState === 'complete'")
    toys = "[...document.querySelectorAll('[data-toy]')]"
    assert tab.ask(f"{toys}.length") > 0, "a thing to move"
    assert tab.ask(f"{toys}.filter((toy) => toy.children.length < 2).length") == 0, "each is there"
    for width_px in (1280, 390):
        for scheme in ("light", "dark"):
            tab.look(width_px, scheme)
            assert tab.ask(OVERFLOW) <= 0, (width_px, scheme)
            assert tab.ask(FAINT) == [], (width_px, scheme)
    if axe:
        tab.ask(axe + ";0")
        broken = "axe.run().then((found) => found.violations.map((one) => [one.id, one.nodes[0].html.slice(0, 200)]))"
        assert tab.ask(broken) == []
    assert tab.problems == []
    assert {address for address in tab.requests if not address.startswith("data:")} == {path.as_uri()}
    assert path.stat().st_size < 400_000
    assert len(re.sub(r"data:image[^\"']*", "", path.read_text(encoding="utf-8"))) < 150_000, "without its images"


def test_0_30_30_0_is_reproduced_and_every_number_can_be_walked_to(tab: Tab, tmp_path: Path):
    path = tmp_path / "edges.html"
    write_page(lesson_of("edges"), path)
    tab.open(path.as_uri())
    tab.wait_for("document.querySelector('.stepper') !== null")
    output = "[...document.querySelectorAll('.bench .cells.picked .line')].map((line) => line.innerText.split(/\\s+/))"
    assert tab.ask(f"{output}[0]") == ["0", "0", "30", "30", "0", "0"]
    next_button = "[...document.querySelectorAll('.stepper button')].at(-1)"
    tab.ask(f"(() => {{ for (let turn = 0; turn < 2; turn++) {next_button}.click(); }})()")
    assert tab.ask("document.querySelector('.total').innerText") == "Output: 30"
    assert (
        tab.ask("document.querySelector('.terms tr').innerText.split('\\t').join(' ')") == "10 × 1 10 × 0 0 × −1 = 10"
    )
    tab.ask("const brush = document.querySelector('.controls select'); brush.value = '0'; 0")
    tab.ask("brush.dispatchEvent(new Event('change'))")
    key = "new KeyboardEvent('keydown', {key: 'Enter', bubbles: true})"
    tab.ask(f"document.querySelector('.cells.painted .cell').dispatchEvent({key})")
    assert tab.ask(f"{output}[0]") == ["−10", "0", "30", "30", "0", "0"]
