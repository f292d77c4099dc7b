"""`saccade evaluate RUN... SOURCE`: how good a classifier, or several together, is on images it has not seen."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..core.errors import NothingUnseen, UsageError, counted, printable
from .argument_order import is_run, meant_command, refuse_swapped
from .bad_image_option import ON_BAD_IMAGE
from .columns import FILE_COLUMN, GROUP_COLUMN, LABEL_COLUMN, LABELS, SPLIT_COLUMN, TARGET, chosen_source
from .launch import PROCESSES, is_first_process, is_member, number_of_processes, refuse_together
from .missing import refuse_missing
from .output import format_table, print_json, print_notes, print_opening, print_result

if TYPE_CHECKING:
    from ..classify.evaluation import Evaluation, MemberResult, Together
    from ..classify.label_check import LabelCheck
    from ..data.left_out import OnBadImage
    from .outputs import Output

MAX_ROWS = 40


def evaluate(
    arguments: list[str] = typer.Argument(
        metavar="RUN... SOURCE",
        help="A run, or several that answer together, then the images to judge on; with --endpoint the images alone.",
    ),
    crops: int = typer.Option(
        1, "--crops", metavar="N", help="Test-time augmentation: 1, 2, 5 or 10 crops, or a grid such as 9."
    ),
    scales: str = typer.Option(
        "1", "--scales", metavar="LIST", help="Test-time augmentation: scales such as 1,1.15, each with all crops."
    ),
    min_confidence: float | None = typer.Option(
        None, "--min-confidence", metavar="P", help="Say how many images are answered from this probability on."
    ),
    precision: float | None = typer.Option(
        None, "--precision", metavar="P", help="Say how many can be answered with so many right answers (0.98)."
    ),
    costs: Path | None = typer.Option(
        None,
        "--costs",
        metavar="FILE",
        help="A CSV table of what each answer costs for each true class; of several labels class,missed,given.",
    ),
    slices: bool = typer.Option(
        False, "--slices", help="Look where it is worse: by size, brightness, blur and folder."
    ),
    slice_column: list[str] = typer.Option(
        [], "--slice-column", metavar="NAME", help="Look where it is worse by this column of a CSV; more than once."
    ),
    corruptions: bool = typer.Option(
        False,
        "--corruptions",
        help="Judge up to 300 images with noise, blur, fog and more, in five strengths (minutes).",
    ),
    answers: Path | None = typer.Option(
        None, "--answers", metavar="FILE", help="Write every image's answer to this CSV file, as predict --csv does."
    ),
    curves: Path | None = typer.Option(
        None, "--curves", metavar="FILE", help="Write the ROC and precision-recall curves to this .csv or .json file."
    ),
    report: Path | None = typer.Option(
        None, "--report", metavar="FILE", help="Write a page of everything that was measured to this HTML file."
    ),
    mistakes: Path | None = typer.Option(
        None, "--mistakes", metavar="FILE", help="Write every wrong answer to this CSV file."
    ),
    label_errors: Path | None = typer.Option(
        None,
        "--label-errors",
        metavar="FILE",
        help="Write labels of SOURCE that are probably wrong, of training images too, to this CSV file.",
    ),
    label_count: int | None = typer.Option(
        None,
        "--label-errors-count",
        min=1,
        metavar="N",
        help="With --label-errors: write the N labels that are most likely wrong. [those probably wrong]",
    ),
    endpoint: str | None = typer.Option(
        None,
        "--endpoint",
        metavar="URL",
        help="Judge a deployed model in place of a run: a server of the Open Inference Protocol.",
    ),
    model: str | None = typer.Option(None, "--model", metavar="NAME", help="With --endpoint: the model's name there."),
    preprocessing: Path | None = typer.Option(
        None,
        "--preprocessing",
        metavar="WHAT",
        help="With --endpoint: how pixels are prepared that it takes: a run, an export, a JSON file or a network.",
    ),
    class_names: Path | None = typer.Option(
        None, "--class-names", metavar="FILE", help="With --endpoint: its classes in order, one a line."
    ),
    output: str = typer.Option("", "--output", metavar="NAME", help="With --endpoint: which output to judge."),
    file_column: str = FILE_COLUMN,
    label_column: str = LABEL_COLUMN,
    split_column: str = SPLIT_COLUMN,
    group_column: str = GROUP_COLUMN,
    labels: str = LABELS,
    target: str = TARGET,
    on_bad_image: str = ON_BAD_IMAGE,
    processes: str = PROCESSES,
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    quiet: bool = typer.Option(False, "--quiet", help="Print the result and errors only."),
) -> None:
    """Judge a run, or several together, on the images of SOURCE that are for judging: the test part, if it has one.

    With --endpoint the answers come from a server that a deployed model runs on.
    """
    if endpoint is None:
        options = {"--model": model, "--preprocessing": preprocessing, "--class-names": class_names}
        _refuse_without_endpoint(options | {"--output": output or None})
        if len(arguments) < 2:
            meant = meant_command("evaluate", arguments, ["RUN", "SOURCE"])
            raise UsageError(f"evaluate needs a run and a source: {meant or 'saccade evaluate RUN SOURCE'}")
        if sum(not is_run(text) for text in arguments) < 2:
            refuse_swapped("evaluate", arguments[:-1], arguments[-1:])
    else:
        looks = {"--crops": crops != 1, "--scales": scales != "1"}
        others = {"--precision": precision, "--corruptions": corruptions or None, "--label-errors": label_errors}
        _refuse_with_endpoint(arguments, model, looks | {name: value is not None for name, value in others.items()})
    num_processes = number_of_processes(processes, "evaluate")
    if num_processes > 1 or is_member():
        refuse_together({"--label-errors": label_errors, "--endpoint": endpoint})
    if num_processes > 1:
        from .agent import launch

        sys.exit(launch(sys.argv[1:], num_processes, max_restarts=0))
    is_first = is_first_process()
    runs, source = [Path(text) for text in arguments[:-1]], arguments[-1]
    source = chosen_source(source, file_column, label_column, split_column, group_column, labels, target)
    for run in runs:
        refuse_missing(run)
    from .. import api
    from ..data.left_out import check_on_bad_image
    from ..data.opening_line import untold
    from ..evaluate.curves_file import check_curves_file
    from .outputs import check_outputs

    if label_count is not None and label_errors is None:
        raise UsageError("--label-errors-count says how many labels --label-errors FILE writes: give that, too.")
    if label_errors is not None and len(runs) > 1:
        raise UsageError(f"--label-errors looks through the features of one run, got {len(runs)} runs.")
    if min_confidence is not None and precision is not None:
        raise UsageError("--min-confidence and --precision both say when to answer: give one of them.")
    if curves is not None:
        check_curves_file(curves)
    files = Files(answers=answers, mistakes=mistakes, curves=curves, report=report, label_errors=label_errors)
    check_outputs(files.outputs(), [source, *([costs] if costs is not None else [])])
    _refuse_unknown(runs, curves)
    on_bad = check_on_bad_image(on_bad_image)
    answering = api.Answering(min_confidence=min_confidence, precision=0.98 if precision is None else precision)
    further = api.Further(costs=costs, slices=slices, columns=tuple(slice_column), corruptions=corruptions)
    opened = untold if quiet or not is_first else print_opening
    try:
        if endpoint is None:
            evaluation = api.evaluate(
                runs,
                source,
                crops,
                _scales(scales),
                opened=opened,
                answering=answering,
                further=further,
                on_bad_image=on_bad,
            )
        else:
            token = os.environ.get("SACCADE_ENDPOINT_TOKEN", "")
            evaluation = api.evaluate_endpoint(
                endpoint,
                model or "",
                source,
                token,
                preprocessing,
                class_names,
                output,
                opened,
                answering,
                further,
                on_bad,
            )
    except NothingUnseen as error:
        if label_errors is None or mistakes is not None or report is not None or curves is not None:
            raise
        _labels_alone(runs[0], source, label_errors, label_count or 0, on_bad, as_json, error.message)
        return
    if not is_first:
        return
    checked = None
    if label_errors is not None:
        checked = api.check_labels(runs[0], source, label_errors, count=label_count or 0, on_bad_image=on_bad)
    files.write(evaluation, checked)
    if as_json:
        print_json(evaluation.as_json() | (checked.as_json() if checked else {}))
        return
    if not quiet:
        print_notes(evaluation.image_notes)
    print_evaluated("\n".join([evaluation_text(evaluation), *files.sentences(evaluation, checked)]), evaluation)


@dataclass(frozen=True, kw_only=True)
class Files:
    """What is written besides; None: not asked for."""

    answers: Path | None
    mistakes: Path | None
    curves: Path | None
    report: Path | None
    label_errors: Path | None

    def outputs(self) -> "list[Output]":
        """Each with its option, and the endings that it may have."""
        from .outputs import Output

        csv = (".csv",)
        return [
            Output(option="--answers", path=self.answers, endings=csv),
            Output(option="--mistakes", path=self.mistakes, endings=csv),
            Output(option="--label-errors", path=self.label_errors, endings=csv),
            Output(option="--curves", path=self.curves, endings=()),
            Output(option="--report", path=self.report, endings=(".html", ".htm")),
        ]

    def write(self, evaluation: "Evaluation", checked: "LabelCheck | None") -> None:
        """Write them all but the list of labels, which the check has written. Raises StorageError."""
        from .. import api

        if self.mistakes is not None:
            api.write_mistakes(evaluation, self.mistakes)
        if self.answers is not None:
            api.write_evaluated_answers(evaluation, self.answers)
        if self.curves is not None:
            api.write_curves(evaluation, self.curves)
        if self.report is not None:
            api.write_evaluation_report(evaluation, self.report, checked)

    def sentences(self, evaluation: "Evaluation", checked: "LabelCheck | None") -> list[str]:
        """Where they are."""
        told = []
        if self.mistakes is not None:
            is_number = evaluation.task.is_number
            which = "All answers, the largest error" if is_number else "The wrong answers, the most confident"
            told.append(f"{which} first, are in {printable(str(self.mistakes))}.")
            told += [evaluation.suspected_labels().sentence()] if evaluation.task.tells_wrong_labels else []
        if self.answers is not None:
            told.append(f"All answers are in {printable(str(self.answers))}.")
        if self.curves is not None:
            told.append(f"The curves are in {printable(str(self.curves))}.")
        if self.report is not None:
            told.append(f"Report: {printable(str(self.report))}")
        return [*told, _labels_text(checked, self.label_errors)] if checked is not None else told


def _refuse_without_endpoint(endpoint_options: Mapping[str, object]) -> None:
    """Raise UsageError for an option that needs --endpoint."""
    for name, value in endpoint_options.items():
        if value is not None:
            raise UsageError(f"{name} is for a deployed model: give its server, too, by --endpoint URL.")


def _refuse_with_endpoint(arguments: list[str], model: str | None, run_options: dict[str, bool]) -> None:
    """Raise UsageError for what a deployed model does not need, and for what only a run knows."""
    if model is None:
        raise UsageError(
            "--endpoint needs the name of the model on that server: --model NAME.\n"
            "'saccade serve' says it in its first line (\"Serving NAME\"), and at /api/v1/models."
        )
    if len(arguments) != 1:
        raise UsageError(
            f"With --endpoint the only argument is the images, got {len(arguments)}: "
            f"{printable(' '.join(arguments)[:200])}.\nThe deployed model answers in place of a run."
        )
    for name, is_given in run_options.items():
        if is_given:
            raise UsageError(f"{name} needs a run: it cannot be had of a deployed model. Leave it out.")


def print_evaluated(text: str, evaluation: "Evaluation") -> None:
    """Print an evaluation, its verdict and its warnings in their colours."""
    from ..evaluate.verdict import verdicts

    print_result(text, verdicts(evaluation.metrics, evaluation.kind), evaluation.caveats)


def _refuse_unknown(runs: list[Path], curves: Path | None) -> None:
    """Raise UsageError for what the runs' kind of task does not know, before any image is read."""
    from ..runs.checkpoint import find_checkpoint
    from ..runs.ensemble_folder import expand_runs

    if curves is not None and runs:  # a deployed model knows one label
        task = find_checkpoint(expand_runs(runs)[0]).manifest.task
        task.refuse_unknown("evaluate --curves", "several labels", "grade")


def _labels_alone(
    run: Path, source: str, label_errors: Path, count: int, on_bad: "OnBadImage", as_json: bool, why: str
) -> None:
    """Check the labels of images that the run learned from, which cannot judge it: labels need no unseen images."""
    from .. import api

    checked = api.check_labels(run, source, label_errors, count=count, on_bad_image=on_bad)
    if as_json:
        values = {"run": str(run), "source": source, "num_samples": 0, **checked.as_json()}
        print_json(values | {"notes": [" ".join(why.splitlines())]})
        return
    print_notes(why.splitlines()[:1])
    print_result(_labels_text(checked, label_errors))


def _labels_text(checked: "LabelCheck", path: Path | None) -> str:
    where = printable(str(path))
    num = len(checked.listed)
    asked = f"The {counted(num, 'label')} most likely wrong, suspected or not," if checked.num_asked else "The list"
    verb = "are" if checked.num_asked and num > 1 else "is"
    listed = f"{asked} {verb} in {where}, the likeliest first." if num else f"{where} lists none."
    return f"{checked.sentence()} {listed}"


def evaluation_text(evaluation: "Evaluation") -> str:
    """The verdict, the notes, calibration, what several looks or runs gain and cost, and the table of classes."""
    from ..evaluate.number_metrics import NumberMetrics
    from ..evaluate.number_words import range_rows
    from ..evaluate.verdict import class_rows, verdicts

    metrics = evaluation.metrics
    headings, rows = class_rows(metrics)
    shown = rows
    if len(rows) > MAX_ROWS and not isinstance(metrics, NumberMetrics):  # a number has one row
        shown = [rows[k] for k in sorted(range(len(rows)), key=lambda k: metrics.recall_K[k])[:MAX_ROWS]]
    lines = [
        *verdicts(metrics, evaluation.kind),
        *evaluation.caveats,
        *evaluation.notes,
        f"Judged on {evaluation.judged_on}.",
        *_other_figures(evaluation),
        *evaluation.unlike_sentences(),
    ]
    if evaluation.together:
        lines += ["", *_together_lines(evaluation.together)]
    lines += ["", format_table(headings, [[printable(cell) for cell in row] for row in shown])]
    if isinstance(metrics, NumberMetrics):
        headings, rows = range_rows(evaluation.probabilities()[:, 0], evaluation.label_N)
        return "\n".join([*lines, "", format_table(headings, rows), *_further_lines(evaluation)])
    lines += _further_lines(evaluation)
    if len(shown) < len(rows):
        lines.append(f"(the {MAX_ROWS} classes of {len(rows)} with the lowest recall; --json has all)")
    return "\n".join(lines)


def _other_figures(evaluation: "Evaluation") -> list[str]:
    from ..evaluate.label_metrics import LabelMetrics
    from ..evaluate.number_metrics import NumberMetrics
    from ..evaluate.verdict import percent

    metrics = evaluation.metrics
    if isinstance(metrics, NumberMetrics):
        return []
    calibrated = evaluation.calibrated()
    losses = f"log loss {calibrated.loss:.3f}, calibration error {percent(calibrated.ece)} %"
    if isinstance(metrics, LabelMetrics):
        chosen = f"; thresholds for {evaluation.task.thresholds_for}" if evaluation.task.thresholds_for else ""
        f1 = f"Macro-F1 {percent(metrics.macro_f1)} %, micro-F1 {percent(metrics.micro_f1)} %{chosen}"
        return [f"{f1}; {losses}."]
    top5 = f"Top-5 {percent(metrics.top5)} %, " if metrics.top5 is not None else ""
    scaled = f", with temperature {evaluation.temperature:.2f}" if evaluation.temperature != 1 else ""
    return [
        f"{top5}{'macro' if top5 else 'Macro'}-F1 {percent(metrics.macro_f1)} %; {losses}{scaled}.",
        *evaluation.answering_sentences(),
        *filter(None, [evaluation.ranking().sentence()]),
    ]


def _further_lines(evaluation: "Evaluation") -> list[str]:
    """What was asked for besides: costs, parts of the images, corrupted images."""
    from ..evaluate.slices import left_out_words, slice_rows, slice_sentences

    lines = ["", evaluation.costs.sentence()] if evaluation.costs else []
    if evaluation.slices is not None:
        headings, rows = slice_rows(evaluation.slices)
        cells = [[printable(cell) for cell in row] for row in rows]
        told = [*filter(None, [left_out_words(evaluation.slices)]), *slice_sentences(evaluation.slices)]
        told += filter(None, [evaluation.task.right_note()])
        lines += ["", format_table(headings, cells, left=2), *told]
    if evaluation.robustness:
        headings, rows = evaluation.robustness.rows()
        lines += ["", format_table(headings, rows), evaluation.robustness.sentence()]
    return lines


def together_text(evaluation: "Evaluation") -> str:
    """The verdict, the notes, and what several runs gain and cost together."""
    from ..evaluate.verdict import verdicts

    lines = _together_lines(evaluation.together) if evaluation.together else []
    qualified = [*evaluation.caveats, *evaluation.notes]
    return "\n".join([*verdicts(evaluation.metrics, evaluation.kind), *qualified, *lines])


def _together_lines(together: "Together") -> list[str]:
    from ..core.display import figure
    from ..evaluate.verdict import percent

    if len(together.members) == 1:
        return together.sentences()
    name = together.members[0].figure[0]
    show = figure if name == "mae" else percent
    rows = [
        [
            printable(str(member.run)),
            show(member.figure[1]),
            f"{show(member.figure[2])} to {show(member.figure[3])}",
            *_against_best(member),
        ]
        for member in together.members
    ]
    heading = {"map": "mAP %", "mae": "mean absolute error"}.get(name, "correct %")
    headings = ["run alone", heading, "95 % interval", "points to the best", "95 % interval", "McNemar p"]
    if name == "mae":
        headings, rows = [*headings[:3], "to the best", "95 % interval"], [row[:5] for row in rows]
    return [format_table(headings, rows), *together.sentences()]


def _against_best(member: "MemberResult") -> list[str]:
    against, error = member.against_best, member.error_against_best
    if against is None:
        return ["best", "", ""]
    if error is not None:
        return [f"{error.difference:+.3g}", f"{error.low:+.3g} to {error.high:+.3g}", ""]
    interval = f"{100 * against.low:+.1f} to {100 * against.high:+.1f}"
    p_value = "< 0.001" if against.p_value < 0.001 else f"{against.p_value:.3f}"
    return [f"{100 * against.difference:+.1f}", interval, p_value]


def _scales(text: str) -> list[float]:
    from ..core.plain_numbers import plain_float

    try:
        return [plain_float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--scales takes numbers such as 1,1.15; got '{text}'.") from None
