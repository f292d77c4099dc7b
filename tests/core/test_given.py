"""One thing where several may stand is one; what is neither is refused in words."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from saccade import api
from saccade.classify.crops import looks
from saccade.core.errors import ConfigError, UsageError
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: api.RuntimeConfig(threads=1),  # type: ignore[call-arg]
            "RuntimeConfig: Unknown key 'threads'. Did you mean 'num_threads'?",
        ),
        (lambda: api.RuntimeConfig(num_threads=-1), "RuntimeConfig: 'num_threads' must be 0 or more, not -1."),
        (
            lambda: api.Preprocessing(mean=(0.5, 0.5)),
            "Preprocessing: mean and std need 3 values for rgb images, got 2 and 3.",
        ),
        (lambda: api.TrainRequest(seed="5"), "TrainRequest: 'seed' must be a whole number, not '5'."),  # type: ignore[arg-type]
        (lambda: api.TrainRequest(resume="yes"), "TrainRequest: 'resume' must be true or false, not 'yes'."),  # type: ignore[arg-type]
        (lambda: api.TransferRequest(minutes="5"), "TransferRequest: 'minutes' must be a number, not '5'."),  # type: ignore[arg-type]
        (
            lambda: api.PreviewRequest(source="digits", recipe=3),  # type: ignore[arg-type]
            "PreviewRequest: 'recipe' must be text, not 3.",
        ),
        (lambda: api.Further(costs=3), "Further: 'costs' must be a path, not 3."),  # type: ignore[arg-type]
        (
            lambda: api.ShardSettings(images_per_shard=2.5),  # type: ignore[arg-type]
            "ShardSettings: 'images_per_shard' must be a whole number, not 2.5.",
        ),
        (lambda: api.AskedInt8(max_drop=True), "AskedInt8: 'max_drop' must be a number, not True."),
        (lambda: api.Answering(precision="1"), "Answering: 'precision' must be a number, not '1'."),  # type: ignore[arg-type]
    ],
)
def test_what_is_made_by_hand_is_refused_in_words(make: Callable[[], object], message: str):
    with pytest.raises(ConfigError) as error:
        make()
    assert error.value.message == message


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: api.ShardSettings(short_side_px=-1), "ShardSettings: 'short_side_px' is 0 or more, got -1."),
        (lambda: api.ShardSettings(shard_bytes=0), "ShardSettings: 'shard_bytes' is 1 or more, got 0."),
        (
            lambda: api.TableRequest(input_CHW=224),  # type: ignore[arg-type]
            "TableRequest: 'input_CHW' is (channels, height, width), such as (3, 224, 224); got 224.",
        ),
        (
            lambda: api.table(torch.nn.Linear(1, 1)),  # type: ignore[arg-type]
            "Expected a name, a line of notation, a run, or module.py:function; got a value of type Linear.",
        ),
        (lambda: api.export(3), "Expected a path; got a value of type int."),  # type: ignore[arg-type]
        (lambda: api.confidence_for("run", "0.9"), "--precision is a number, got '0.9'."),  # type: ignore[arg-type]
        (lambda: api.predict("run", [], min_confidence="0.5"), "--min-confidence is a number, got '0.5'."),  # type: ignore[arg-type]
        (lambda: api.evaluate("run", "digits", crops="5"), "--crops is a whole number, got '5'."),  # type: ignore[arg-type]
        (lambda: api.evaluate("run", "digits", scales=["2"]), "A scale of crops is a number, got '2'."),  # type: ignore[list-item]
        (lambda: api.predict_to_csv("run", [], "out.csv", top=0), "--top is 1 or more, got 0."),
        (lambda: api.drift("run", [], seed="1"), "--seed is a whole number, got '1'."),  # type: ignore[arg-type]
    ],
)
def test_what_a_verb_is_given_is_refused_in_words(ask: Callable[[], object], message: str):
    with pytest.raises(UsageError) as error:
        ask()
    assert error.value.message == message


def test_what_is_plainly_meant_is_taken():
    runtime = api.RuntimeConfig(device=torch.device("cpu"), num_threads=np.int64(2))  # type: ignore[arg-type]
    assert (runtime.device, runtime.num_threads) == ("cpu", 2)
    request = api.TransferRequest(minutes=np.float32(0.5), seed=np.int64(3), resume=np.True_)  # type: ignore[arg-type]
    assert (request.minutes, request.seed, request.resume) == (0.5, 3, True)
    assert type(request.seed) is int
    assert type(request.resume) is bool
    assert api.AskedInt8(source=Path("photos")).source == "photos"  # type: ignore[arg-type]
    assert api.Further(costs="costs.csv", columns="place").columns == ("place",)  # type: ignore[arg-type]
    assert looks(1, 2.0) == looks(1, [2.0])


def test_the_most_probable_classes_are_counted_from_0_on():
    answer = api.Prediction(key="a", classes=("x", "y"), probabilities=(0.3, 0.7), latency_ms=1.0)
    assert (answer.top(0), answer.top(1), len(answer.top(9))) == ([], [("y", 0.7)], 2)
    with pytest.raises(UsageError) as error:
        answer.top(-1)
    assert error.value.message == "top is 0 or more, got -1."


@pytest.mark.parametrize("given", [{"source": "a" * 5000}, {"source": "digits", "out": "a" * 5000}], ids=list)
def test_a_path_longer_than_a_name_can_be_is_refused_in_words(given: dict[str, str]):
    with pytest.raises(UsageError) as error:
        api.train(api.TrainRequest(source=given["source"], out=given.get("out")))
    assert error.value.message == (
        f"The name '{'a' * 80}...' is longer than a name on this disk can be.\nGive the path of a file or a folder."
    )


def test_a_path_with_a_null_character_is_refused_in_words():
    with pytest.raises(UsageError) as error:
        api.train(api.TrainRequest(source="digits", out="a\0b"))
    assert error.value.message == "The path a\\x00b holds a null character.\nGive the path of a file or a folder."


@pytest.mark.parametrize("given", [3, [1, 2], [("epochs", 1)]], ids=str)
def test_settings_that_are_neither_a_table_nor_texts_are_refused_in_words(given: object):
    with pytest.raises(ConfigError) as error:
        api.train(api.TrainRequest(source="digits", settings=given))  # type: ignore[arg-type]
    assert error.value.message == f"Settings are a table or texts KEY=VALUE; got {given!r}."
