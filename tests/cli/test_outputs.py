"""What a command writes is nothing that it reads, no file of a run, and no other thing that it writes."""

from pathlib import Path

import pytest

from saccade.cli.outputs import Output, check_outputs
from saccade.core.errors import UsageError


def answers(path: Path) -> Output:
    return Output(option="--answers", path=path, endings=(".csv",))


def test_new_files_with_their_endings_are_written(tmp_path: Path):
    page = Output(option="--report", path=tmp_path / "page.HTML", endings=(".html", ".htm"))
    check_outputs(
        [answers(tmp_path / "a.csv"), page, Output(option="--x", path=None, endings=())], [tmp_path / "photos"]
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photos/0.png", "--answers writes .csv files; got '0.png'.\nChange the ending of the file."),
        ("labels.csv", "--answers would replace {where}, which is read here.\nGive it another name."),
        ("photos/metadata.csv", "--answers would replace {where}, which is read here.\nGive it another name."),
    ],
)
def test_what_is_read_is_not_replaced(tmp_path: Path, name: str, message: str):
    (tmp_path / "photos").mkdir()
    (tmp_path / name).write_text("theirs")
    with pytest.raises(UsageError) as caught:
        check_outputs([answers(tmp_path / name)], [f"{tmp_path / 'labels.csv'}?label=breed", tmp_path / "photos"])
    assert caught.value.message == message.format(where=tmp_path / name)


def test_a_file_of_a_run_is_not_replaced(tmp_path: Path):
    (tmp_path / "config.toml").write_text("")
    path = tmp_path / "evaluation.json"
    with pytest.raises(UsageError) as caught:
        check_outputs([Output(option="--curves", path=path, endings=(".csv", ".json"))], [])
    assert caught.value.message == f"--curves would replace {path}, a file of a run.\nGive it another name."


def test_two_options_do_not_write_one_file(tmp_path: Path):
    curves = Output(option="--curves", path=tmp_path / "x" / ".." / "same.csv", endings=(".csv",))
    with pytest.raises(UsageError) as caught:
        check_outputs([curves, answers(tmp_path / "same.csv")], [])
    assert caught.value.message == (
        f"--curves and --answers name the same file, {tmp_path / 'same.csv'}.\nGive each its own."
    )
