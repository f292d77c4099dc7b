"""Building blocks of the report: escaping, contrast, charts."""

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from saccade.core.types import Preprocessing
from saccade.explain.colour import overlay
from saccade.explain.gradcam import EvidenceMap
from saccade.report.charts import Axis, Series, calibration_chart, line_chart
from saccade.report.html import element, join, table
from saccade.report.palette import DARK, LIGHT, contrast, heat_class, heat_colours, readable_on
from saccade.report.pictures import Pictures
from saccade.report.sections.confusion import whole_percent
from saccade.report.sections.mistakes import evidence_picture


def test_text_and_attributes_are_escaped_and_markup_is_not():
    inner = element("b", {}, "<&>\"'")
    assert inner.text == "<b>&lt;&amp;&gt;&quot;&#x27;</b>"
    outer = element("p", {"title": '"><script>', "hidden": True, "x": 0.5, "lang": False}, inner, None, "\x1b[31m")
    assert outer.text == f'<p title="&quot;&gt;&lt;script&gt;" hidden x="0.5">{inner.text}\\x1b[31m</p>'
    assert join(["a\nb", element("br", {})]).text == "a\nb<br/>"


def test_a_table_has_headings_for_rows_and_columns():
    text = table(["name", "n"], [["cat", "1"]], "Animals").text
    assert '<th scope="row">cat</th><td>1</td>' in text
    assert '<th scope="col">name</th>' in text
    assert '<caption class="unseen">Animals</caption>' in text


def test_contrast_is_that_of_the_standard():
    assert contrast("#FFFFFF", "#000000") == 21
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_colour_is_readable_on_every_ground(theme: dict[str, str]):
    for name in ("ink", "muted", "accent", "good", "bad", "warn", "series1", "series2"):
        for ground in ("surface",) if name.startswith("series") else ("ground", "surface"):
            assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground)


def test_digits_are_readable_on_every_step_of_the_heat_map():
    assert min(contrast(readable_on(colour), colour) for colour in heat_colours()) >= 4.5
    assert (heat_class(0), heat_class(0.001), heat_class(0.5), heat_class(1)) == ("", "heat1", "heat5", "heat10")


def test_charts_take_the_colours_of_the_page_and_carry_no_style():
    x = [1, 2, 3]
    series = [Series("train", [2.0, 1.0, 0.5], x), Series("validation", [2.1, None, 0.8], x)]
    svg = line_chart(series, (Axis(title="epoch", kind="epochs"), Axis(title="loss")), 2)
    assert not re.search(r'"#0[1-5]0[1-5]0[1-5]"', svg)
    assert not re.search(r"\b(style|class|role|id|xmlns:xlink)=", svg)
    assert 'stroke="var(--series1)"' in svg
    assert 'stroke="var(--series2)"' in svg
    assert "stroke-dasharray" in svg
    assert [text for text in re.findall(r">([\d.]+)</text>", svg) if text in "123"] == ["1", "2", "3"]
    assert {"train", "validation"} <= set(re.findall(r">(\w+)</text>", svg))


@pytest.mark.parametrize("values", [[0.5], [0.0, 0.0], [1.0, 1.0, 1.0], [1e-6, 1e3]])
def test_charts_survive_single_and_equal_values(values: list[float]):
    x = list(range(1, len(values) + 1))
    kind = "log" if values[-1] == 1e3 else "percent"
    svg = line_chart([Series("only", values, x)], (Axis(title="epoch", kind="epochs"), Axis(title="y", kind=kind)), 1)
    assert "NaN" not in svg


def test_the_calibration_chart_shows_every_bin():
    rows = [{"confidence": c, "accuracy": c - 0.1, "low": c - 0.2, "high": c} for c in (0.3, 0.6, 0.9)]
    svg = calibration_chart(rows)
    assert svg.count('fill="var(--series1)"') == 3


@pytest.mark.parametrize(
    ("count", "total", "words"),
    [
        (1, 1000, "<1 %"),
        (5, 1000, "<1 %"),
        (6, 1000, "1 %"),
        (994, 1000, "99 %"),
        (995, 1000, ">99 %"),
        (7, 7, "100 %"),
    ],
)
def test_a_share_of_a_row_is_never_rounded_to_none_or_all(count: int, total: int, words: str):
    assert whole_percent(count, total) == words


def pixels_in(markup: object) -> np.ndarray:
    content = base64.b64decode(re.search(r"base64,([^\"]+)", markup.text)[1])
    return np.asarray(Image.open(io.BytesIO(content)))


def test_of_sixteen_bits_and_five_channels_the_first_three_are_shown():
    pixels = Preprocessing(channels="bands", depth_bits=16, white_16_bit=1023, mean=(0.5,) * 5, std=(0.2,) * 5)
    pictures = Pictures(SimpleNamespace(manifest=SimpleNamespace(preprocessing=pixels)))
    seen_HWC = np.random.default_rng(0).integers(0, 1024, (12, 10, 5), dtype=np.uint16)
    shown_HWC = np.floor(seen_HWC[:, :, :3].astype(np.float64) * 255 / 1023 + 0.5).astype(np.uint8)
    assert np.array_equal(pixels_in(pictures.picture(seen_HWC, "a")), shown_HWC)
    map_HW = np.linspace(0, 1, 120).reshape(12, 10)
    evidence = EvidenceMap(evidence_hw=map_HW, map_HW=map_HW, layer="stage1", class_name="a")
    found = pixels_in(evidence_picture(evidence, seen_HWC, pictures, "for it"))
    assert np.array_equal(found, overlay(shown_HWC, map_HW))


def test_of_a_long_training_the_first_the_last_and_the_kept_epoch_are_drawn():
    from saccade.report.sections.curves import MAX_DRAWN, thinned
    from saccade.runs.log import EpochEvent

    epochs = [EpochEvent(epoch=k, train_loss=1.0, train_accuracy=0.5, is_best=k == 4321) for k in range(1, 5001)]
    drawn = [event.epoch for event in thinned(epochs)]
    assert (drawn[0], drawn[-1], 4321 in drawn) == (1, 5000, True)
    assert MAX_DRAWN - 1 <= len(drawn) <= MAX_DRAWN
    assert max(b - a for a, b in zip(drawn, drawn[1:])) <= 35
    assert thinned(epochs[:MAX_DRAWN]) == tuple(epochs[:MAX_DRAWN])


def test_a_long_line_is_drawn_by_the_least_and_the_greatest_of_each_stretch():
    from saccade.report.sections.curves import MAX_DRAWN, MAX_POINTS, extremes

    draw = np.random.default_rng(0)
    value_N = draw.normal(size=100_000)
    value_N[43_217], value_N[99_998] = 50.0, -50.0
    places = extremes(value_N.tolist())
    assert len(places) <= MAX_POINTS + 2
    assert {0, 43_217, 99_998, 99_999} <= set(places)
    for number in range(MAX_DRAWN):
        stretch_N = value_N[100_000 * number // MAX_DRAWN : 100_000 * (number + 1) // MAX_DRAWN]
        assert {stretch_N.min(), stretch_N.max()} <= {value_N[place] for place in places}
    assert extremes([None, 1.0, None, 2.0]) == [1, 3]


def test_a_mean_that_is_smoothed_is_the_weighted_mean_of_what_came_before():
    from saccade.report.sections.curves import smoothed

    values = [3.0, None, 1.0, 4.0, 1.5]
    known = np.array([3.0, 1.0, 4.0, 1.5])
    expected = [
        float((known[: k + 1] * 0.8 ** np.arange(k, -1, -1)).sum() / (0.8 ** np.arange(k, -1, -1)).sum())
        for k in range(4)
    ]
    found = smoothed(values, 0.8)
    assert found[1] is None
    assert [value for value in found if value is not None] == pytest.approx(expected)
    assert smoothed(values, 0.0) == values


@pytest.mark.parametrize(
    ("by", "ends", "title", "shown"),
    [
        ("epoch", (3, 6), "epoch", "3 6"),
        ("step", (80, 160), "step", "80 160"),
        ("time", (7200, 14_400), "hours", "7200 14400"),
        ("epoch", (50, 60), "epoch", "1 8"),
    ],
)
def test_a_stretch_of_the_curves_is_drawn_along_epochs_steps_or_time(
    by: str, ends: tuple[float, float], title: str, shown: str
):
    from saccade.report.sections.curves import CurveView, curves_section
    from saccade.runs.log import EpochEvent

    epochs = [
        EpochEvent(epoch=k, train_loss=1 / k, train_accuracy=0.5, seconds=3600, step=40 * k, is_best=k == 2)
        for k in range(1, 9)
    ]
    view = CurveView(by=by, low=ends[0], high=ends[1], smoothing=0.5)  # type: ignore[arg-type]
    text = curves_section(epochs, False, view).text
    assert f'data-x="{shown}"' in text
    assert f">{title}<" in text
    assert "data-plot=" in text
    assert text.count("stroke-opacity") + text.count("opacity=") >= 2  # the values behind their means
    assert "Strong lines are means in which what went before weighs 0.50." in text


def test_lines_of_several_runs_keep_their_colours_and_their_names_do_not_meet():
    from saccade.report.charts import Axis, Line, overlay_chart

    lines = [Line(name, number, [1, 2, 3], [0.5, 0.6, 0.7]) for name, number in (("A", 1), ("C", 3), ("F", 6))]
    svg = overlay_chart(lines, (Axis(kind="epochs"), Axis()))
    assert [f"var(--series{number})" in svg for number in range(1, 7)] == [True, False, True, False, False, True]
    places = [
        float(re.search(r"translate\([\d.]+,([\d.]+)\)", text)[1])  # type: ignore[index]
        for text in re.findall(r"<text [^>]*>(?=[ACF]<)", svg)
    ]
    assert len(places) == 3
    assert min(abs(a - b) for a, b in zip(sorted(places), sorted(places)[1:])) >= 12
