"""Where it is worse, under what corruptions, and at what cost: what `evaluate` was asked for besides."""

from ...classify.corrupted import Robustness
from ...evaluate.corruptions import STRENGTHS
from ...evaluate.costs import Costs
from ...evaluate.rates import percent
from ...evaluate.slices import MAX_SHOWN, Slice, left_out_words, slice_rows, slice_sentences
from ..charts import bar_chart, figure
from ..html import Child, Markup, element, section, table
from ..palette import heat_class
from .classes import interval_strip


def slices_section(slices: tuple[Slice, ...], right_note: str = "") -> Markup:
    """Warnings, corrected for the number of parts, then each part with its interval; `right_note` says what counts as
    correct, where that does not go without saying."""
    headings, plain_rows = slice_rows(slices)
    headings = [*headings[:3], "correct, 0 to 100 %", *headings[3:]]
    rows: list[list[Child]] = [
        [*row[:3], interval_strip(part.accuracy, *part.interval()), *row[3:]]
        for part, row in zip(slices[:MAX_SHOWN], plain_rows, strict=True)
    ]
    told = slice_sentences(slices)
    words = (
        "Each part is compared with all other images by Fisher's exact test; of many parts one is always the worst, so "
        "the chances are corrected for their number (Holm)."
    )
    listing = table([*headings], rows, "Accuracy on parts of the images", numeric_from=2)
    texts = [*told, words, *filter(None, [left_out_words(slices), right_note])]
    return section("slices", "Parts of the images", *(element("p", {}, text) for text in texts), listing)


def corruptions_section(found: Robustness) -> Markup:
    """The sentence, the accuracy by strength as a chart, and every corruption by strength."""
    mean_S = found.right_NKS.mean(axis=(0, 1))
    plain = float(found.right_N.mean())
    bars = [
        ("none", plain),
        *((str(strength), float(value)) for strength, value in zip(STRENGTHS, mean_S, strict=True)),
    ]
    headings, plain_rows = found.rows()
    rows = [[name, f"{percent(value)} %"] for name, value in bars]
    summary = f"{percent(plain)} % of the images as they are, {percent(float(mean_S[-1]))} % at the largest strength."
    chart = figure(
        "Correct by strength, all corruptions",
        bar_chart(bars, "strength"),
        summary,
        ["strength", "correct"],
        [[*row] for row in rows],
    )
    return section(
        "corruptions",
        "Corrupted images",
        element("p", {}, found.sentence()),
        chart,
        _heat_table(headings, plain_rows),
    )


def _heat_table(headings: list[str], rows: list[list[str]]) -> Markup:
    """Percentages over the page's heat map."""

    def cell(text: str) -> Markup:
        return element("td", {"class": heat_class(float(text) / 100)}, text)

    head = element("tr", {}, *(element("th", {"scope": "col"}, text) for text in headings))
    body = [element("tr", {}, element("th", {"scope": "row"}, row[0]), *map(cell, row[1:])) for row in rows]
    caption = "Correct answers in % by corruption and strength"
    return element(
        "div",
        {"class": "scroll matrix", "tabindex": "0", "role": "region", "aria-label": caption},
        element(
            "table",
            {},
            element("caption", {"class": "unseen"}, caption),
            element("thead", {}, head),
            element("tbody", {}, *body),
        ),
    )


def costs_section(costs: Costs) -> Markup:
    """What wrong answers cost, in one sentence."""
    return section("costs", "Costs", element("p", {}, costs.sentence()))
