"""What a transfer tells a person: each note once, networks in words, and what the validation images did."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from saccade import api
from saccade.cli.transfer import transfer_text
from saccade.models.architecture import ModelSpec, build_model
from saccade.models.new_head import network_words

PIXELS = {"channels": "rgb", "input_height_px": 32, "input_width_px": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
SMALL = ["runtime.precision=float32", "runtime.num_threads=1", "loader.threads=1"]


class Listening(api.Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, lines: list[str]) -> None:
        self.lines += lines


def write_weights(folder: Path, scale: float) -> str:
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(3, 32, 32)))
    tensors = {name: (tensor * scale).contiguous() for name, tensor in model.state_dict().items()}
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"saccade.preprocessing": json.dumps(PIXELS)})
    return str(folder)


def write_photos(folder: Path, parts: dict[str, int]) -> None:
    """`parts`: "" or train, validation, and how many images of each of two classes. A document lies among them."""
    number = 0
    for part, count in parts.items():
        for name, level in (("dark", 40), ("light", 160)):
            (folder / part / name).mkdir(parents=True)
            for _ in range(count):
                number += 1
                pixels_HWC = np.random.default_rng(number).integers(0, 90, (32, 32, 3), dtype=np.uint8) + level
                Image.fromarray(pixels_HWC.astype(np.uint8)).save(folder / part / name / f"{number}.png")
    (folder / next(iter(parts)) / "dark" / "notes.docx").write_bytes(b"")


def transferred(
    folder: Path, parts: dict[str, int], scales: tuple[float, ...], *settings: str
) -> tuple[api.TransferResult, Listening]:
    write_photos(folder / "photos", parts)
    listening = Listening()
    request = api.TransferRequest(
        source=str(folder / "photos"),
        weights=[write_weights(folder / f"w{scale}", scale) for scale in scales],
        freeze="all",
        out=folder / "run",
        cache="none",
        settings=[*SMALL, *settings],
    )
    return api.transfer(request, listening), listening


def test_images_that_are_opened_for_every_network_are_told_of_once(tmp_path: Path):
    _, heard = transferred(tmp_path, {"": 24}, (1.0, 0.5))
    assert [note for note in heard.notes if "docx" in note] == ["1 file passed over: 1 .docx"]
    assert len(heard.notes) == len(set(heard.notes))


def test_with_everything_frozen_validation_images_fit_the_temperature_alone_and_that_is_said(tmp_path: Path):
    result, heard = transferred(tmp_path, {"": 24}, (1.0,))
    split, model = heard.lines[3:]
    assert [line.split()[0] for line in heard.lines] == ["data", "device", "run", "split", "model"]  # each once
    assert " to train on, 4 to fit the temperature, 10 to judge (" in split
    assert model.startswith("model   lenet5: ")  # its own last layer, for other classes
    assert result.run.judgement.checkpoint.manifest.metrics["temperature_images"] == 4
    said = "The 4 validation images fitted the temperature of the confidences, and were used for nothing else."
    assert said in transfer_text(result).splitlines()
    assert said in api.report(tmp_path / "run").read_text(encoding="utf-8")


def test_with_everything_frozen_a_verdict_on_validation_images_does_not_flatter(tmp_path: Path):
    result, heard = transferred(tmp_path, {"train": 20, "validation": 6}, (1.0,), "split.test_fraction=0")
    assert "40 to train on, 12 to judge (" in heard.lines[3]
    assert result.run.judgement.split == "validation"
    assert not [caveat for caveat in result.run.judgement.caveats if "epoch" in caveat]
    said = "No epoch was chosen by the validation images, and no temperature was fitted to them."
    assert said in transfer_text(result).splitlines()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet18", "resnet18"),
        ("resnet18+loglinear", "resnet18 with a new last layer"),
        ("resnet18+linear", "resnet18 with a new last layer"),
        ("resnet18+hidden256", "resnet18 with a new last layer behind 256 hidden units"),
        ("a+b", "a+b"),
    ],
)
def test_a_network_with_a_new_head_is_named_in_words(name: str, words: str):
    assert network_words(name) == words
