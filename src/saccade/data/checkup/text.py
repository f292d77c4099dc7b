"""A check-up as a person reads it: faults first, then figures."""

from ...core.display import figure, table_lines
from ...core.errors import printable, shell_word
from .findings import KINDS, Finding
from .inspection import Inspection

MAX_GROUPS = 5
MAX_KEYS = 4
MAX_CLASSES = 30


def inspection_text(inspection: Inspection, width: int = 0) -> str:
    """The whole check-up, for `width` columns of a terminal (0: as wide as it gets). Long lists are cut with their
    number said; `--json` has all."""
    lines = [inspection.headline(), *inspection.looked_for(), ""]
    for finding in inspection.findings:
        lines += [*_finding_lines(finding), ""]
    lines += _count_lines(inspection, width)
    lines += ["", *_figure_lines(inspection)]
    if inspection.task.tells_wrong_labels and inspection.is_opened:  # what is refused, no run can judge
        lines.append(
            f"labels  not checked by looking: with a trained RUN, saccade evaluate RUN {shell_word(inspection.source)} "
            f"--label-errors FILE"
        )
    is_listed = any(finding.kind == "left_out" for finding in inspection.findings)
    lines += [f"note: {note}" for note in inspection.notes if not (is_listed and _says_what_is_listed(note))]
    return "\n".join(lines)


def _says_what_is_listed(note: str) -> bool:
    """Whether a note counts the files that are listed by name already; images beside the class folders are not."""
    return " passed over: " in note and "beside the class folders" not in note


def _finding_lines(finding: Finding) -> list[str]:
    number = len(finding.groups)
    if finding.kind == "refused":
        message = [line for note in finding.notes for line in note.splitlines()]
        return [f"{KINDS[finding.kind]}:", *(f"  {printable(line)}" for line in message)]
    lines = [f"{number:,} x {KINDS[finding.kind]}"]
    for keys, note in list(zip(finding.groups, finding.notes, strict=True))[:MAX_GROUPS]:
        shown = [printable(key) for key in keys[:MAX_KEYS]]
        if len(keys) > MAX_KEYS:
            shown.append(f"and {len(keys) - MAX_KEYS:,} more")
        said = f" ({printable(note).rstrip('.')})" if note else ""
        if len(shown) == 1 or finding.kind == "class_missing_from_split":
            lines.append(f"  {', '.join(shown)}{said}")
        else:
            lines += [f"  {shown[0]}{said}", *(f"    = {key}" for key in shown[1:])]
    if number > MAX_GROUPS:
        lines.append(f"  and {number - MAX_GROUPS:,} more; --json lists all")
    return lines


def _count_lines(inspection: Inspection, width: int) -> list[str]:
    splits = list(inspection.counts)
    if inspection.numbers:
        least, quarter, median, three_quarters, most, different = map(figure, inspection.numbers)
        lines = [
            f"{name}   {num:,} images" for name, num in ((split, sum(inspection.counts[split])) for split in splits)
        ]
        name = printable(inspection.classes[0])
        return [
            *lines,
            f"number  '{name}' from {least} to {most}, median {median}, half of them from {quarter} to "
            f"{three_quarters}; {different} different",
        ]
    rows = [
        [printable(name), *(f"{inspection.counts[split][label]:,}" for split in splits)]
        for label, name in enumerate(inspection.classes[:MAX_CLASSES])
    ]
    more = len(inspection.classes) - MAX_CLASSES
    total = "labels" if inspection.task.is_several else "total"
    rows.append([total, *(f"{sum(inspection.counts[split]):,}" for split in splits)])
    lines = table_lines(["class", *(f"{split:>10}" for split in splits)], rows, width=width)
    return lines + ([f"and {more:,} more classes; --json lists all"] if more > 0 else [])


def _figure_lines(inspection: Inspection) -> list[str]:
    if not inspection.size_quantiles:
        return ["No image could be decoded."]
    sizes = inspection.size_quantiles
    width, height, aspect = sizes["width_px"], sizes["height_px"], sizes["aspect"]
    modes = ", ".join(f"{_mode_words(name)}: {count:,}" for name, count in inspection.modes.items())
    mean = " ".join(f"{value:.3f}" for value in inspection.mean_C)
    std = " ".join(f"{value:.3f}" for value in inspection.std_C)
    channels = "each band in turn" if inspection.has_bands else "red green blue"
    num_readable = inspection.num_images - inspection.num_unreadable
    known = "all were" if not inspection.num_measured else "the others were"
    others = f"; {known} known from the last check-up" if inspection.num_measured < num_readable else ""
    return [
        f"width   {width[0]:.0f} to {width[2]:.0f} px, median {width[1]:.0f}",
        f"height  {height[0]:.0f} to {height[2]:.0f} px, median {height[1]:.0f}",
        f"aspect  {aspect[0]:.2f} to {aspect[2]:.2f}, median {aspect[1]:.2f} (width / height)",
        f"colour  {modes}; {inspection.num_grey:,} grey, {inspection.num_rotated:,} turned by EXIF",
        f"mean    {mean}   deviation {std}   ({channels}, 0 to 1)",
        f"decoded {inspection.num_measured:,} now{others}",
    ]


def _mode_words(mode: str) -> str:
    """A mode as Pillow calls it, but its 16 bits in words: `RGB;16` is RGB of 16 bits."""
    kind, _, bits = mode.partition(";")
    return f"{'grey' if kind == 'I' else kind} of 16 bits" if bits.startswith("16") else mode
