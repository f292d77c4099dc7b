"""Numbers in place of classes: from CSV, JSON lines, Parquet, folders and built-in sets; what is no number is named."""

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from saccade.core.errors import DataError, UsageError
from saccade.data.checkup.inspection import inspect_source
from saccade.data.labels import labels_of
from saccade.data.opening_line import opening_line
from saccade.data.source import open_source
from saccade.data.sources.shared.listing import one_class_is_enough


def write_images(folder: Path, num: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)


def table(tmp_path: Path, values: list[str], heading: str = "file,age") -> str:
    write_images(tmp_path, len(values))
    path = tmp_path / "labels.csv"
    path.write_text("\n".join([heading, *(f"{number}.png,{value}" for number, value in enumerate(values))]) + "\n")
    return str(path)


def numbers(text: str, target: str = "") -> list[float]:
    source = open_source(text, several=True, target=target)
    assert source.task.is_number
    return labels_of(source, range(len(source))).tolist()


def test_a_column_of_numbers_is_read_and_named(tmp_path: Path):
    path = table(tmp_path, ["12.5", "-3", "+1e-2", ".5", "7.", "12.50"])
    assert numbers(f"{path}?target=number") == [12.5, -3.0, 0.01, 0.5, 7.0, 12.5]
    source = open_source(f"{path}?target=number", several=True)
    assert source.classes == ("age",)
    assert source.name == f"{path}?target=number"
    assert opening_line(source) == f"data    {path}?target=number: 6 images, 'age' from -3 to 12.5, median 3.75"
    assert numbers(path, target="number") == numbers(f"{path}?target=number")
    assert open_source(path).classes != ("age",)  # classes, as ever, unless numbers are asked for


def test_the_column_is_chosen_like_that_of_a_class(tmp_path: Path):
    write_images(tmp_path, 2)
    (tmp_path / "t.csv").write_text("file,kind,height_cm\n0.png,a,170.5\n1.png,b,160\n")
    assert numbers(f"{tmp_path / 't.csv'}?label=height_cm&target=number") == [170.5, 160.0]


def test_json_lines_of_an_imagefolder_have_numbers(tmp_path: Path):
    write_images(tmp_path, 3)
    rows = [{"file_name": f"{number}.png", "label": value} for number, value in enumerate([1, 2.5, "3"])]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert numbers(f"{tmp_path}?target=number") == [1.0, 2.5, 3.0]


def test_folders_that_are_called_by_numbers_are_read(tmp_path: Path):
    for name in ("0", "0.5", "-2"):
        write_images(tmp_path / name, 2)
    source = open_source(f"{tmp_path}?target=number", several=True)
    found = {source.record(i).key.split("/")[0]: source.record(i).value for i in range(len(source))}
    assert found == {"0": 0.0, "0.5": 0.5, "-2": -2.0}
    inspection = inspect_source(f"{tmp_path}?target=number", 1, keep=False)
    assert inspection.numbers == (-2.0, -1.5, 0.0, 0.375, 0.5, 3.0)
    assert inspection.as_json()["task"] == "number"


def test_digits_may_be_numbers():
    assert sorted(set(numbers("digits?target=number"))) == list(range(10))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pyarrow.float64(), [1.5, -2.0, 1.5]),
        (pyarrow.float32(), [0.5, 2.0, 4.0]),
        (pyarrow.int64(), [-1, 5, 2**40]),
        (pyarrow.string(), ["1.5", "2", "3"]),
    ],
)
def test_parquet_columns_of_numbers_are_read(tmp_path: Path, kind: pyarrow.DataType, values: list[object]):
    write_parquet(tmp_path / "t.parquet", pyarrow.array(values, kind))
    assert numbers(f"{tmp_path / 't.parquet'}?label=age&target=number") == [float(value) for value in values]


def write_parquet(path: Path, values: pyarrow.Array) -> None:
    images = [
        {"bytes": cv2.imencode(".png", np.full((8, 8), 20 * i, np.uint8))[1].tobytes()} for i in range(len(values))
    ]
    pyarrow.parquet.write_table(pyarrow.table({"image": images, "age": values}), path)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("old", "'old' is not a number.\nWrite numbers, such as 12.5; for classes, leave --target out."),
        ('"3,5"', "'3,5' is not a number.\nWrite numbers with a point, not a comma, such as 12.5; for classes, "
         "leave --target out."),
        ("1_0", "'1_0' is not a number.\nWrite numbers, such as 12.5; for classes, leave --target out."),
        ("nan", "'nan' is not a finite number.\nFill it in, or remove the image."),
        ("-inf", "'-inf' is not a finite number.\nFill it in, or remove the image."),
        ("1e400", "'1e400' is beyond 1e+15, the largest number that is learned.\n"
         "Check it, or write the numbers in a larger unit."),
    ],
)  # fmt: skip
def test_what_is_no_number_is_named_with_its_row_and_file(tmp_path: Path, value: str, said: str):
    path = table(tmp_path, ["1", value, "3"])
    with pytest.raises(DataError) as caught:
        open_source(f"{path}?target=number", several=True)
    assert caught.value.message == f"{path}, line 3, 1.png: {said}"


def test_an_empty_number_is_named_with_its_row_and_file(tmp_path: Path):
    path = table(tmp_path, ["1", "", "3"])
    with pytest.raises(DataError) as caught:
        open_source(f"{path}?target=number", several=True)
    assert caught.value.message == (
        f"{path}, line 3, 1.png has no number.\nFill it in, or remove the image from the list."
    )


def test_numbers_that_are_missing_or_not_finite_in_parquet_are_named(tmp_path: Path):
    path = tmp_path / "t.parquet"
    write_parquet(path, pyarrow.array([1.0, float("nan"), 2.0]))
    with pytest.raises(DataError) as caught:
        open_source(f"{path}?label=age&target=number", several=True)
    assert caught.value.message == (
        f"{path}?label=age&target=number, t.parquet:1: 'nan' is not a finite number.\nFill it in, or remove the image."
    )
    write_parquet(path, pyarrow.array([1.0, None, 2.0]))
    with pytest.raises(DataError, match="1 of 3 rows have no label"):
        open_source(f"{path}?label=age&target=number", several=True)


def test_one_number_for_all_images_is_refused(tmp_path: Path):
    path = table(tmp_path, ["2.0", "2", "2.00"])
    with pytest.raises(DataError) as caught:
        open_source(f"{path}?target=number", several=True)
    assert caught.value.message == (
        f"{path}?target=number: every image has the number 2: there is nothing to learn.\n"
        f"List images with other numbers, or choose the column: --label-column NAME."
    )


def test_folders_of_names_and_unknown_targets_are_refused(tmp_path: Path):
    write_images(tmp_path / "cat", 1)
    write_images(tmp_path / "dog", 1)
    with pytest.raises(DataError, match="'cat' is not a number"):
        open_source(f"{tmp_path}?target=number", several=True)
    with pytest.raises(UsageError) as caught:
        open_source(f"{tmp_path}?target=rank", several=True)
    assert caught.value.message == (
        "'rank' is not what can be asked of an image besides its class.\n"
        "Say number or grade, as in --target number, or leave --target out for classes."
    )


def test_lists_and_columns_of_classes_are_no_numbers(tmp_path: Path):
    write_images(tmp_path, 2)
    (tmp_path / "hot.csv").write_text("file,cat,dog\n0.png,1,0\n1.png,1,1\n")
    with pytest.raises(DataError) as caught:
        open_source(f"{tmp_path / 'hot.csv'}?target=number", several=True)
    assert caught.value.message == (
        f"{tmp_path / 'hot.csv'} has a column for each class, and a number is asked for.\n"
        f"Name the column of the numbers: --label-column NAME."
    )


def test_who_knows_classes_only_refuses_numbers(tmp_path: Path):
    path = table(tmp_path, ["1", "2"])
    with pytest.raises(DataError) as caught:
        open_source(f"{path}?target=number", verb="SaccadeClassifier")
    assert caught.value.message == (
        f"{path}?target=number has a number for each image, and SaccadeClassifier knows classes only.\n"
        f"Leave --target out, or choose a column of classes: --label-column NAME."
    )


def test_equal_images_with_other_numbers_are_told(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8)).astype(np.uint8)
    rows = ["file,age"]
    for number in range(12):
        own = pixels if number < 2 else np.random.default_rng(number).integers(0, 255, (8, 8)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), own)
        rows.append(f"{number}.png,{number}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    inspection = inspect_source(f"{tmp_path / 'labels.csv'}?target=number", 1, keep=False)
    found = {finding.kind: finding for finding in inspection.findings}
    assert found["same_image_in_two_classes"].notes == ("0, 1",)
    assert "class_of_one_image" not in found


def test_numbers_that_hardly_differ_are_refused(tmp_path: Path):
    """Their squares are 0 in floating point, and so would be the scale that they are learned on."""
    path = table(tmp_path, ["1e-200", "3e-200", "2e-200"])
    with pytest.raises(DataError) as caught:
        open_source(f"{path}?target=number", several=True)
    assert caught.value.message == (
        f"{path}?target=number: its numbers differ by 2e-200 at most, which is too little to be learned.\n"
        f"Check them, or write the numbers in a smaller unit."
    )
    assert open_source(f"{table(tmp_path, ['1e-90', '3e-90', '2e-90'])}?target=number", several=True).task.is_number


def test_one_number_or_grade_for_all_images_judges_a_run(tmp_path: Path):
    path = table(tmp_path, ["2", "2", "2"])
    with one_class_is_enough():
        assert open_source(f"{path}?target=number", several=True).record(1).value == 2
        assert open_source(f"{path}?target=grade").classes == ("2",)
    with pytest.raises(DataError, match="has one grade only; 2 to 50 are told apart"):
        open_source(f"{path}?target=grade")
