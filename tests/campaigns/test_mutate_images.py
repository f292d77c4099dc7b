"""A small run of the mutation campaign: damaged files of every format, and the campaign sees what it must see."""

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import features
from tests.processes import run_python

EXTRAS = {"HEIC": "pillow_heif", "DICOM": "pydicom"}
REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _campaigns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY)


def test_damaged_files_give_an_image_or_one_error_that_names_the_file():
    kinds = {"JPEG", "PNG", "GIF", "WebP", "BMP", "TIFF", "JPEG 2000", "Netpbm", "NumPy"}
    kinds |= {"AVIF"} if features.check("avif") else set()
    kinds |= {kind for kind, name in EXTRAS.items() if importlib.util.find_spec(name)}
    number = str(200 * len(kinds))
    done = run_python(["-m", "campaigns.mutate_images", "--mutations", number, "--seed", "4"], REPOSITORY)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert set(result["outcomes"]) == kinds
    for kind, counts in result["outcomes"].items():
        assert sum(counts.values()) == 200
        assert min(counts["image"], counts["error"]) >= 5, (
            kind
        )  # both the decoder's inside and its refusals are reached


def test_valid_files_are_images_and_mutations_are_repeatable():
    from campaigns.mutate_images import mutation, valid_files

    from saccade.data.images.decode import decode_image

    files = valid_files()
    for kind, contents in files.items():
        for content in contents:
            shape = decode_image(content, kind).image_HWC.shape
            assert shape in ((48, 64, 3), (64, 48, 3)), kind
    first, again = ([mutation(7, number, files) for number in range(200)] for _ in range(2))
    assert first == again
    assert len({content for _, content in first}) > 190


DEFECTS = {
    "raise KeyError('x')": "KeyError",
    "raise ImageError('another', 'is bad.')": "error",
    "start = time.process_time()\nwhile time.process_time() < start + 1: pass": "error",
    "keep = bytearray(400_000_000); keep[::4096] = b'x' * len(keep[::4096])": "error",
    "os.kill(os.getpid(), 9)": "crash",
    "time.sleep(600)": "hang",
}


PLANTED = """
import os, sys, time
import saccade.data.images.decode
from saccade.core.errors import ImageError
def decode_image(content, key):
    exec(DEFECTS[key])
    raise ImageError(key, "is bad.")
saccade.data.images.decode.decode_image = decode_image
"""


def test_a_planted_defect_of_each_kind_is_seen(monkeypatch: pytest.MonkeyPatch):
    """By one child, which is replaced where it has died or hangs."""
    from campaigns import mutate_images

    files = {f"{number}.png": defect for number, defect in enumerate(DEFECTS)}
    monkeypatch.setattr(mutate_images, "CHILD", f"DEFECTS = {files!r}\n{PLANTED}{mutate_images.CHILD}")
    monkeypatch.setattr(mutate_images, "MAX_SECONDS", 0.5)
    decoder = mutate_images.Decoder()
    try:
        for key, defect in files.items():
            with monkeypatch.context() as patience:
                if DEFECTS[defect] == "hang":
                    patience.setattr(mutate_images, "PATIENCE_S", 2.0)
                answer = decoder.decode(b"x" * 200_000, key)
            assert answer["outcome"] == DEFECTS[defect], defect
            assert mutate_images.wrong(answer, key), defect
    finally:
        decoder.close()
