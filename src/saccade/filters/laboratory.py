"""What `saccade filter` does: read the photo, apply or learn a kernel, write the picture, report in words or JSON."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..conv.filters import Kernel, nearest_kernel, parse_kernel
from ..core.atomic import write_bytes
from ..core.errors import UsageError, brief
from ..core.plain_numbers import check_seed
from .matrix import CSV_SUFFIX, holds_numbers, read_input
from .photo import FilterOptions, FilterResult, filter_photo
from .sheet import sheet_png
from .target import LearnedKernel, Target, read_target, relative_error
from .view import NUMBERS_SUFFIX, View, check_out, check_sheet, check_show, make_view, write_response

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", NUMBERS_SUFFIX, CSV_SUFFIX)
MAX_LEARNED_SIZE = 15
MAX_SHOWN_SIDE = 16  # rows and columns of a result that is printed whole
MAX_JSON_VALUES = 100_000
GOOD_FIT = 0.99


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the result goes and how it is shown; `path` None writes nothing."""

    path: Path | None = None
    show: str = "auto"
    sheet: Path | None = None  # the photo beside the answer, with a legend


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What was learned; the named kernel that made the target, where one did; for a file the one it comes near to."""

    learned: LearnedKernel
    target: str
    true_HW: np.ndarray | None
    nearest: Kernel | None

    @property
    def relative_error(self) -> float | None:
        return None if self.true_HW is None else relative_error(self.learned.weights_HW, self.true_HW)

    def notes(self) -> tuple[str, ...]:
        """What a person should know before trusting the numbers."""
        notes = []
        if self.learned.num_undetermined:
            notes.append(
                f"The photo leaves {self.learned.num_undetermined} of the {self.learned.weights_HW.size} numbers open "
                f"(it is flat or regular in those directions); the smallest numbers that fit are shown."
            )
        if self.learned.explained is None:
            notes.append("The target is flat: every value is the same, so a constant answers it.")
        elif self.learned.explained < GOOD_FIT:
            notes.append(
                "No single kernel of this size turns the photo into this target. A target picture holds the values "
                "themselves (--show clipped --grey), a .npy file all of them; 'signed' and 'absolute' pictures do not."
            )
        return tuple(notes)


@dataclass(frozen=True, kw_only=True)
class FilterReport:
    """Everything that `saccade filter` prints."""

    photo: Path
    kernel: Kernel
    options: FilterOptions
    result: FilterResult
    output: Output
    view: View | None = None
    lesson: Lesson | None = None

    @property
    def operation(self) -> str:
        return "true convolution" if self.options.true_convolution else "cross-correlation"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know; of a learned kernel not what flipping does, for its zeros are only nearly zero."""
        own = self.lesson.notes() if self.lesson else (self.result.flip_note,)
        return (*own, *self.result.coverage_notes, *self._size_notes())

    @property
    def is_numbers(self) -> bool:
        """Whether a file of numbers was filtered, not a photo."""
        return holds_numbers(self.photo)

    @property
    def is_shown_whole(self) -> bool:
        """Whether the result is small enough to print all its numbers."""
        height, width = self.result.response_HWC.shape[:2]
        return bool(max(height, width) <= MAX_SHOWN_SIDE)

    def _size_notes(self) -> tuple[str, ...]:
        if not self.is_numbers or self.is_shown_whole:
            return ()
        return (
            f"Results of up to {MAX_SHOWN_SIDE}x{MAX_SHOWN_SIDE} are printed whole; --out NAME.npy keeps this one.",
        )


def apply_kernel(photo: Path, kernel_text: str, options: FilterOptions, output: Output) -> FilterReport:
    """Filter `photo` by the kernel that `kernel_text` names. Raises UsageError, DataError, ImageError, StorageError."""
    kernel = parse_kernel(kernel_text)
    image_HWC = _prepare(photo, output)
    result = filter_photo(image_HWC, kernel, options)
    return FilterReport(
        photo=photo,
        kernel=kernel,
        options=options,
        result=result,
        output=output,
        view=_write(result, output, image_HWC, f"{photo.name}: {kernel.name}"),
    )


def learn_from_photo(
    photo: Path, target_text: str, options: FilterOptions, output: Output, kernel_size: int, seed: int
) -> FilterReport:
    """Learn the kernel that turns `photo` into the target: a picture, a .npy file, or the response of a named kernel.

    `kernel_size` counts for files; a named kernel has its own. Raises UsageError, DataError, ImageError, StorageError.
    """
    from .learning import learn_kernel  # here: applying a kernel does not need torch

    _check_learning(kernel_size, seed)
    true = None if is_file_name(target_text) else parse_kernel(target_text)
    image_HWC = _prepare(photo, output)
    if true is None:
        target, true_HW, kernel_hw = read_target(Path(target_text)), None, (kernel_size, kernel_size)
    else:
        answer = filter_photo(image_HWC, true, replace(options, padding="valid", stride=1))
        target, true_HW = Target(value_HWC=answer.response_HWC, is_picture=False), answer.weights_HW
        kernel_hw = (true_HW.shape[0], true_HW.shape[1])
    learned = learn_kernel(image_HWC, target, kernel_hw, seed, options.true_convolution)
    nearest = nearest_kernel(learned.weights_HW) if true is None else None
    lesson = Lesson(learned=learned, target=target_text, true_HW=true_HW, nearest=nearest)
    kernel = Kernel(name="learned", weights_HW=learned.weights_HW, source=f"learned from {photo.name}")
    result = filter_photo(image_HWC, kernel, replace(options, divide_by=1.0))
    view = _write(result, output, image_HWC, f"{photo.name}: a kernel learned from {target_text}")
    return FilterReport(
        photo=photo, kernel=kernel, options=options, result=result, output=output, view=view, lesson=lesson
    )


def is_file_name(text: str) -> bool:
    """Whether a person who typed `text` as a target means a file: it exists, or is written like one."""
    return Path(text).suffix.lower() in PICTURE_SUFFIXES or "/" in text or os.path.isfile(text)


def _check_learning(kernel_size: int, seed: int) -> None:
    if not 1 <= kernel_size <= MAX_LEARNED_SIZE:
        raise UsageError(f"--kernel-size must be 1 to {MAX_LEARNED_SIZE}, got {brief(str(kernel_size), 40)}.")
    check_seed(seed)


def _prepare(photo: Path, output: Output) -> np.ndarray:
    """The photo, after everything that can be checked before any work."""
    check_show(output.show)
    if output.path is not None:
        check_out(output.path, photo)
    if output.sheet is not None:
        check_sheet(output.sheet, photo)
    return read_input(photo)


def _write(result: FilterResult, output: Output, photo_HWC: np.ndarray, title: str) -> View | None:
    if output.path is None and output.sheet is None:
        return None
    view = make_view(result.response_HWC, output.show, result.weights_HW)
    if output.path is not None:
        write_response(output.path, result.response_HWC, view)
    if output.sheet is not None:
        write_bytes(output.sheet, sheet_png(photo_HWC, result.weights_HW, view, title))
    return view


# What is printed


def report_as_json(report: FilterReport) -> dict[str, Any]:
    """One JSON object. Sizes are [C, H, W], `values` [C][H][W], null above 100,000 numbers; `learned` is null
    where a kernel was given."""
    result = report.result
    channels = result.response_HWC.shape[2]
    return {
        "image": str(report.photo),
        "input": [channels, *result.input_size_hw],
        "operation": report.operation,
        "kernel": {
            "name": report.kernel.name,
            "weights": result.weights_HW.tolist(),
            "source": report.kernel.source,
        },
        "padding": report.options.padding,
        "stride": report.options.stride,
        "output": [channels, *result.response_HWC.shape[:2]],
        "formula": {"height": result.formulas[0], "width": result.formulas[1]},
        "minimum": float(result.response_HWC.min()),
        "maximum": float(result.response_HWC.max()),
        "notes": list(report.notes),
        "view": report.view.scale if report.view else None,
        "out": str(report.output.path) if report.output.path else None,
        "learned": _lesson_as_json(report.lesson) if report.lesson else None,
        "values": _values(result),
    }


def _values(result: FilterResult) -> list[Any] | None:
    """The result as [C][H][W]; None above MAX_JSON_VALUES numbers."""
    if result.response_HWC.size > MAX_JSON_VALUES:
        return None
    values: list[Any] = result.response_HWC.transpose(2, 0, 1).tolist()
    return values


def _lesson_as_json(lesson: Lesson) -> dict[str, Any]:
    learned = lesson.learned
    return {
        "target": lesson.target,
        "weights": learned.weights_HW.tolist(),
        "true": lesson.true_HW.tolist() if lesson.true_HW is not None else None,
        "nearest": lesson.nearest.name if lesson.nearest else None,
        "relative_error": lesson.relative_error,
        "bias": learned.bias,
        "steps": len(learned.losses) - 1,
        "first_loss": learned.losses[0],
        "last_loss": learned.losses[-1],
        "explained": learned.explained,
        "num_undetermined": learned.num_undetermined,
        "num_examples": learned.num_examples,
    }
