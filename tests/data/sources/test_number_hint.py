"""Classes that are probably measured numbers are told, whatever the source; digits, years and names are left alone."""

from pathlib import Path

import pytest

from saccade.data.source import open_source
from saccade.data.sources.shared.targets import number_hint

DECIMALS = "labels are numbers with decimals, each a class: to learn them as numbers, --target number"
COMMA = (
    "labels are numbers with a comma, each a class: to learn them as numbers, write them with a point, "
    "then --target number"
)
WHOLE = "labels are 25 whole numbers, each a class of 2.0 images: to learn them as numbers, --target number"


@pytest.mark.parametrize(
    ("classes", "num_images", "hint"),
    [
        (["0.0", "7.5", "12.25", "-3.5"], 400, DECIMALS),
        (["0,0", "7,5", "12", "-3,5"], 400, COMMA),  # as Excel writes them in many countries
        (["1,2", "2,1", "cat"], 40, ""),
        ([str(age) for age in range(1, 26)], 50, WHOLE),
        ([str(digit) for digit in range(10)], 20, ""),  # few classes: names that are digits
        ([str(number) for number in range(43)], 43 * 30, ""),  # many images each: numbered classes
        ([f"{number:04d}" for number in range(30)], 60, ""),  # persons, numbered
        (["0.0", "7.5", "12.25", "cat"], 4, ""),
        (["1.5", "2.0", "3.0"], 6, ""),
    ],
)
def test_measured_numbers_are_told_from_names(classes: list[str], num_images: int, hint: str):
    assert number_hint(classes, num_images) == hint


def test_folders_called_by_ages_are_told_once_and_not_where_numbers_are_asked_for(tmp_path: Path):
    for age in range(1, 26):
        (tmp_path / str(age)).mkdir()
        for number in range(2):
            (tmp_path / str(age) / f"{number}.png").write_bytes(b"x")
    assert open_source(str(tmp_path)).notes == (WHOLE,)
    assert open_source(f"{tmp_path}?target=number", several=True).notes == ()
