"""`saccade features`: three kinds of file, each with what the head of the network sees, by an independent reading."""

import csv
import hashlib
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import load_file, save_file

import saccade as library
from saccade import api
from saccade.classify.classifier import open_member
from saccade.classify.features import stream_features
from saccade.data.sources.digits import Digits
from saccade.data.sources.in_memory import HeldImage
from saccade.runs.checkpoint import find_checkpoint
from saccade.weights.card import KEY_LICENCE, KEY_PREPROCESSING

DIGITS = Digits()


def seen_by_the_head(run: Path, keys: list[str]) -> np.ndarray:
    """What goes into the head of the network, taken by a hook, one image at a time."""
    model = library.load(run)
    found: list[np.ndarray] = []
    hook = model.module.head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].float().numpy()))
    for key in keys:
        model(key)
    hook.remove()
    return np.concatenate(found)


def read(path: Path) -> tuple[list[str], list[str], np.ndarray, dict]:
    """(keys, labels, features, facts) of a file, by the tools that others read it with."""
    if path.suffix == ".parquet":
        table = parquet.read_table(path)
        features = np.array(table["feature"].to_pylist(), np.float32)
        labels = [label or "" for label in table["label"].to_pylist()]
        return table["key"].to_pylist(), labels, features, json.loads(table.schema.metadata[b"saccade"])
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            facts = json.loads(str(arrays["facts"]))
            return arrays["key_N"].tolist(), arrays["label_N"].tolist(), arrays["feature_ND"], facts
    with path.open(newline="", encoding="utf-8") as file:
        headings, *rows = csv.reader(file)
    assert headings[:3] == ["key", "label", "f0"]
    features = np.array([row[2:] for row in rows]).astype(np.float32)
    facts = json.loads(path.with_name(f"{path.name}.json").read_text())
    return [row[0] for row in rows], [row[1] for row in rows], features, facts


@pytest.mark.parametrize("ending", [".parquet", ".npz", ".csv"])
def test_a_file_holds_what_the_head_sees_and_what_computed_it(
    saccade: Callable, digits_run: Path, new: Path, ending: str
):
    out = Path(f"f{ending}")
    done = saccade("features", digits_run, new, "--out", out, "--json")
    assert done.status == 0, done.errors
    keys, labels, features, facts = read(out)
    assert keys == [f"new/{number:02d}.png" for number in range(40)]
    assert labels == [""] * 40
    np.testing.assert_allclose(features, seen_by_the_head(digits_run, keys), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features, library.load(digits_run).features(keys))  # one way to compute them
    manifest = find_checkpoint(digits_run).manifest
    assert facts["weights_sha256"] == manifest.files["weights.safetensors"].sha256
    assert facts["preprocessing"] == manifest.preprocessing.model_dump(mode="json")
    assert (facts["network"], facts["classes"]) == ("lenet5", list(manifest.classes))
    told = json.loads(done.output)
    assert (told["num_written"], told["num_bad"], told["num_features"]) == (40, 0, features.shape[1])
    assert not list(Path().glob("*saccade-tmp*"))


def test_a_set_that_knows_its_labels_gives_them(saccade: Callable, digits_run: Path, new: Path):
    for number in range(12):
        place = Path("photos") / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((new / f"{number:02d}.png").read_bytes())
    Path("photos/loose.png").write_bytes((new / "00.png").read_bytes())
    done = saccade("features", digits_run, "photos", "digits", "--out", "f.parquet")
    assert done.status == 0, done.errors
    keys, labels, features, _ = read(Path("f.parquet"))
    assert len(keys) == 12 + 1797
    assert labels[:12] == ["a"] * 6 + ["b"] * 6
    assert labels[12:] == [str(DIGITS.record(index).label) for index in range(1797)]
    assert "1 image beside the class folders" in done.errors
    assert done.output == f"{features.shape[1]} features of each of 1,809 images written to f.parquet.\n"


def test_a_network_with_public_weights_sees_as_the_run_does_whose_weights_they_are(
    saccade: Callable, digits_run: Path, new: Path
):
    weights = find_checkpoint(digits_run).folder / "weights.safetensors"
    preprocessing = find_checkpoint(digits_run).manifest.preprocessing.model_dump_json()
    facts = {"format": "pt", KEY_LICENCE: "CC-BY-NC-4.0", KEY_PREPROCESSING: preprocessing}
    public = Path("public.safetensors")
    save_file(load_file(weights), public, metadata=facts)
    done = saccade("features", "lenet5", "new", "--weights", public, "--out", "f.npz")
    assert done.status == 0, done.errors
    assert "CC-BY-NC-4.0" in done.errors  # a licence is never hidden
    keys, _, features, facts_written = read(Path("f.npz"))
    np.testing.assert_array_equal(features, library.load(digits_run).features(keys))
    assert (facts_written["run"], facts_written["weights"]) == ("", str(public))
    assert facts_written["licence"] == "CC-BY-NC-4.0"
    assert facts_written["weights_sha256"] == hashlib.sha256(public.read_bytes()).hexdigest()
    done = saccade("features", "lenet5", "new", "--weights", public, "--out", "units/", "--json")
    assert done.status == 0, done.errors
    assert json.loads(done.output)["num_written"] == 1


def test_an_image_that_cannot_be_read_is_named_and_left_out(saccade: Callable, digits_run: Path, new: Path):
    (new / "05.png").write_bytes(b"")
    done = saccade("features", digits_run, new, "--out", "f.npz")
    assert done.status == 1
    assert done.errors.endswith(
        "error: new/05.png: the file is empty (0 bytes).\n"
        "note: new is read without labels: The folder new holds images but no sub-folders.\n"
        "error: 1 of 40 could not be read; they are not in f.npz.\n"
    )
    assert len(read(Path("f.npz"))[0]) == 39


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (
            ["RUN", "new", "--out", "f.txt"],
            "Features are written as .parquet, .npz or .csv; got 'f.txt'.\nChange the ending of --out.",
            2,
        ),
        (
            ["RUN", "empty", "--out", "f.csv"],
            "empty: the folder holds no images (endings looked for: ENDINGS).\n"
            "error: No image could be used, so f.csv is not written.",
            1,
        ),
        (
            ["gone", "new", "--out", "f.csv"],
            "The run gone is not there.\nGive the folder that 'saccade train' printed, such as runs/digits-lenet5-1.",
            1,
        ),
        (
            ["lenet5", "new", "--out", "f.csv"],
            "'lenet5' is a network, and no run has that name here: which weights should it have?\n"
            "Give them: --weights FILE-OR-FOLDER. Those that can be fetched: saccade weights lenet5",
            2,
        ),
        (
            ["new", "RUN", "--out", "f.csv"],
            "Wrong order: RUN is a run, new is not; runs come before the images.\n"
            "Write: saccade features RUN new --out f.csv",
            2,
        ),
    ],
)
def test_mistakes_get_one_message_and_leave_nothing(
    saccade: Callable, digits_run: Path, new: Path, arguments: list[str], message: str, status: int
):
    from saccade.data.sources.shared.image_files import ENDINGS_SHOWN

    Path("empty").mkdir()
    done = saccade("features", *(str(digits_run) if word == "RUN" else word for word in arguments))
    expected = message.replace("RUN", str(digits_run)).replace("ENDINGS", ENDINGS_SHOWN)
    assert (done.status, done.errors) == (status, f"error: {expected}\n")
    assert sorted(path.name for path in Path().iterdir()) == ["empty", "new"]


def test_an_ensemble_is_refused_with_a_member_to_take(saccade: Callable, new: Path):
    api.train_ensemble(
        api.TrainRequest(source="digits", epochs=1, ensemble=2, out="five", settings=["runtime.num_threads=1"])
    )
    for verb, more in (("features", ["--out", "f.npz"]), ("suggest", []), ("drift", []), ("add-class", [])):
        done = saccade(verb, "five", "new", *more)
        assert (done.status, done.errors) == (
            2,
            f"error: five is an ensemble of 2 runs; 'saccade {verb}' takes one run.\n"
            "Take a member, such as five/member-1.\n",
        )


def test_without_pyarrow_two_other_kinds_of_file_are_offered(
    saccade: Callable, digits_run: Path, new: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = saccade("features", digits_run, new, "--out", "f.parquet")
    assert (done.status, done.errors) == (
        2,
        "error: Parquet files need pyarrow, which is not installed.\n"
        "Install it: pip install 'saccade-learn[data]'; or write .npz or .csv, which need nothing more.\n",
    )
    assert saccade("features", digits_run, new, "--out", "f.npz").status == 0


def test_a_stopped_writing_leaves_the_file_that_was_there(digits_run: Path, new: Path):
    api.features(digits_run, new, "f.npz")
    before = Path("f.npz").read_bytes()
    (new / "39.png").write_bytes(b"")
    with pytest.raises(api.ImageError, match=r"^new/39\.png: the file is empty \(0 bytes\)\.$"):
        api.features(digits_run, new, "f.npz")
    assert Path("f.npz").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == ["f.npz", "new"]


@pytest.mark.parametrize("ending", [".parquet", ".npz", ".csv"])
def test_memory_does_not_grow_with_the_number_of_images(
    digits_run: Path, new: Path, ending: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("saccade.survey.feature_file.ROWS_AT_ONCE", 64)
    content = (new / "00.png").read_bytes()

    def peak(num_images: int) -> int:
        items = (HeldImage(f"{number}.png", lambda: content) for number in range(num_images))
        tracemalloc.start()
        api.features(digits_run, items, f"f{ending}")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(64)
    assert peak(1_500) < peak(300) + 250_000  # the features of 1,200 images are 400,000 bytes


def test_names_that_no_format_holds_as_they_are_come_back_as_escapes(digits_run: Path, new: Path):
    content = (new / "00.png").read_bytes()
    names = ["a\0b.png", "caf\udce9.png", "=1+1.png", "line\nbreak.png", "tail "]
    for ending in (".parquet", ".npz", ".csv"):
        api.features(digits_run, [HeldImage(name, lambda: content) for name in names], f"f{ending}")
        keys = read(Path(f"f{ending}"))[0]
        plain = ["a\\x00b.png", "caf\\udce9.png", "=1+1.png", "line\nbreak.png", "tail "]
        cells = ["a\\x00b.png", "caf\\udce9.png", "'=1+1.png", "line\\nbreak.png", "tail "]
        assert keys == (cells if ending == ".csv" else plain)


def test_probabilities_beside_the_features_are_those_of_predict(digits_run: Path, new: Path):
    paths = sorted(new.iterdir())
    member = open_member(digits_run)
    items = [HeldImage(str(path), path.read_bytes) for path in paths]
    probability_NK = np.concatenate([batch.probability_GK for batch in stream_features(member, items)])
    told = np.array([answer.probabilities for answer in api.predict(digits_run, paths)])
    np.testing.assert_allclose(probability_NK, told, atol=1e-6)
    assert torch.is_grad_enabled()


def test_images_in_memory_have_features_too(digits_run: Path, new: Path):
    with Image.open(new / "00.png") as first, Image.open(new / "01.png") as second:
        pictures = [first.copy(), np.array(second)]
    written = api.features(digits_run, pictures, "f.npz")
    assert written.num_written == 2
    np.testing.assert_array_equal(
        read(Path("f.npz"))[2], library.load(digits_run).features([str(new / "00.png"), str(new / "01.png")])
    )


@pytest.mark.parametrize("verb", ["features", "similar", "suggest", "drift"])
def test_an_address_is_opened_only_where_it_is_allowed(
    saccade: Callable, digits_run: Path, new: Path, verb: str, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def fetch(text: str, limit_s: float) -> bytes:
        asked.append(text)
        return (new / "00.png").read_bytes()

    monkeypatch.setattr("saccade.classify.asked_images.read_whole", fetch)
    first = {"features": ["--out", "f.npz"], "similar": ["new/01.png"]}.get(verb, [])
    command = [verb, digits_run, *first, "https://host/a.png"]
    done = saccade(*command)
    assert (done.status, done.errors) == (
        2,
        "error: 'https://host/a.png' is an address, and none is opened unasked.\n"
        "If you want it to be fetched, add --allow-url.\n",
    )
    assert asked == []
    done = saccade(*command, "--allow-url")
    assert set(asked) == {"https://host/a.png"}
    assert done.status == (1 if verb == "drift" else 0), done.errors  # one image is too few for drift
