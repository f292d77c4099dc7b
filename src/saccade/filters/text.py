"""The report of `saccade filter` in words: the kernel, the size formula, the range, and what the colours mean."""

import numpy as np

from ..core.errors import printable
from .laboratory import FilterReport, Lesson

INDENT = 11


def report_as_text(report: FilterReport) -> str:
    """Lines for a person, without a final line break."""
    result = report.result
    (height, width), channels = result.input_size_hw, result.response_HWC.shape[2]
    out_height, out_width = result.response_HWC.shape[:2]
    kind = "grey" if channels == 1 else "colour, each channel by itself"
    heading, kind = ("numbers", "") if report.is_numbers and channels == 1 else ("photo", f", {kind}")
    lines = [
        _line(heading, f"{printable(str(report.photo))}, {height}x{width} (height x width){kind}"),
        _line("operation", f"{report.operation}, padding {report.options.padding}, stride {report.options.stride}"),
        *(_lesson_lines(report.lesson) if report.lesson else _kernel_lines(report)),
        _line("size", f"{height}x{width} -> {out_height}x{out_width}"),
        _line("", f"height {result.formulas[0]}, width {result.formulas[1]}"),
        _line("values", f"{result.response_HWC.min():.6g} to {result.response_HWC.max():.6g}"),
        *_value_lines(report),
        *(_line("note", note) for note in report.notes),
    ]
    if report.output.path is not None and report.view is not None:
        is_picture = report.output.path.suffix.lower() != ".npy"
        lines.append(_line("view", report.view.scale if is_picture else "the numbers themselves, float64 (H, W, C)"))
        lines.append(_line("written", printable(str(report.output.path))))
    if report.output.sheet is not None:
        lines.append(_line("sheet", printable(str(report.output.sheet))))
    return "\n".join(lines)


def _value_lines(report: FilterReport) -> list[str]:
    """All numbers of a small result, channel after channel."""
    if not report.is_shown_whole:
        return []
    channels_CHW = report.result.response_HWC.transpose(2, 0, 1)
    names = ("result",) if len(channels_CHW) == 1 else ("red", "green", "blue")
    lines = []
    for name, channel_HW in zip(names, channels_CHW):
        rows = format_rows(channel_HW, "{:.6g}")
        lines += [_line(name if number == 0 else "", row) for number, row in enumerate(rows)]
    return lines


def _kernel_lines(report: FilterReport) -> list[str]:
    title = f"{printable(report.kernel.name)}: {report.kernel.source}"
    return [_line("kernel", title), *(_line("", row) for row in format_rows(report.result.weights_HW, "{:.6g}"))]


def _lesson_lines(lesson: Lesson) -> list[str]:
    """The learned numbers, beside the true ones where a named kernel made the target."""
    learned = lesson.learned
    pattern = "{:.4f}" if 0.01 <= np.abs(learned.weights_HW).max() < 1e5 else "{:.4g}"
    rows = format_rows(learned.weights_HW, pattern)
    title, body = f"from {printable(lesson.target)}", rows
    beside_HW = lesson.nearest.weights_HW if lesson.nearest else lesson.true_HW
    if beside_HW is not None:
        true_rows = format_rows(beside_HW, pattern)
        what = f"{lesson.nearest.name}, the nearest named kernel" if lesson.nearest else f"the true {lesson.target}"
        title = f"{'numbers':{len(rows[0])}}   beside {printable(what)}"
        body = [f"{row}   {true_row}" for row, true_row in zip(rows, true_rows)]
    steps = f"{len(learned.losses) - 1} steps of gradient descent on {learned.num_examples:,} window positions"
    losses = f"mean squared error {learned.losses[0]:.4g} -> {learned.losses[-1]:.4g}"
    return [
        _line("learned", title),
        *(_line("", row) for row in body),
        _line("descent", f"{steps}; {losses}"),
        _fit(lesson),
    ]


def _fit(lesson: Lesson) -> str:
    parts = [f"bias {lesson.learned.bias:.3g}"]
    if lesson.relative_error is not None:
        parts.insert(0, f"relative error {lesson.relative_error:.1e}")
    if lesson.learned.explained is not None:
        parts.append(f"explains {100 * max(lesson.learned.explained, 0.0):.2f} % of the target's variance")
    return _line("fit", ", ".join(parts))


def format_rows(weights_HW: np.ndarray, pattern: str) -> list[str]:
    """One line per row, columns to the right, no minus sign before a zero."""
    cells = [[_without_minus_zero(pattern.format(value)) for value in row] for row in weights_HW.tolist()]
    width = max(len(cell) for row in cells for cell in row)
    return ["  ".join(cell.rjust(width) for cell in row) for row in cells]


def _without_minus_zero(text: str) -> str:
    return text.removeprefix("-") if float(text) == 0 else text


def _line(heading: str, text: str) -> str:
    return f"{heading:{INDENT}}{text}".rstrip()
