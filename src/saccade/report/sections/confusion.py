"""Which classes are confused: the matrix, the worst pairs in words, and the images behind every cell."""

import json

import numpy as np

from ...core.errors import printable
from ...core.types import Metrics
from ...evaluate.shown_images import SHOWN_AT_ONCE, choose_of_cells, wrong_pairs
from ..html import Markup, element, join, section, table
from ..palette import heat_class, heat_step
from ..pictures import Pictures
from ..record import RunRecord

MAX_WHOLE_CLASSES = 20  # of a matrix that is there without scripts
IN_PAGE = "#pair-{true}-{said}"  # where the images of a cell are in the same page
MAX_PAIRS = 10
LATER_WORDS = "The largest confusions first; a cell of the matrix brings up its own images, right answers too."


def confusion_section(record: RunRecord, pictures: Pictures) -> Markup:
    """Pairs and matrix, and the images of its cells; with many classes the pairs come first."""
    metrics = record.metrics
    shown = choose_of_cells(metrics, record.logits_NK, record.label_N, record.temperature, record.task)
    galleries = [
        _gallery(record, pictures, pair, positions, number >= SHOWN_AT_ONCE)
        for number, (pair, positions) in enumerate(shown.items())
    ]
    filled = {pair for pair, gallery in zip(shown, galleries) if gallery is not None}
    images = [gallery for gallery in galleries if gallery is not None]
    behind = (
        [
            element("h3", {"id": "behind"}, "Images of the matrix"),
            element("p", {}, LATER_WORDS) if len(images) > SHOWN_AT_ONCE else None,
            element("div", {"class": "galleries"}, *images),
        ]
        if images
        else []
    )
    return section("confusion", "Confusion matrix", *matrix_and_pairs(metrics, filled), *behind)


def matrix_and_pairs(metrics: Metrics, filled: set[tuple[int, int]], address: str = IN_PAGE) -> list[Markup]:
    """What the matrix shows, the matrix, and the pairs confused most; cells of `filled` lead to their images, at
    `address`, which has {true} and {said} for the numbers of the classes."""
    is_large = len(metrics.classes) > MAX_WHOLE_CLASSES
    pairs = _worst_pairs(metrics, filled, address)
    parts = [pairs, _drawn_later(metrics, address)] if is_large else [_matrix(metrics, filled, address), pairs]
    shares = "darker where they are more of their row" if is_large else "and below it the share of the row"
    intro = f"Rows are the true class, columns the predicted one: the number of images, {shares}."
    if filled:
        is_every = len(filled) == np.count_nonzero(metrics.confusion_KK)
        intro += f" Click {'a' if is_every or not is_large else 'an underlined'} cell for its images."
    return [element("p", {}, intro), element("div", {"class": "beside"}, *parts)]


def _drawn_later(metrics: Metrics, address: str) -> Markup:
    """The place of a matrix of many classes, with what `matrix.js` draws it from: the cells that are not empty, with
    the rows in view alone. As markup 200 classes were 40,000 cells."""
    rows: list[list[int]] = [[] for _ in metrics.classes]
    for true, said in np.argwhere(metrics.confusion_KK).tolist():
        count = int(metrics.confusion_KK[true, said])
        rows[true] += [said, count, heat_step(count / int(metrics.support_K[true]))]
    names = [printable(name) for name in metrics.classes]
    found = {"classes": names, "support": metrics.support_K.tolist(), "rows": rows}
    cells = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    attributes = {"class": "scroll matrix large", "tabindex": "0", "role": "region", "aria-label": "Classes by classes"}
    words = element("noscript", {}, f"A matrix of {len(names)} classes is drawn by a script.")
    return element("div", {**attributes, "data-address": address, "data-cells": cells}, words)


def _matrix(metrics: Metrics, filled: set[tuple[int, int]], address: str) -> Markup:
    names = metrics.classes
    head = [element("th", {"scope": "col"}, element("span", {}, name)) for name in names]
    rows = []
    for true, name in enumerate(names):
        total = int(metrics.support_K[true])
        cells = [
            _cell(metrics, true, said, total, _at(address, true, said) if (true, said) in filled else "")
            for said in range(len(names))
        ]
        rows.append(element("tr", {}, element("th", {"scope": "row"}, name), *cells))
    corner = element("th", {"scope": "col"}, "true \\ predicted")
    return element(
        "div",
        {"class": "scroll matrix", "tabindex": "0", "role": "region", "aria-label": "Classes by classes"},
        element(
            "table",
            {},
            element(
                "caption", {"class": "unseen"}, "Confusion matrix: rows are the true class, columns the predicted one"
            ),
            element("thead", {}, element("tr", {}, corner, *head)),
            element("tbody", {}, *rows),
        ),
    )


def _at(address: str, true: int, said: int) -> str:
    return address.replace("{true}", str(true)).replace("{said}", str(said))


def _cell(metrics: Metrics, true: int, said: int, total: int, leads_to: str) -> Markup:
    count = int(metrics.confusion_KK[true, said])
    if not count:
        return element("td", {})
    share = element("small", {}, whole_percent(count, total))
    content = join([f"{count:,}", share])
    if leads_to:
        words = f"{count:,} images of '{metrics.classes[true]}' predicted as '{metrics.classes[said]}': show"
        content = element("a", {"href": leads_to, "aria-label": words}, content)
    is_right = " right" if true == said else ""
    return element("td", {"class": f"{heat_class(count / total)}{is_right}"}, content)


def whole_percent(count: int, total: int) -> str:
    """`12 %`; what is neither none nor all is never rounded to it."""
    if 200 * count <= total:
        return "<1 %"
    return ">99 %" if count < total and 200 * count >= 199 * total else f"{100 * count / total:.0f} %"


def _worst_pairs(metrics: Metrics, filled: set[tuple[int, int]], address: str) -> Markup:
    pairs = wrong_pairs(metrics)[:MAX_PAIRS]
    if not pairs:
        return element("p", {}, "Nothing is confused: every image is classified correctly.")
    rows = []
    for true, said, count in pairs:
        words = f"'{metrics.classes[true]}' as '{metrics.classes[said]}'"
        link = element("a", {"href": _at(address, true, said)}, words) if (true, said) in filled else words
        rows.append([link, f"{count:,}", f"{100 * count / metrics.support_K[true]:.1f} %"])
    title = element("h3", {}, "Confused most")
    headings = ["true class and predicted", "images", "of its class"]
    return element("div", {}, title, table(headings, rows, "Pairs of classes confused most"))


def _gallery(
    record: RunRecord, pictures: Pictures, pair: tuple[int, int], positions: list[int], on_request: bool
) -> Markup | None:
    true, said = pair
    names = record.classes
    thumbnails = [pictures.thumbnail(position, record.keys[position]) for position in positions]
    items = [element("li", {}, picture) for picture in thumbnails if picture is not None]
    if not items:
        return None
    count = int(record.metrics.confusion_KK[true, said])
    more = f", {len(items)} shown" if len(items) < count else ""
    title = (
        f"'{names[true]}' predicted as '{names[said]}'" if true != said else f"'{names[true]}', right but least sure"
    )
    return element(
        "section",
        {"id": f"pair-{true}-{said}", "class": "gallery later" if on_request else "gallery", "tabindex": "-1"},
        element("h4", {}, title, element("small", {}, f" {count:,} image{'s' if count != 1 else ''}{more}")),
        element("ul", {"class": "thumbnails"}, *items),
    )
