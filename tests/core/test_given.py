"""One thing where several may stand is one; what is neither is refused in words."""

from pathlib import Path

import pytest

from saccade import api
from saccade.core.errors import UsageError
from saccade.core.given import listed
from saccade.core.plain_numbers import check_count


def test_one_path_or_text_is_a_list_of_one():
    assert listed("run") == ["run"]
    assert listed(Path("run")) == [Path("run")]
    assert listed(iter(["a", Path("b")])) == ["a", Path("b")]  # type: ignore[arg-type]
    assert api.TrainRequest(teachers="runs/a", log="wandb").teachers == ("runs/a",)
    assert api.TransferRequest(log="wandb").log == ("wandb",)
    assert len(api.compare("lenet5").tables) == 1


@pytest.mark.parametrize(("given", "kind"), [(None, "NoneType"), (b"run", "bytes"), (3, "int"), (["a", 3], "int")])
def test_what_is_no_path_is_named(given: object, kind: str):
    with pytest.raises(UsageError) as error:
        listed(given, "the path of a run")  # type: ignore[arg-type]
    assert error.value.message == (f"Expected the path of a run, or a list of them; got a value of type {kind}.")


def test_nothing_to_compare_is_said():
    with pytest.raises(UsageError) as error:
        api.compare([])
    assert error.value.message == "compare needs at least one network."
    with pytest.raises(UsageError) as error:
        api.compare_verdicts("runs/a")  # type: ignore[arg-type]
    assert error.value.message == "Two runs or more are compared: saccade compare runs/one runs/other."


def test_a_request_of_another_kind_is_answered_with_an_example():
    with pytest.raises(UsageError) as error:
        api.train("photos")  # type: ignore[arg-type]
    assert error.value.message == (
        'Expected a TrainRequest, got a value of type str.\nFor example: api.train(api.TrainRequest(source="photos"))'
    )
    with pytest.raises(UsageError) as error:
        api.transfer(api.TrainRequest())  # type: ignore[arg-type]
    assert error.value.message == (
        "Expected a TransferRequest, got a value of type TrainRequest.\n"
        'For example: api.transfer(api.TransferRequest(source="photos"))'
    )


@pytest.mark.parametrize(
    ("count", "message"),
    [(0, "--count is 1 or more, got 0."), ("3", "--count is a whole number, got '3'.")],
)
def test_a_count_is_a_whole_number_above_zero(count: object, message: str):
    with pytest.raises(UsageError) as error:
        check_count(count, "--count")
    assert error.value.message == message
    assert check_count(3, "--count") == 3
