"""A run from a stranger: every file of it is refused in words by every verb that reads it, or read as it is."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from saccade import api
from saccade.core.errors import CheckpointError, ConfigError, DataError, ModelError, StorageError
from saccade.core.types import Record
from saccade.data.source import SOURCES, DataSource, SourceFormat, open_source
from saccade.runs.names import BEST, LAST

FORMATS = Path(__file__).parent / "formats"
AGAIN = "Put the file back from a copy, or train again."


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that an earlier version wrote: one epoch on the digits."""
    return Path(shutil.copytree(FORMATS / "1", tmp_path / "run"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A grey picture."""
    from PIL import Image

    path = tmp_path / "image.png"
    Image.fromarray(np.full((8, 8), 100, np.uint8)).save(path)
    return path


def edit_manifest(checkpoint: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest, with its own digest made to fit."""
    path = checkpoint / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    values.pop("own_sha256")
    text = json.dumps(values, sort_keys=True)
    path.write_text(json.dumps(values | {"own_sha256": hashlib.sha256(text.encode()).hexdigest()}))


def edit_tensors(checkpoint: Path, change: Callable[[dict[str, torch.Tensor]], None], name: str = "weights") -> None:
    """Change the tensors of a checkpoint, with the manifest's record of them made to fit."""
    path = checkpoint / f"{name}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    content = path.read_bytes()
    record = {"num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_manifest(checkpoint, lambda values: values["files"].update({path.name: record}))


def refusals(run: Path, image: Path, kind: type[Exception] = CheckpointError) -> set[str]:
    """What all verbs that take the network of a run say of it."""
    verbs: list[Callable[[], object]] = [
        lambda: list(api.predict(run, [image])),
        lambda: api.evaluate([run], "digits"),
        lambda: api.explain(run, image),
        lambda: api.report(run),
        lambda: api.check_labels(run, "digits"),
        lambda: api.train(api.TrainRequest(source="digits", teachers=(run,), epochs=1, out=run.parent / "student")),
    ]
    messages = set()
    for verb in verbs:
        with pytest.raises(kind) as caught:
            verb()
        messages.add(caught.value.message)
    return messages


def test_a_run_of_the_format_before_opens_by_every_verb(run: Path, image: Path):
    assert len(list(api.predict(run, [image]))) == 1
    assert api.evaluate([run], "digits").kind == ""  # its record of what training saw has no digest to be held to
    assert api.explain(run, image).class_name in "0123456789"
    assert api.table(str(run)).layers
    page = api.report(run).read_text(encoding="utf-8")
    assert "The images cannot be shown: the run is of an earlier version" in page
    before = (run / LAST / "weights.safetensors").read_bytes()
    api.train(api.TrainRequest(source="digits", out=run, resume=True))
    assert (run / LAST / "weights.safetensors").read_bytes() == before
    assert "The images cannot be shown" not in api.report(run).read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_one_number_that_is_none_among_the_weights_is_refused_by_every_verb(run: Path, image: Path, number: float):
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        next(iter(tensors.values())).view(-1)[0] = number

    edit_tensors(run / BEST, spoil)
    name = next(iter(load_file(run / BEST / "weights.safetensors")))
    assert refusals(run, image) == {
        f"{run}/{BEST}/weights.safetensors: the tensor '{name}' holds values that are not finite.\n"
        f"The file was changed, or its training diverged; take another checkpoint, or train again."
    }


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8, torch.bool, torch.complex64]
    + [torch.float8_e4m3fn],
    ids=str,
)
def test_weights_of_another_type_are_refused_by_every_verb(run: Path, image: Path, dtype: torch.dtype):
    names = []

    def cast(tensors: dict[str, torch.Tensor]) -> None:
        names.append(list(tensors)[0])
        tensors[names[0]] = tensors[names[0]].to(dtype)

    edit_tensors(run / BEST, cast)
    assert refusals(run, image) == {
        f"The weights in {run}/{BEST} are not those of conv 2 f3 | gap | fc 4: '{names[0]}' is "
        f"{str(dtype).removeprefix('torch.')}, and must be float32.\n"
        f"The checkpoint was changed, or written by another version of Saccade."
    }


def test_weights_whose_answers_overflow_are_refused_and_never_a_nan(run: Path, image: Path):
    edit_tensors(run / BEST, lambda tensors: [tensor.fill_(3e38) for tensor in tensors.values()])
    for verb in (lambda: list(api.predict(run, [image])), lambda: api.explain(run, image)):
        with pytest.raises(ModelError, match=r"computes answers that are not finite: its weights are too large"):
            verb()


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("provenance", {"seed": "abc"}, "'seed' must be a whole number, not 'abc'"),
        ("provenance", {"seed": None}, "'seed' must be a whole number, not None"),
        ("provenance", {"seed": [1]}, "'seed' must be a whole number, not [1]"),
        ("step", "5", "'step' must be a whole number, not '5'"),
        ("temperature", 1e-308, "'temperature' must be 0.001 or more, not 1e-308"),
        ("classes", ["a"] * 10, "'classes': the class 'a' stands there twice"),
        ("model", "resnet9999", "manifest.json, model: Unknown model 'resnet9999'."),
        ("model", "resnet9999", ".\nIf a plug-in brought it, install that plug-in again."),
        ("model", "conv 2 f3 | poool", "manifest.json, model: Unknown layer 'poool'."),
    ],
)
def test_a_manifest_of_other_types_or_values_is_refused(run: Path, image: Path, key: str, value: Any, rule: str):
    edit_manifest(run / BEST, lambda values: values.update({key: value}))
    for message in refusals(run, image):
        assert message.startswith(f"{run}/{BEST}/manifest.json")
        assert rule in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("mean", value) for value in ([1e308], [-0.1], [None], ["0.5"], [])),
        *(("std", value) for value in ([1e-308], [0.0], [-1.0], [1e9])),
        *(("input_height_px", value) for value in (0, -1, 2049, 10**30, True, "8", 8.5)),
        *(("resize_px", value) for value in (0, 8193, 10**30)),
    ],
)
def test_a_preprocessing_beyond_its_bounds_is_refused(run: Path, image: Path, key: str, value: Any):
    edit_manifest(run / BEST, lambda values: values["preprocessing"].update({key: value}))
    messages = refusals(run, image)
    assert len(messages) == 1
    assert f"/{BEST}/manifest.json: 'preprocessing" in messages.pop()


REPORT_FILES = [
    ("data.json", b'{"num_samples": "many"}', ": 'num_samples' must be a whole number"),
    ("data.json", b'{"counts": {"train": [1, 2]}}', ": counts of train has 2 numbers for 0 classes"),
    ("data.json", b'{"counts": 7}', ": 'counts' must be a table"),
    ("data.json", b'{"notes": [[]]}', ": 'notes.0' must be text"),
    (
        "environment.json",
        b'{"packages": {"torch": 2}}',
        ": 'packages.torch' must be text",
    ),
    ("transfer.json", b'{"frozen": 3}', ": 'frozen' must be text"),
    ("evaluation.json", b'{"keys": 5}', ": 'keys' must be a list"),
    ("config.toml", b"seed = 'x'", ": 'seed' must be a whole number"),
    ("config.toml", b"a" + b".a" * 50_000 + b" = 1", " is damaged: a key has more than 16 parts"),
    (
        "metrics.jsonl",
        b'{"event": "epoch", "epoch": "x"}\n',
        ", line 1: 'epoch' must be a whole number",
    ),
]


@pytest.mark.parametrize(("name", "content", "rule"), REPORT_FILES, ids=lambda value: str(value[:20]))
def test_a_file_of_the_report_with_other_types_is_named_with_the_rule(run: Path, name: str, content: bytes, rule: str):
    (run / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        api.report(run)
    assert caught.value.message.startswith(f"{run}/{name}{rule}")
    assert 1 <= len(caught.value.message.splitlines()) <= 4


@pytest.mark.parametrize("name", ["config.toml", "evaluation.json", "data.json", "environment.json", "transfer.json"])
@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"a = " + b"[" * 100_000])
def test_text_that_is_none_or_too_deep_is_named(run: Path, name: str, content: bytes):
    (run / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        api.report(run)
    first, second = caught.value.message.splitlines()
    assert first.startswith(f"{run}/{name} is damaged: ")
    assert second in (AGAIN, "Remove the file; --resume then measures again.")


@pytest.mark.parametrize("change", ["type", "width", "gone"])
@pytest.mark.parametrize(
    ("name", "tensor"),
    [("evaluation", "logits_NK"), ("evaluation", "label_N"), ("evaluation", "index_N")],
)
def test_tensors_of_another_type_or_shape_are_named(run: Path, name: str, tensor: str, change: str):
    path = run / f"{name}.safetensors"
    tensors = load_file(path)
    changed = {"type": tensors[tensor].to(torch.float64), "width": torch.cat([tensors[tensor]] * 2, -1)}
    tensors = {key: changed.get(change) if key == tensor else value for key, value in tensors.items()}
    save_file({key: value for key, value in tensors.items() if value is not None}, path)
    with pytest.raises(CheckpointError) as caught:
        api.report(run)
    assert caught.value.message.startswith(f"{run}/{name}.safetensors is damaged: ")
    assert f"'{tensor}'" in caught.value.message or "'index_N'" in caught.value.message or change == "width"


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link"])
@pytest.mark.parametrize(
    "name", ["config.toml", "data.json", "metrics.jsonl", "evaluation.safetensors", "transfer.json"]
)
def test_what_is_not_a_plain_file_is_named_and_not_waited_for(run: Path, tmp_path: Path, name: str, kind: str):
    path = run / name
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        (tmp_path / "secret").write_text("a = 1")
        path.symlink_to("/dev/zero" if kind == "device" else tmp_path / "secret")
    with pytest.raises(CheckpointError) as caught:
        api.report(run)
    reason = "it is not a plain file, but a folder, a pipe or a device"
    if kind in ("device", "link"):
        reason = "it is a link, and a run's files are plain ones"
    assert caught.value.message.splitlines()[0] == f"{path} is damaged: {reason}."


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl"])
def test_going_on_with_a_run_writes_through_no_link(run: Path, tmp_path: Path, name: str):
    """A link in a stranger's run would have had another file cut."""
    mine = tmp_path / "mine.txt"
    mine.write_text("do not lose this")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(mine)
    with pytest.raises(StorageError, match=rf"^Cannot write {run}/{name}: it is a link"):
        api.train(api.TrainRequest(source="digits", out=run, resume=True))
    assert mine.read_text() == "do not lose this"


def test_going_on_with_a_run_removes_nothing_behind_a_link(run: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text("{}")
    (run / f"{LAST}.saccade-tmp").symlink_to(other)
    api.train(api.TrainRequest(source="digits", out=run, resume=True))
    assert (other / "manifest.json").read_text() == "{}"


def test_a_saved_training_of_other_tensors_is_named(run: Path):
    edit_tensors(run / LAST, lambda tensors: tensors.pop("totals.num_seen"), "state")
    with pytest.raises(CheckpointError) as caught:
        api.train(api.TrainRequest(source="digits", out=run, resume=True))
    assert caught.value.message == (
        f"{run}/{LAST}/state.safetensors: The saved training does not fit this network: 1 tensors differ, "
        f"'totals.num_seen' first.\n"
        f"The checkpoint or the run's configuration was changed; start a new run with another --out."
    )


def test_a_network_that_a_configuration_names_and_no_checkpoint_has_is_told_with_its_file(run: Path):
    path = run / "config.toml"
    path.write_text(path.read_text().replace('"conv 2 f3 | gap | fc 4"', '"nobody"'))
    with pytest.raises(CheckpointError) as caught:
        api.train(api.TrainRequest(source="digits", out=run, resume=True))
    assert caught.value.message == (
        f"{path} names the network 'nobody', but {LAST} holds weights of 'conv 2 f3 | gap | fc 4'.\n"
        f"Put the file back from a copy, or start a new run with another --out."
    )
    for name in (LAST, BEST):
        shutil.rmtree(run / name)
    with pytest.raises(ConfigError.__mro__[1]) as error:
        api.train(api.TrainRequest(source="digits", out=run, resume=True))
    assert error.value.message == (
        f"{path}: Unknown model 'nobody'. 'saccade models' lists all {num_models()}.\n"
        "If a plug-in brought it, install that plug-in again."
    )


def num_models() -> int:
    from saccade.models.architecture import MODELS

    return len(MODELS.names())


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cat", "dog", "cat"), "has two classes of one name, 'cat'.\nAn answer could not say"),
        (("cat", "x" * 257), "the name of class 1 has 257 characters; 1 to 256 can be kept"),
        (("", "dog"), "set: class 0 has no name.\nGive it one: an answer is told by it."),
    ],
)
def test_a_source_whose_classes_no_checkpoint_could_hold_is_refused(classes: tuple[str, ...], message: str):
    class Source(DataSource):
        name, digest = "set", ""

        def __len__(self) -> int:
            return 0

        def record(self, index: int) -> Record:
            raise IndexError(index)

        def read(self, index: int) -> bytes:
            raise IndexError(index)

    source = Source()
    source.classes = classes
    entry = SourceFormat(
        name="odd",
        summary="",
        example="odd:",
        recognises=lambda text: text == "odd:",
        open=lambda text: source,
        priority=0,
    )
    SOURCES.add(entry, __name__)
    try:
        with pytest.raises(DataError) as caught:
            open_source("odd:")
    finally:
        del SOURCES._entries["odd"], SOURCES._origins["odd"]
    assert message in caught.value.message
