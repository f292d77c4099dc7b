"""Which classes are confused: the matrix, the worst pairs in words, and the images behind every cell."""

from collections.abc import Callable

from ...core.types import Metrics
from ...evaluate.shown_images import SHOWN_AT_ONCE, choose_of_cells, wrong_pairs
from ..html import Markup, element, join, section, table
from ..palette import heat_class
from ..pictures import Pictures
from ..record import RunRecord

MAX_MATRIX_CLASSES = 60
PAIRS_FIRST_CLASSES = 20
MAX_PAIRS = 10
LATER_WORDS = "The largest confusions first; a cell of the matrix brings up its own images, right answers too."


def in_page(true: int, said: int) -> str:
    """Where the images of a cell are in the same page."""
    return f"#pair-{true}-{said}"


def confusion_section(record: RunRecord, pictures: Pictures) -> Markup:
    """Pairs and matrix; with many classes the pairs come first, with very many the matrix is left out."""
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


def matrix_and_pairs(
    metrics: Metrics,
    filled: set[tuple[int, int]],
    address: Callable[[int, int], str] = in_page,
    drawn_later: Markup | None = None,
) -> list[Markup]:
    """What the matrix shows, the matrix, and the pairs confused most; cells of `filled` lead to their images, at the
    `address` of (true, said). `drawn_later` stands in the place of a matrix of more than 20 classes."""
    num_classes = len(metrics.classes)
    pairs = _worst_pairs(metrics, filled, address)
    if num_classes > PAIRS_FIRST_CLASSES and drawn_later is not None:
        matrix: Markup | None = drawn_later
    else:
        matrix = _matrix(metrics, filled, address) if num_classes <= MAX_MATRIX_CLASSES else None
    parts = [pairs, matrix] if num_classes > PAIRS_FIRST_CLASSES else [matrix, pairs]
    is_later = matrix is not None and matrix is drawn_later
    shares = "darker where they are more of their row" if is_later else "and below it the share of the row"
    intro = f"Rows are the true class, columns the predicted one: the number of images, {shares}."
    if filled:
        intro += " Click a cell for its images."
    if matrix is None:
        intro = f"A matrix of {num_classes} classes is too large for a page; these are the pairs confused most."
    return [element("p", {}, intro), element("div", {"class": "beside"}, *parts)]


def _matrix(metrics: Metrics, filled: set[tuple[int, int]], address: Callable[[int, int], str]) -> Markup:
    names = metrics.classes
    head = [element("th", {"scope": "col"}, element("span", {}, name)) for name in names]
    rows = []
    for true, name in enumerate(names):
        total = int(metrics.support_K[true])
        cells = [
            _cell(metrics, true, said, total, address(true, said) if (true, said) in filled else "")
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


def _worst_pairs(metrics: Metrics, filled: set[tuple[int, int]], address: Callable[[int, int], str]) -> Markup:
    pairs = wrong_pairs(metrics)[:MAX_PAIRS]
    if not pairs:
        return element("p", {}, "Nothing is confused: every image is classified correctly.")
    rows = []
    for true, said, count in pairs:
        words = f"'{metrics.classes[true]}' as '{metrics.classes[said]}'"
        link = element("a", {"href": address(true, said)}, words) if (true, said) in filled else words
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
