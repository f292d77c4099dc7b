"""Numbers that a person gives: what Python alone reads as a number is refused, wherever a person may write one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.core.errors import UsageError
from saccade.core.plain_numbers import check_seed, plain_float, whole_number

READ_BY_PYTHON_ALONE = ["1_0", "1_0.5", "٣", "１０", "1e1_0"]


@pytest.mark.parametrize("text", READ_BY_PYTHON_ALONE)
def test_what_python_alone_reads_as_a_number_is_none(text: str):
    float(text)  # Python reads it
    with pytest.raises(ValueError, match="no plain number"):
        plain_float(text)
    assert whole_number(text) is None


@pytest.mark.parametrize(("text", "number"), [("10", 10.0), ("-2.5e-3", -0.0025), (" 7 ", 7.0), ("+.5", 0.5)])
def test_plain_numbers_are_read(text: str, number: float):
    assert plain_float(text) == number


def test_a_seed_lies_in_one_range():
    assert [check_seed(seed) for seed in (0, 2**31 - 1)] == [0, 2**31 - 1]
    for seed, message in (
        (-1, "must not be negative, got -1."),
        (2**31, "must be below 2,147,483,648, got 2147483648."),
    ):
        with pytest.raises(UsageError) as caught:
            check_seed(seed)
        assert caught.value.message == f"--seed {message}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["filter", "photo.png", "--kernel", "1_0"], "Cannot read the kernel '1_0': '1_0' is not a number."),
        (["filter", "photo.png", "--kernel", "sobel-x@1_0"], "'1_0' is not an angle in degrees."),
        (
            ["filter", "photo.png", "--kernel", "sobel-x", "--stride", "1_0"],
            "--stride must be a whole number, not '1_0'.",
        ),
        (
            ["filter", "photo.png", "--kernel", "sobel-x", "--divide-by", "1_0"],
            "--divide-by must be a number, not '1_0'.",
        ),
        (["filter", "photo.png", "--learn", "sobel-x", "--seed", str(10**30)], "--seed must be below 2,147,483,648"),
        (["filter", "photo.png", "--learn", "sobel-x", "--stride", str(10**30)], "The stride must be at most 1,000"),
        (["train", "digits", "--epochs=1_0"], "--epochs must be a whole number, not '1_0'."),
        (["table", "lenet5", "--batch", "１"], "--batch must be a whole number, not '１'."),
        (["evaluate", "runs/a", "digits", "--min-confidence", "0_1"], "--min-confidence must be a number, not '0_1'."),
        (["preview", "digits", "--policy", "photo", "--seed", str(2**31), "--out", "a.png"], "--seed must be below"),
    ],
)
def test_every_option_takes_plain_numbers(
    saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save("photo.png")
    finished = saccade(*arguments)
    assert (finished.status, finished.output) == (2, "")
    assert message in finished.errors
