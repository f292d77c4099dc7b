"""HTML that is escaped by construction: text is text, markup only comes from `element` and `join`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ..core.errors import printable

Attributes = Mapping[str, str | int | float | bool]
_VOID = {"img", "meta", "rect", "line", "br", "circle"}


@dataclass(frozen=True)
class Markup:
    """HTML that needs no escaping any more."""

    text: str

    def __html__(self) -> str:
        """What a template takes for markup."""
        return self.text


Child = Markup | str | None


def element(name: str, attributes: Attributes, *children: Child) -> Markup:
    """`<name ...>children</name>`: texts and values are escaped, None is left out, True is a bare attribute."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is True:
            parts.append(f" {key}")
        elif value is not False:
            parts.append(f' {key}="{_escaped(f"{value:g}" if isinstance(value, float) else str(value))}"')
    if name in _VOID:
        return Markup("".join([*parts, "/>"]))
    return Markup("".join([*parts, ">", join(children).text, f"</{name}>"]))


def join(children: Iterable[Child]) -> Markup:
    """Several pieces one after the other; texts are escaped."""
    return Markup(
        "".join(child.text if isinstance(child, Markup) else _escaped(child) for child in children if child is not None)
    )


def table(headings: Sequence[Child], rows: Sequence[Sequence[Child]], caption: str, numeric_from: int = 1) -> Markup:
    """A table with a caption for screen readers; columns from `numeric_from` on are figures, aligned to the right."""

    all_numbers = numeric_from == 1  # said once, of the table: of many rows it is most of their bytes
    kinds = [name for name, holds in (("sortable", len(rows) > 2), ("numbers", all_numbers)) if holds]

    def cell(position: int, content: Child) -> Markup:
        kind = {"class": "number"} if position >= numeric_from and not all_numbers else {}
        if position == 0:
            return element("th", {"scope": "row"}, content)
        return element("td", kind, content)

    head = [
        element("th", {"scope": "col"} | ({"class": "number"} if i >= numeric_from else {}), heading)
        for i, heading in enumerate(headings)
    ]
    body = [element("tr", {}, *(cell(i, content) for i, content in enumerate(row))) for row in rows]
    return element(
        "div",
        {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": caption},
        element(
            "table",
            {"class": " ".join(kinds)} if kinds else {},
            element("caption", {"class": "unseen"}, caption),
            element("thead", {}, element("tr", {}, *head)),
            element("tbody", {}, *body),
        ),
    )


def section(identifier: str, title: str, *children: Child) -> Markup:
    """A part of the page with its heading."""
    heading = element("h2", {"id": f"{identifier}-title"}, title)
    return element("section", {"id": identifier, "aria-labelledby": f"{identifier}-title"}, heading, *children)


def folded(summary: str, *children: Child) -> Markup:
    """Details that open on request."""
    return element("details", {}, element("summary", {}, summary), *children)


def _escaped(text: str) -> str:
    return escape("\n".join(printable(line) for line in text.split("\n")), quote=True)
