"""A lesson as one file that opens without a network: text, numbers, styles, scripts and their data are all in it.

The policy allows the one style and the one script whose digests it has, and no connection at all. Modules are written
one after the other into that script, each after those that it imports.
"""

import base64
import json
import re
from importlib.resources import files
from pathlib import Path

from .. import __version__
from ..core import atomic
from ..report.document import closed_document
from ..report.html import Child, Markup, element, join, section, table
from ..report.palette import stylesheet
from ..report.signed_steps import grey_step, signed_step, steps_stylesheet
from .lesson import Command, Drawing, Equation, Lesson, Matrix, Part, Picture, Section, Table, Toy, Words, cell_text
from .text import number_text, readable

STYLES = (("report", "page.css"), ("filters", "page_files/bench.css"), ("learn", "page_files/learn.css"))
START = ("learn", "start.js")
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.]+)";\n', re.M)
EXPORT = re.compile(r"^export (?:class|function|const) (\w+)", re.M)
FOLDERS = ("filters", "learn")


def write_page(lesson: Lesson, out: Path) -> None:
    """Write the page of `lesson` to `out`, durably. Raises StorageError."""
    atomic.write_text(out, page_html(lesson))


def page_html(lesson: Lesson) -> str:
    """The page as text."""
    sections = [_section(number, one) for number, one in enumerate(lesson.sections, start=1)]
    links = [element("a", {"href": f"#part{number}"}, one.title) for number, one in enumerate(lesson.sections, start=1)]
    header = element(
        "header",
        {},
        element("p", {"class": "kicker"}, f"saccade learn {lesson.name}"),
        element("h1", {}, lesson.title),
        element("p", {"class": "lead"}, lesson.lead),
        element("nav", {"aria-label": "Parts of the page"}, *links),
    )
    footer = element("footer", {}, element("p", {}, f"Computed by Saccade {__version__}. 'saccade learn' lists all."))
    skip = element("a", {"class": "skip", "href": "#main"}, "Skip to the content")
    body = join([skip, header, element("main", {"id": "main"}, *sections), footer])
    return _document(lesson, body)


def _section(number: int, one: Section) -> Markup:
    return section(f"part{number}", one.title, *map(_part, one.parts))


def _part(part: Part) -> Markup:
    match part:
        case Words(text):
            return element("p", {}, text)
        case Equation(terms):
            return element("div", {"class": "stage still"}, *map(_term, terms))
        case Table():
            rows: list[list[Child]] = [[cell_text(cell) for cell in row] for row in part.rows]
            return table(list(part.headings), rows, part.caption, part.numeric_from)
        case Toy():
            return _toy(part)
        case Drawing():
            return _drawing(part)
        case Picture():
            return _picture(part)
        case Command():
            line = element("pre", {"tabindex": "0"}, part.line)
            return join([element("p", {"class": "what"}, f"{part.what}:"), line])


def _term(term: Matrix | str) -> Markup:
    if isinstance(term, str):
        return element("span", {"class": "sign"}, "∗" if term == "*" else term)
    value_HW, low, high = term.value_HW, float(term.value_HW.min()), float(term.value_HW.max())
    rows = []
    for row in readable(value_HW).tolist():
        cells = [
            element("td", {"class": f"cell {_shade(term, value, low, high)}"}, number_text(value)) for value in row
        ]
        rows.append(element("tr", {}, *cells))
    grid = element("table", {"class": "numbers"}, element("tbody", {}, *rows))
    return element("figure", {"class": "sheet"}, element("figcaption", {}, term.name), grid)


def _shade(term: Matrix, value: float, low: float, high: float) -> str:
    if term.shade == "none":
        return "s0"
    return grey_step(value, min(low, 0.0), high) if term.shade == "grey" else signed_step(value, max(-low, high))


def _toy(toy: Toy) -> Markup:
    """The place of a thing to move; the script fills it from its data, which is no script."""
    data = json.dumps(toy.settings, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return element(
        "div",
        {"class": "toy"},
        element("h3", {}, toy.title),
        element("p", {}, toy.hint),
        element("div", {"class": "bench", "data-toy": toy.kind}, element("p", {}, "This needs JavaScript.")),
        Markup(f'<script type="application/json">{data}</script>'),
    )


def _drawing(part: Drawing) -> Markup:
    named = part.svg.replace("<svg ", f'<svg role="img" aria-label="{element("i", {}, part.summary).text[3:-4]}" ', 1)
    return element(
        "figure",
        {"class": "chart"},
        element("h3", {}, part.title),
        Markup(named),
        element("figcaption", {}, part.summary),
    )


def _picture(part: Picture) -> Markup:
    images = []
    for caption, png in part.images:
        source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
        image = element("img", {"src": source, "alt": caption})
        images.append(element("figure", {}, image, element("figcaption", {}, caption)))
    return join([element("h3", {}, part.title), element("div", {"class": "row"}, *images)])


def _document(lesson: Lesson, body: Markup) -> str:
    style = stylesheet() + steps_stylesheet() + "".join(_read(room, name) for room, name in STYLES)
    return closed_document(lesson.title, body, style, bundle(START[1]), "data: blob:", is_module=True)


def bundle(name: str) -> str:
    """The module `name` and all that it imports as the text of one script, each in a scope of its own."""
    order: list[str] = []
    _visit(name, order)
    return "\n".join(_scoped(each) for each in order)


def _visit(name: str, order: list[str]) -> None:
    if name not in order:
        for _, imported in IMPORT.findall(_module(name)):
            _visit(imported, order)
        order.append(name)


def _scoped(name: str) -> str:
    """A constant that holds what the module exports."""
    text = _module(name)
    exported = ", ".join(EXPORT.findall(text))
    body = IMPORT.sub(lambda found: f"const {{{found[1]}}} = {_constant(found[2])};\n", text)
    body = re.sub("^export ", "", body, flags=re.M)
    return f"const {_constant(name)} = (() => {{\n{body}return {{ {exported} }};\n}})();"


def _constant(name: str) -> str:
    return f"module_{name.partition('.')[0]}"


def _module(name: str) -> str:
    room = next(room for room in FOLDERS if files(f"saccade.{room}").joinpath("page_files", name).is_file())
    return _read(room, f"page_files/{name}")


def _read(room: str, name: str) -> str:
    return files(f"saccade.{room}").joinpath(name).read_text(encoding="utf-8")
