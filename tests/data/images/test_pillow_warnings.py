"""What Pillow warns of stays with the image that it is about; nobody else's warning filters change."""

import io
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.core.errors import ImageError
from saccade.data.images.decode import decode_image
from saccade.data.scan import scan_source
from saccade.data.source import open_source

SOURCE = Path(__file__).parents[3] / "src"


def picture(damage: bool) -> bytes:
    """A JPEG; with `damage`, the entries of its EXIF block lie outside it."""
    exif = Image.Exif()
    exif[0x010F] = "camera of a long name"
    buffer = io.BytesIO()
    Image.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)).save(buffer, "JPEG", exif=exif)
    content = bytearray(buffer.getvalue())
    if damage:
        at = content.index(b"camera of") - 6 - 8
        entry = content.index(b"\x01\x0f" if b"MM" in content[:40] else b"\x0f\x01")
        assert at > entry
        content[entry + 8 : entry + 12] = b"\x7f\xff\xff\x7f"  # where the text lies
    return bytes(content)


def test_damaged_exif_is_a_note_with_the_image_and_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]):
    decoded = decode_image(picture(damage=True), "a.jpg")
    assert decoded.image_HWC.shape == (48, 64, 3)
    assert len(decoded.notes) >= 1
    assert all(note.endswith(".") and note.isprintable() for note in decoded.notes)
    assert decode_image(picture(damage=False), "b.jpg").notes == ()
    assert capfd.readouterr().err == ""


def test_the_scan_names_the_files(tmp_path: Path):
    for name, damage in {"cat/1": True, "cat/2": False, "dog/1": False, "dog/2": True}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jpg").write_bytes(picture(damage))
    notes = scan_source(open_source(str(tmp_path)), 4).notes
    assert [note.partition(": ")[0] for note in notes] == ["cat/1.jpg", "dog/2.jpg"]


def test_threads_that_decode_do_not_change_what_others_are_warned_of():
    """Some threads decode damaged files all the time; what another one is warned of in the meantime all arrives."""
    stop, damaged, errors = threading.Event(), picture(damage=True), []

    def decode() -> None:
        while not stop.is_set():
            if not decode_image(damaged, "a.jpg").notes:
                errors.append("a note went to another thread")

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        threads = [threading.Thread(target=decode) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(300):
            warnings.warn(f"mine {number}", stacklevel=1)
        assert warnings.filters == filters
        stop.set()
        for thread in threads:
            thread.join()
    assert [str(warning.message) for warning in seen] == [f"mine {number}" for number in range(300)]
    assert errors == []


def test_pillow_still_warns_those_who_use_it_themselves():
    with pytest.warns(UserWarning, match="Truncated File Read"):
        Image.open(io.BytesIO(picture(damage=True)))


def test_a_very_large_image_is_an_error_here_and_a_warning_elsewhere():
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    with pytest.raises(ImageError, match=r"^a\.png: the image declares far more than 50,000,000 pixels"):
        decode_image(buffer.getvalue(), "a.png")
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(buffer.getvalue()))


def test_the_import_changes_no_warning_filter():
    program = """
import warnings
import PIL.Image, numpy, cv2, torch, pydantic
before = list(warnings.filters)
import saccade, saccade.api, saccade.data.images.decode, saccade.data.source
saccade.data.source.open_source("digits")
assert warnings.filters == before, set(map(str, warnings.filters)) ^ set(map(str, before))
"""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
