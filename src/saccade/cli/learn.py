"""`saccade learn`: the ideas of the field, each with its exact numbers and a page with things to move."""

from pathlib import Path

import typer


def learn(
    topic: str = typer.Argument("", metavar="[TOPIC]", help="A topic of the list; without one, the list itself."),
    out: Path | None = typer.Option(
        None, metavar="FILE", help="Write the topic as a page with things to move: one .html file, no network."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Show an idea of the field in exact numbers, or as a page to play with."""
    from ..core.errors import UsageError, printable
    from ..learn.lesson import as_json as lesson_as_json
    from ..learn.text import lesson_text
    from ..learn.topics import TOPICS, check_page, lesson_of
    from .output import format_table, print_json, print_result, result_width

    if not topic:
        if out is not None:
            raise UsageError("--out writes the page of one topic: saccade learn edges --out edges.html")
        if as_json:
            print_json({"topics": [{"name": name, "summary": entry.summary} for name, entry in TOPICS.items()]})
            return
        rows = [[name, entry.summary] for name, entry in TOPICS.items()]
        print_result(format_table(["topic", "what there is to see"], rows, left=2))
        print_result("\nNext: saccade learn edges --out edges.html")
        return
    if out is not None:
        check_page(out)
    lesson = lesson_of(topic)
    if out is not None:
        from ..learn.page import write_page

        write_page(lesson, out)
    if as_json:
        print_json(lesson_as_json(lesson) | {"out": str(out) if out else None})
    elif out is not None:
        print_result(f"{lesson.title}\nPage: {printable(str(out))}\nOpen it in a browser.")
    else:
        print_result(lesson_text(lesson, result_width()))
        print_result(f"\nWith things to move: saccade learn {topic} --out {topic}.html")
