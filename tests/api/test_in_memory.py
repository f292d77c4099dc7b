"""Images and networks that are in memory: what is trained of them, what the run says, what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from saccade import api
from saccade.core.errors import DataError, ModelError, UsageError
from saccade.data.sources.digits import Digits
from saccade.data.sources.in_memory import as_source
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs.checkpoint import find_checkpoint
from saccade.train.run_directory import RunFolder

SETTINGS = {"batch_size": 64, "runtime": {"num_threads": 1, "precision": "float32"}}
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
Small = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def small() -> Small:
    """(image_NHW, label_N) of 300 digits."""
    digits = Digits()
    images = np.stack([digits.read(index) for index in range(300)])
    return images, np.array([digits.record(index).label for index in range(300)])


class Own(api.DataSource):
    """A source as a caller may write one: the digits under other names."""

    name, classes, digest = "my digits", NAMES, "0123456789abcdef" * 4

    def __init__(self, small: Small) -> None:
        self._small = small

    def __len__(self) -> int:
        return len(self._small[1])

    def record(self, index: int) -> api.Record:
        return api.Record(key=f"mine/{index}", label=int(self._small[1][index]), split=None)

    def read(self, index: int) -> np.ndarray:
        return self._small[0][index]


class Net(nn.Module):
    """A network of nobody's registry, without named parts."""

    def __init__(self, num_classes: int = 10, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), activation(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)
        self.last = nn.Linear(128, num_classes)

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return self.last(self.layers(image_BCHW) * self.scale)


def request(source: object, out: Path, **changes: object) -> api.TrainRequest:
    return api.TrainRequest(**({"source": source, "epochs": 1, "out": out, "settings": SETTINGS} | changes))  # type: ignore[arg-type]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return find_checkpoint(run).load_weights()


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def source_of(run: Path) -> str:
    return RunFolder(path=run).load_config().source


def test_arrays_a_list_of_files_and_a_source_of_ones_own_train_to_the_bits_of_the_same_images(
    small: Small, tmp_path: Path
):
    files = []
    for index, (image_HW, label) in enumerate(zip(*small)):
        files.append((tmp_path / f"{index:03}.png", str(label)))
        Image.fromarray(image_HW).save(files[-1][0])
    arrays, listed = tmp_path / "arrays", tmp_path / "listed"
    api.train(request(small, arrays))
    api.train(request((list(small[0]), small[1].tolist()), tmp_path / "list"))
    api.train(request(Own(small), tmp_path / "own"))
    api.train(request(api.ArraySource(small[0][..., None], small[1]), tmp_path / "channel"))
    for name in ("list", "own", "channel"):
        assert equal(weights(arrays), weights(tmp_path / name)), name
    result = api.train(request(files, listed))
    assert result.judgement.metrics.num_samples == 60
    assert re.fullmatch(r"in memory: arrays \(digest [0-9a-f]{12}\)", source_of(arrays))
    assert re.fullmatch(r"in memory: files \(digest [0-9a-f]{12}\)", source_of(listed))
    assert source_of(tmp_path / "own") == "in memory: my digits (digest 0123456789ab)"
    assert find_checkpoint(tmp_path / "own").manifest.classes == NAMES


def test_what_was_trained_on_arrays_is_judged_asked_and_explained_with_arrays(small: Small, tmp_path: Path):
    images = np.repeat(small[0][..., None], 3, axis=3)
    run = api.train(request((images, [NAMES[label] for label in small[1]]), tmp_path / "run", epochs=2)).run_dir
    evaluation = api.evaluate(run, (images, [NAMES[label] for label in small[1]]))
    assert evaluation.metrics.num_samples == 60  # what training has seen is left out
    assert evaluation.source == source_of(run)
    answers = list(api.predict(run, images[:5]))
    assert [answer.key for answer in answers] == [f"image {number}" for number in range(5)]
    (alone,) = api.predict(run, images[3])
    assert alone.classes[0] == "eight"
    assert alone.probabilities == pytest.approx(answers[3].probabilities, abs=1e-6)
    source = api.ArraySource(images, small[1], classes=NAMES)
    assert [a.key for a in api.predict(run, source)][:2] == ["0", "1"]
    assert len(list(api.predict(run, (images[:7], small[1][:7])))) == 7
    assert api.inspect((images, small[1])).num_images == 300
    assert api.explain(run, images[0], source=source).subject.key == "array"
    assert len(api.check_labels(run, source).sentence()) > 40
    mirrored = {"augment": {"mirror": {"probability": 1.0}}}
    drawn = api.preview(api.PreviewRequest(source=source, settings=mirrored), tmp_path / "preview.png")
    assert re.fullmatch(r"in memory: arrays \(digest [0-9a-f]{12}\)", drawn["source"])


def test_given_splits_are_kept(small: Small, tmp_path: Path):
    splits = ["train"] * 200 + ["val"] * 40 + ["test"] * 60
    result = api.train(request(api.ArraySource(*small, splits=splits), tmp_path / "run"))
    assert (result.num_train, result.judgement.metrics.num_samples) == (200, 60)


def test_a_run_on_arrays_goes_on_with_the_same_ones_only(small: Small, tmp_path: Path):
    class Stopping(api.Silent):
        def step(self, epoch: int, batch: int, num_batches: int, means: object) -> None:
            api.request_stop()

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    api.train(request(small, whole))
    with pytest.raises(api.Stopped):
        api.train(request(small, cut), Stopping())
    name = source_of(cut)
    with pytest.raises(DataError) as error:
        api.train(api.TrainRequest(out=cut, resume=True))
    assert error.value.message == (
        f"These images were given from Python: {name.removeprefix('in memory: ')}.\n"
        f"Nothing on disk holds them as a set. Give the same ones again, from Python (docs/python.md)."
    )
    other = small[0].copy()
    other[0, 0, 0] += 1
    with pytest.raises(UsageError) as usage:
        api.train(api.TrainRequest(source=(other, small[1]), out=cut, resume=True))
    now = re.search(r"now (.*)\.\n", usage.value.message)
    assert now is not None
    assert now[1] != name
    assert usage.value.message == (
        f"A resumed run goes on as it began: source was {name}, now {now[1]}.\n"
        f"Leave that option out, or start a new run with another --out."
    )
    api.train(api.TrainRequest(source=small, out=cut, resume=True))
    assert equal(weights(whole), weights(cut))


def test_an_ensemble_and_a_transfer_take_arrays(small: Small, tmp_path: Path):
    result = api.train_ensemble(request(small, tmp_path / "pair", ensemble=2))
    assert result.evaluation.metrics.num_samples == 60
    assert api.evaluate(tmp_path / "pair", small).metrics.top1 == result.evaluation.metrics.top1
    backbone = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    save_file({name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}, tmp_path / "w.safetensors")
    pixels = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}
    (tmp_path / "pixels.json").write_text(json.dumps(pixels))
    moved = api.TransferRequest(
        source=small,
        backbone="lenet5",
        weights=tmp_path / "w.safetensors",
        preprocessing=tmp_path / "pixels.json",
        freeze="all",
        out=tmp_path / "moved",
        cache="none",
        settings=SETTINGS,
    )
    assert api.transfer(moved).run.judgement.metrics.num_samples == 60
    assert source_of(tmp_path / "moved") == source_of(tmp_path / "pair" / "member-1")


def test_a_run_folder_of_arrays_has_a_short_name(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert api.train(api.TrainRequest(source=small, epochs=1, settings=SETTINGS)).run_dir == Path(
        "runs/arrays-lenet5-1"
    )


REFUSED: list[tuple[Callable[[Small], object], str]] = [
    (
        lambda small: (small[0].astype(np.float32) / 255, small[1]),
        "arrays holds float32 values; pixels are uint8, 0 to 255, or uint16.\n"
        "Turn values in 0 to 1 into them by (images * 255).round().astype('uint8').",
    ),
    (
        lambda small: (np.zeros((4, 3, 8, 8), np.uint8), [0, 1, 0, 1]),
        "arrays has the shape (3, 8, 8), which is not that of an image.\n"
        "Put the channels last: image.transpose(1, 2, 0).",
    ),
    (
        lambda small: (np.zeros((4, 80, 8, 99), np.uint8), [0, 1, 0, 1]),
        "arrays has the shape (80, 8, 99), which is not that of an image.\n"
        "Give (height, width, 3) RGB, grey, or 2 to 64 bands.",
    ),
    (
        lambda small: (np.zeros((8, 8), np.uint8), [0] * 8),
        "arrays has the shape (8, 8); images are (number, height, width, channels).\nPut a single image into a list.",
    ),
    (
        lambda small: (small[0], small[1][:-1]),
        "arrays has 300 images and 299 labels.\nGive one for each image, in order.",
    ),
    (
        lambda small: (small[0][:2], [0.5, 1.0]),
        "arrays: the label of image 0 is 0.5; labels are class names or whole numbers.\nName the class of every image.",
    ),
    (
        lambda small: (small[0][:2], ["cat", "cat"]),
        "arrays has one class only, 'cat': there is nothing to tell apart.\nGive images of at least one more class.",
    ),
    (lambda small: [("a.png", "cat"), ("a.png", "dog")], "files lists a.png twice.\nKeep one entry for each file."),
    (
        lambda small: [("a.png", "cat", "train"), ("b.png", "dog")],
        "files: b.png is of no split, but other files are.\nGive all of them one: (path, label, split).",
    ),
    (
        lambda small: [("a.png", "cat"), ("b.png",)],
        "files: entry 1 is ('b.png',), not (path, label) or (path, label, split).\nList every file with its label.",
    ),
    (
        lambda small: [],
        "No images can be read from an empty list.\n"
        "Give a path, a set such as 'digits', (images, labels) as arrays, [(path, label), ...] or a DataSource.",
    ),
    (
        lambda small: 7,
        "No images can be read from a value of type int.\n"
        "Give a path, a set such as 'digits', (images, labels) as arrays, [(path, label), ...] or a DataSource.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("give", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_is_no_set_of_labelled_images_is_refused_with_the_way_out(
    give: Callable[[Small], object], message: str, small: Small
):
    with pytest.raises(DataError) as error:
        as_source(give(small))  # type: ignore[arg-type]
    assert error.value.message == message


def test_images_of_several_sizes_may_stand_in_an_array_of_objects():
    images, labels = [np.full((8, 9 + number, 3), number, np.uint8) for number in range(4)], ["a", "b", "a", "b"]
    held_N = np.empty(4, dtype=object)
    held_N[:] = images
    source = as_source((held_N, labels))
    assert [source.read(index).tolist() for index in range(4)] == [image.tolist() for image in images]
    with pytest.raises(DataError) as error:
        as_source((np.stack([image[:, :9] for image in images]).astype(object), labels))
    assert str(error.value) == (
        "arrays holds object values; pixels are uint8, 0 to 255, or uint16.\n"
        "Turn them into numbers by images.astype('uint8')."
    )


def test_a_label_outside_the_classes_is_named(small: Small):
    with pytest.raises(DataError) as error:
        api.ArraySource(small[0], small[1], classes=NAMES[:5])
    assert error.value.message == (
        "arrays: the label 5 is not among its 5 classes.\nAdd its name to `classes`, or correct the label."
    )


def test_a_file_that_is_not_there_is_named_before_training(small: Small, tmp_path: Path):
    Image.fromarray(small[0][0]).save(tmp_path / "a.png")
    files = [(tmp_path / "a.png", "cat"), (tmp_path / "b.png", "dog")]
    with pytest.raises(DataError) as error:
        api.train(request(files, tmp_path / "run"))
    assert error.value.message == (
        f"files: 1 of 2 images cannot be decoded.\n"
        f"{tmp_path}/b.png: the file cannot be read: No such file or directory.\n"
        f"Repair or remove them; train, transfer, evaluate and shard leave them out with --on-bad-image skip."
    )


def test_a_network_of_ones_own_is_trained_judged_and_asked_when_it_is_given_again(small: Small, tmp_path: Path):
    torch.manual_seed(4)
    network = Net()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    result = api.train(request(small, tmp_path / "run", model=network, epochs=3))
    assert equal(before, network.state_dict())  # the caller's own stays as it is
    assert not equal(before, weights(tmp_path / "run"))
    assert result.judgement.metrics.top1 > 0.2
    name = result.config.model
    assert re.fullmatch(r"in memory: Net \(digest [0-9a-f]{12}\)", name)
    assert find_checkpoint(tmp_path / "run").manifest.model == name
    torch.manual_seed(9)
    again = api.evaluate(tmp_path / "run", small, model=Net())
    assert again.metrics.top1 == result.judgement.metrics.top1
    (answer,) = api.predict(tmp_path / "run", small[0][0], model=Net())
    assert sum(answer.probabilities) == pytest.approx(1)
    assert api.report(tmp_path / "run", model=Net()).is_file()
    with pytest.raises(ModelError) as error:
        api.explain(tmp_path / "run", small[0][0], model=Net())
    assert error.value.message == (
        "Net does not name its parts, so its maps cannot be found.\n"
        "Make it an ImageClassifier with stem, stages, neck and head (docs/explaining.md)."
    )


def test_training_a_network_of_ones_own_begins_with_its_weights(small: Small, tmp_path: Path):
    torch.manual_seed(4)
    network = Net()
    settings = {**SETTINGS, "optimizer": {"learning_rate": 1e-12, "weight_decay": 0.0}}
    api.train(request(small, tmp_path / "run", model=network, settings=settings))
    shipped = weights(tmp_path / "run")
    assert torch.allclose(shipped["last.weight"], network.last.weight, atol=1e-6)


def test_a_run_with_a_network_of_ones_own_goes_on_when_it_is_given_again(small: Small, tmp_path: Path):
    class Stopping(api.Silent):
        def step(self, epoch: int, batch: int, num_batches: int, means: object) -> None:
            api.request_stop()

    torch.manual_seed(4)
    network = Net()
    api.train(request(small, tmp_path / "whole", model=network))
    with pytest.raises(api.Stopped):
        api.train(request(small, tmp_path / "cut", model=network), Stopping())
    api.train(api.TrainRequest(source=small, model=network, out=tmp_path / "cut", resume=True))
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_run_with_a_network_of_ones_own_says_what_it_needs(small: Small, tmp_path: Path, saccade: Callable[..., Any]):
    api.train(request(small, tmp_path / "run", model=Net()))
    missing = (
        "This network, Net, was given from Python: no file says how to build it.\n"
        "Give the same network again, for example api.evaluate(run, source, model=Net()) (docs/python.md)."
    )
    with pytest.raises(ModelError) as error:
        api.evaluate(tmp_path / "run", small)
    assert error.value.message == missing
    finished = saccade("evaluate", tmp_path / "run", "digits")
    assert (finished.status, finished.errors) == (1, f"error: {missing}\n")
    with pytest.raises(ModelError) as error:
        api.table(tmp_path / "run")
    assert error.value.message == missing
    with pytest.raises(ModelError) as error:
        api.evaluate(tmp_path / "run", small, model=Net(activation=nn.GELU))
    assert error.value.message == (
        "The network given, Net, is not that of the run, Net: the kinds of their layers, or the names, shapes or types "
        "of their tensors differ.\nGive the network that the run was trained with."
    )


def test_a_network_that_does_not_fit_is_refused_before_training(small: Small, tmp_path: Path):
    with pytest.raises(ModelError) as error:
        api.train(request(small, tmp_path / "a", model=Net(num_classes=7)))
    assert error.value.message == (
        "Net turns 2 images into (2, 7); 10 classes need (2, 10) logits.\n"
        "Give its last layer 10 outputs, and remove the softmax after it."
    )
    with pytest.raises(ModelError) as error:
        api.train(request(small, tmp_path / "b", model=Net(), settings={**SETTINGS, "input": {"channels": "rgb"}}))
    assert re.fullmatch(
        r"Net cannot take images of 32x32x3: .*expected input\[2, 3, 32, 32\] to have 1 channels.*\n"
        r"Set the input to what it takes: input.size_px for the height, input.width_px for another width, "
        r"input.channels for grey or rgb\.",
        error.value.message,
    )
    with pytest.raises(UsageError) as usage:
        api.train_ensemble(request(small, tmp_path / "c", model=Net(), ensemble=2))
    assert usage.value.message == (
        "The members of an ensemble begin with different weights; a network given from Python brings one set.\n"
        "Give a name or a line of notation, or train the members one by one with api.train."
    )
    assert not any((tmp_path / name).exists() for name in "abc")


def test_a_request_alone_has_no_name_for_what_is_in_memory(small: Small):
    with pytest.raises(UsageError) as error:
        api.TrainRequest(source=small).config()
    assert error.value.message == (
        "A tuple in memory has no name that a configuration could hold.\n"
        "Give the request to a verb, such as api.train(request), which names it."
    )


def test_several_labels_of_images_in_memory_are_lists_or_columns(small: Small):
    images, label_N = small[0][:4], [["b", "a"], [], ["b"], ["a"]]
    listed = api.ArraySource(images, label_N)
    assert listed.task.is_several
    assert listed.classes == ("a", "b")
    assert [listed.record(index).labels for index in range(4)] == [(0, 1), (), (1,), (0,)]
    columns = api.ArraySource(images, np.array([[1, 1], [0, 0], [0, 1], [1, 0]]), classes=("a", "b"))
    assert [columns.record(index).labels for index in range(4)] == [(0, 1), (), (1,), (0,)]
    assert columns.digest == listed.digest
    assert listed.digest != api.ArraySource(images, [["a"], [], ["b"], ["a"]]).digest
    for labels, message in (
        (["a", ["b"], "a", "a"], "arrays: the label of image 0 is not a list, and others are."),
        ([[], [], [], []], "arrays has no image with a label: there is nothing to learn."),
        (np.full((4, 2), 2), "arrays has labels of the shape (4, 2) that are not all 0 or 1."),
    ):
        with pytest.raises(DataError) as error:
            api.ArraySource(images, labels)
        assert str(error.value).splitlines()[0] == message


def test_labels_in_one_column_are_one_label_each():
    image_NHW = np.zeros((4, 8, 8), np.uint8)
    column = api.ArraySource(image_NHW, np.array([[0], [1], [1], [0]]), classes=("empty", "full"))
    assert column.classes == ("empty", "full")
    assert column.task.is_one
    assert [column.record(index).label for index in range(4)] == [0, 1, 1, 0]
