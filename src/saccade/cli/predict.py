"""`saccade predict RUN... FILE...`: what a trained classifier, or several together, say of images."""

from itertools import takewhile
from pathlib import Path
from typing import Any

import typer

from ..core.errors import SaccadeError, UsageError
from .argument_order import is_run, meant_command, refuse_swapped
from .asked import ALLOW_URL, AskedImages, print_bad, refuse_bad
from .missing import refuse_missing
from .output import format_table, print_json, print_notes, print_result
from .units import UNIT_OF, is_folder, print_units, refuse_without_folder, told_of


def predict(
    arguments: list[str] = typer.Argument(
        metavar="RUN... FILE-OR-FOLDER-OR-SOURCE...",
        help="A run, or several that answer together; then images, folders, sources, or - for a list on stdin.",
    ),
    top: int | None = typer.Option(
        None, "--top", min=1, metavar="N", help="How many classes to show for each image [3; in a folder 5]."
    ),
    csv: Path | None = typer.Option(
        None, "--csv", metavar="FILE", help="Write the answers to this file as they come; one that is there goes on."
    ),
    out: str | None = typer.Option(
        None,
        "--out",
        metavar="FOLDER",
        help="Write the answers there as Parquet, 4,096 images a file; it goes on, too.",
    ),
    unit_of: str = UNIT_OF,
    min_confidence: float | None = typer.Option(
        None, "--min-confidence", metavar="P", help="Below this probability, 0 to 1, there is no answer."
    ),
    precision: float | None = typer.Option(
        None,
        "--precision",
        metavar="P",
        help="Answer only where so many answers are right, such as 0.98: chosen on validation images.",
    ),
    label_studio: Path | None = typer.Option(
        None, "--label-studio", metavar="FILE", help="Write the answers there as Label Studio's pre-annotations (JSON)."
    ),
    fiftyone: Path | None = typer.Option(
        None, "--fiftyone", metavar="FOLDER", help="Write images and answers to this new folder, for FiftyOne."
    ),
    allow_url: bool = ALLOW_URL,
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    quiet: bool = typer.Option(False, "--quiet", help="Print the result and errors only."),
) -> None:
    """Classify image files. A file that cannot be read is named; the others are still answered (exit status 1)."""
    num_runs = max(1, len(list(takewhile(is_run, arguments))))  # the first is meant as a run even where none is there
    runs, paths = [Path(text) for text in arguments[:num_runs]], arguments[num_runs:]
    refuse_swapped("predict", arguments[:num_runs], paths)
    if not paths:
        meant = meant_command("predict", arguments, ["RUN", "PHOTO.jpg"])
        raise UsageError(f"predict needs a run and images: {meant or 'saccade predict RUN PHOTO.jpg'}")
    is_written = as_json or any(place is not None for place in (csv, out, label_studio, fiftyone))
    refuse_missing(runs[0], () if is_written else paths)
    from .. import api
    from ..core.errors import ImageError, printable
    from ..core.types import Prediction

    if min_confidence is not None and precision is not None:
        raise UsageError("--min-confidence and --precision both say when to answer: give one of them.")
    chosen = api.confidence_for(runs, precision) if precision is not None else None
    least = chosen.min_confidence if chosen else min_confidence
    chosen_notes = [chosen.sentence()] if chosen else []
    if sum(place is not None for place in (csv, out, label_studio, fiftyone)) > 1:
        raise UsageError("--csv, --out, --label-studio and --fiftyone each take all answers: give one of them.")
    asked = AskedImages(paths, quiet, as_json, allow_url)
    if out is not None:
        _predict_to_folder(runs, asked, out, top or 5, unit_of, least or 0.0, chosen_notes)
        return
    refuse_without_folder("--unit-of", bool(unit_of))
    top = top or 3
    if csv is not None:
        _predict_to_csv(runs, asked, csv, top, least or 0.0, chosen_notes)
        return
    if label_studio is not None or fiftyone is not None:
        _export(runs, asked, label_studio, fiftyone, least or 0.0, chosen_notes)
        return
    caveats: list[str] = []
    answers = list(api.predict(runs, asked.items, note=caveats.append, min_confidence=least or 0.0))
    good = [answer for answer in answers if isinstance(answer, Prediction)]
    bad = [answer for answer in answers if isinstance(answer, ImageError)]
    notes = dict.fromkeys([*asked.notes(), *chosen_notes]) | dict.fromkeys(
        f"{printable(answer.key)}: {' '.join(answer.notes)}" for answer in good if answer.notes
    )
    if as_json:
        print_json(
            {
                "run": ", ".join(str(run) for run in runs),
                "predictions": [_answer_json(answer, top) for answer in good],
                "errors": [{"file": error.key, "reason": error.reason} for error in bad],
                "notes": [*notes, *caveats],
                "caveats": caveats,
                "min_confidence": least,
            }
        )
    else:
        rows = [_answer_row(answer, top) for answer in good]
        if rows and good[0].labels is not None:
            print_result(format_table(["image", "labels", "next"], rows, left=3))
        elif rows and good[0].value is not None:
            print_result(format_table(["image", good[0].classes[0], "nine of ten within"], rows, left=1))
            print_result("\n".join(_no_answer_lines(good))) if any(answer.no_answer for answer in good) else None
        elif rows:
            others = [text for place in range(2, len(rows[0]) // 2 + 1) for text in (ordinal(place), "")]
            print_result(format_table(["image", "class", "probability", *others], rows, left=2))
            print_result("\n".join(_no_answer_lines(good))) if any(answer.no_answer for answer in good) else None
        if not quiet:
            print_notes([*notes, *caveats])
        for error in bad if len(answers) > 1 else ():
            print_bad(error)
    if not answers and not as_json and not quiet:
        print_notes(["No image was named, so there is no answer."])
    if bad and len(answers) == 1:
        raise bad[0]
    if bad and not good:
        raise SaccadeError(f"None of {len(bad):,} could be read.")
    if bad:
        answered = f"{len(good):,} {'was' if len(good) == 1 else 'were'} answered"
        raise SaccadeError(f"{len(bad):,} of {len(answers):,} could not be read; {answered}.")


def ordinal(place: int) -> str:
    """`2nd`, `3rd`, `4th`, `11th`, `22nd`."""
    ending = "th" if 10 <= place % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def _predict_to_csv(
    runs: list[Path], asked: AskedImages, path: Path, top: int, least: float, chosen_notes: list[str]
) -> None:
    """Answers go to the file as they come, and nothing is kept of them here."""
    from .. import api
    from ..core.errors import ImageError, printable

    caveats: list[str] = []
    counts = {"unlike_training": 0, "low_confidence": 0}
    written, answers = api.predict_to_csv(runs, asked.items, path, top, note=caveats.append, min_confidence=least)
    for answer in answers:
        if not isinstance(answer, ImageError) and answer.no_answer:
            counts[answer.no_answer] += 1
        if isinstance(answer, ImageError):
            print_bad(answer)
        elif answer.notes:
            print_notes([f"{printable(answer.key)}: {' '.join(answer.notes)}"])
    print_notes([*asked.notes(), *chosen_notes, *caveats])
    where = printable(str(path))
    if asked.as_json:
        values = {"num_before": written.num_before, "num_answered": written.num_answered, "num_bad": written.num_bad}
        values |= {f"num_{name}": number for name, number in counts.items()}
        print_json({"run": ", ".join(str(run) for run in runs), "csv": str(path), **values, "caveats": caveats})
    else:
        answered_before = written.num_before - written.num_bad_before
        before = f", after the {answered_before:,} that it held" if answered_before else ""
        answers_text = "1 answer" if written.num_answered == 1 else f"{written.num_answered:,} answers"
        if written.num_before and not written.num_answered + written.num_bad:
            print_result(f"{where} held {_all_answers(answered_before)} already.")
        else:
            print_result(f"{answers_text} written to {where}{before}.")
        if told := _withheld_words(counts, written.num_answered):
            print_result(told)
    num_bad, num_new = written.num_bad + written.num_bad_before, written.num_answered + written.num_bad
    if num_bad:
        total = written.num_before + num_new
        if num_bad == total:
            raise SaccadeError(f"No image could be used: see the column error in {where}.")
        raise SaccadeError(f"{num_bad:,} of {total:,} could not be read: see the column error in {where}.")


def _all_answers(num: int) -> str:
    return "the answer" if num == 1 else f"all {num:,} answers"


def _predict_to_folder(
    runs: list[Path], asked: AskedImages, out: str, top: int, unit_of: str, least: float, chosen_notes: list[str]
) -> None:
    """Answers go into Parquet files as they come. Unreadable images are rows there, so they do not fail the command."""
    from .. import api
    from ..core.errors import printable, shell_word

    if not is_folder(out):
        raise UsageError(
            f"--out writes a folder of Parquet files, and {printable(out)} has the ending of a file.\n"
            f"For one file of answers: --csv answers.csv; for a folder of this name: --out {shell_word(out)}/"
        )
    caveats: list[str] = []
    written = api.predict_to_folder(
        runs,
        asked.listing(),
        out,
        top,
        unit_of,
        note=caveats.append,
        min_confidence=least,
        bad=print_bad,
        told=lambda line: told_of(asked, line),
    )
    withheld = {reason: written.withheld.get(reason, 0) for reason in NO_ANSWER}
    counts = {f"num_{reason}": number for reason, number in withheld.items()}
    print_units(", ".join(map(str, runs)), asked, written, [*chosen_notes, *caveats], {**counts, "caveats": caveats})
    if not asked.as_json and (told := _withheld_words(withheld, written.num_answered)):
        print_result(told)


def _export(
    runs: list[Path],
    asked: AskedImages,
    label_studio: Path | None,
    fiftyone: Path | None,
    least: float,
    chosen_notes: list[str],
) -> None:
    """Answers go to the file `label_studio`, or else to the folder `fiftyone`."""
    from .. import api
    from ..classify.exports import configuration_path
    from ..core.errors import counted, printable

    caveats: list[str] = []
    if label_studio is not None:
        written = api.predict_to_label_studio(
            runs, asked.items, label_studio, note=caveats.append, min_confidence=least, bad=print_bad
        )
        beside = f"; the labelling configuration is {printable(str(configuration_path(label_studio)))}"
    else:
        written = api.predict_to_fiftyone(
            runs, asked.items, fiftyone or "", note=caveats.append, min_confidence=least, bad=print_bad
        )
        beside = ""
    notes = [*asked.notes(), *chosen_notes, *caveats]
    where = printable(str(written.path))
    if asked.as_json:
        counts = {"num_answered": written.num_answered, "num_bad": written.num_bad}
        counts |= {f"num_{name}": number for name, number in written.withheld.items()}
        print_json({"run": ", ".join(map(str, runs)), "out": str(written.path), **counts, "notes": notes})
    else:
        if not asked.quiet:
            print_notes(notes)
        num_withheld = sum(written.withheld.values())
        print_result(f"{counted(written.num_answered - num_withheld, 'answer')} written to {where}{beside}.")
        if told := _withheld_words(written.withheld, written.num_answered):
            print_result(told)
    refuse_bad(written.num_bad, written.num_answered, f"they are not in {where}")


def _answer_json(answer: Any, top: int) -> dict[str, Any]:
    said = {} if answer.labels is None else {"labels": list(answer.labels)}
    return {
        "key": answer.key,
        "file": answer.key,
        **said,
        **answer.said_json(top),
        "latency_ms": round(answer.latency_ms, 3),
    }


NO_ANSWER = {"unlike_training": "unlike training", "low_confidence": "no answer"}


def _answer_row(answer: Any, top: int) -> list[str]:
    from ..core.display import figure
    from ..core.errors import printable

    if answer.labels is not None:
        return _labels_row(answer, top)
    if answer.value is not None:
        number = figure(answer.value)
        number = f"{NO_ANSWER[answer.no_answer]} (if it had to: {number})" if answer.no_answer else number
        ends = " to ".join(figure(end) for end in answer.interval) if answer.interval else "-"
        return [printable(answer.key), number, ends]
    cells = [printable(answer.key)]
    for name, probability in answer.top(top):
        cells += [printable(name), f"{100 * probability:.1f} %"]
    if answer.no_answer:
        cells[1] = f"{NO_ANSWER[answer.no_answer]} (if it had to: {cells[1]})"
    return cells


def _labels_row(answer: Any, top: int) -> list[str]:
    """The image, the labels that are said, and the most probable of the others."""
    from ..core.errors import printable

    ranked = answer.top(len(answer.classes))
    said = [f"{printable(name)} {100 * probability:.1f} %" for name, probability in ranked if name in answer.labels]
    others = [
        f"{printable(name)} {100 * probability:.1f} %" for name, probability in ranked if name not in answer.labels
    ]
    labels = ", ".join(said) or "none"
    if answer.no_answer:
        labels = f"{NO_ANSWER[answer.no_answer]} (if it had to: {labels})"
    return [printable(answer.key), labels, ", ".join(others[: max(0, top - len(said))])]


def _no_answer_lines(good: list[Any]) -> list[str]:
    counts = {reason: sum(answer.no_answer == reason for answer in good) for reason in NO_ANSWER}
    return [_withheld_words(counts, len(good))]


def _withheld_words(counts: dict[str, int], total: int) -> str:
    """How many images have no answer, and why; "" where all have one."""
    words = {
        "unlike_training": "{are} unlike anything seen in training",
        "low_confidence": "{are} below the confidence asked for",
    }
    images = "image" if total == 1 else "images"
    parts = [
        words[reason].format(are=f"{number:,} {'is' if number == 1 else 'are'}")
        for reason, number in counts.items()
        if number
    ]
    if not parts:
        return ""
    num = sum(counts.values())
    has = "has" if num == 1 else "have"
    return f"{num:,} of {total:,} {images} {has} no answer: {'; '.join(parts)}."
