"""Colour profiles against the arithmetic of ICC.1: matrices and curves written by hand, and what is left aside."""

import io
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from saccade.data.checkup.inspection import inspect_source
from saccade.data.images.decode import decode_image, decode_opened
from saccade.data.images.decode_for_training import read_rgbx
from saccade.data.images.formats import profiles
from saccade.data.images.formats.profiles import DAMAGED, TOO_LARGE

NOISE_HWC = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
# Columns of the matrices to the connection space, D50 (chromatic adaptation by Bradford), as published with the spaces
SRGB_33 = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
P3_33 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE_33 = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])


def number(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def curve(gamma: float | None) -> bytes:
    """A curve of that power; None: the one of sRGB (parametric type 3)."""
    if gamma is not None:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    parts = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(map(number, parts))


def profile(name: str, matrix_33: np.ndarray | None, gamma: float | None, space: bytes = b"RGB ") -> bytes:
    """An ICC profile of version 2 by its specification: matrix and curves, or of grey a curve alone."""
    text = name.encode()
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + number(0.9642) + number(1.0) + number(0.8249),
    }
    if matrix_33 is None:
        tags[b"kTRC"] = curve(gamma)
    else:
        for letter, column_3 in zip("rgb", matrix_33.T):
            tags[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + b"".join(map(number, column_3))
            tags[f"{letter}TRC".encode()] = curve(gamma)
    place, index, data = 132 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        index += tag + struct.pack(">II", place + len(data), len(content))
        data += content
    header = struct.pack(">I4sI4s4s4s", place + len(data), bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + number(0.9642) + number(1.0) + number(0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + index + data


def srgb_decoded(value: np.ndarray) -> np.ndarray:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def srgb_coded(value: np.ndarray) -> np.ndarray:
    value = value.clip(0, 1)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


def as_srgb(image_HWC: np.ndarray, matrix_33: np.ndarray, gamma: float | None) -> np.ndarray:
    part = image_HWC / 255
    linear = srgb_decoded(part) if gamma is None else part**gamma
    return 255 * srgb_coded(linear @ (np.linalg.inv(SRGB_33) @ matrix_33).T)


P3, ADOBE = profile("Display P3", P3_33, None), profile("Adobe RGB (1998)", ADOBE_33, 2.19921875)
GREY_18 = profile("Grey 1.8", None, 1.8, b"GRAY")
CAMERA = profile("a camera's sRGB", SRGB_33, None)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("icc", "name", "matrix_33", "gamma"),
    [(P3, "Display P3", P3_33, None), (ADOBE, "Adobe RGB (1998)", ADOBE_33, 2.19921875)],
)
def test_colours_of_another_profile_become_srgb(
    kind: str, icc: bytes, name: str, matrix_33: np.ndarray, gamma: float | None
):
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode_image(encoded(Image.fromarray(NOISE_HWC), kind, icc_profile=icc, **options), "a")
    expected = as_srgb(NOISE_HWC, matrix_33, gamma)
    assert np.abs(decoded.image_HWC - expected).max() <= 2
    assert np.abs(decoded.image_HWC - NOISE_HWC.astype(int)).max() > 20
    assert (decoded.profile, decoded.notes) == (name, ())


def test_jpeg_is_converted_for_training_and_evaluation_alike():
    smooth = np.full((64, 64, 3), (250, 60, 60), np.uint8)
    content = encoded(Image.fromarray(smooth), "JPEG", quality=98, subsampling=0, icc_profile=P3)
    expected = as_srgb(smooth[:1, :1], P3_33, None)[0, 0]
    assert np.abs(decode_image(content, "a").image_HWC - expected).max() <= 3
    assert np.abs(read_rgbx(content, "a", lambda height, width: 1.0)[:, :, :3] - expected).max() <= 3
    half = decode_image(content, "a", 32)
    assert half.image_HWC.shape == (32, 32, 3)
    assert np.abs(half.image_HWC - expected).max() <= 3


def test_what_is_as_good_as_srgb_changes_no_bit():
    built = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (CAMERA, built):
        for kind in ("PNG", "JPEG"):
            plain, marked = (encoded(Image.fromarray(NOISE_HWC), kind, **more) for more in ({}, {"icc_profile": icc}))
            decoded = decode_image(marked, "a")
            assert np.array_equal(decoded.image_HWC, decode_image(plain, "a").image_HWC)
            assert (decoded.profile, decoded.notes) == ("", ())
            assert np.array_equal(*(read_rgbx(content, "a", lambda height, width: 1.0) for content in (plain, marked)))


def test_grey_alpha_palette_and_opened_images_are_converted():
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(2, axis=0)
    decoded = decode_image(encoded(Image.fromarray(ramp), "PNG", icc_profile=GREY_18), "a")
    expected = 255 * srgb_coded((ramp / 255) ** 1.8)
    assert np.abs(decoded.image_HWC[:, :, 0] - expected).max() <= 2
    assert all(np.array_equal(decoded.image_HWC[:, :, 0], decoded.image_HWC[:, :, k]) for k in (1, 2))
    alpha = Image.fromarray(NOISE_HWC).convert("RGBA")
    alpha.putalpha(Image.fromarray(NOISE_HWC[:, :, 0]))
    part = NOISE_HWC[:, :, :1] / 255
    expected = as_srgb(NOISE_HWC, P3_33, None) * part + 255 * (1 - part)
    content = encoded(alpha, "PNG", icc_profile=P3)
    assert np.abs(decode_image(content, "a").image_HWC - expected).max() <= 2
    with Image.open(io.BytesIO(content)) as opened:
        assert np.array_equal(decode_opened(opened, "a"), decode_image(content, "a").image_HWC)
    indexed = Image.fromarray(NOISE_HWC).quantize(16)
    expected = as_srgb(np.asarray(indexed.convert("RGB")), P3_33, None)
    assert np.abs(decode_image(encoded(indexed, "PNG", icc_profile=P3), "a").image_HWC - expected).max() <= 2


def test_a_profile_that_cannot_be_used_is_left_aside_with_a_note():
    image = Image.fromarray(NOISE_HWC)
    cases = {
        b"nonsense" * 40: DAMAGED,
        P3[:200]: DAMAGED,
        GREY_18: "its colour profile is for GRAY, its pixels are RGB: they are taken as sRGB.",
    }
    for icc, note in cases.items():
        decoded = decode_image(encoded(image, "PNG", icc_profile=icc), "a")
        assert np.array_equal(decoded.image_HWC, NOISE_HWC)
        assert (decoded.notes, decoded.profile) == ((note,), "")
    assert decode_image(encoded(image, "TIFF", icc_profile=bytes(5 << 20)), "a").notes == (TOO_LARGE,)


def test_a_png_profile_that_unpacks_to_a_gigabyte_is_left_aside():
    content = encoded(Image.fromarray(NOISE_HWC), "PNG")
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1000)) + packer.flush()
    data = b"iCCP" + b"bomb\0\0" + packed
    bomb = content[:33] + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data)) + content[33:]
    decoded = decode_image(bomb, "a")
    assert np.array_equal(decoded.image_HWC, NOISE_HWC)
    assert decoded.notes == (TOO_LARGE,)


def test_inspect_says_how_many_images_were_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name, icc in (("a", P3), ("b", ADOBE), ("c", CAMERA)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(2 if name == "b" else 3):
            image = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            (tmp_path / "set" / name / f"{number}.png").write_bytes(encoded(image, "PNG", icc_profile=icc))
    for _ in range(2):  # the second time from what was kept
        assert inspect_source(str(tmp_path / "set"), 1).notes == (
            "3 images carry the colour profile Display P3: converted to sRGB.",
            "2 images carry the colour profile Adobe RGB (1998): converted to sRGB.",
        )


def test_conversions_are_kept_in_a_small_number_and_shared_by_threads():
    contents = [
        encoded(Image.fromarray(NOISE_HWC), "PNG", icc_profile=profile(f"p{n}", P3_33, 1.5 + n / 20)) for n in range(20)
    ]
    alone = [decode_image(content, "a").image_HWC for content in contents]
    assert len(profiles._conversions) <= profiles.MAX_KEPT
    wrong: list[int] = []

    def decode_all() -> None:
        for number, content in enumerate(contents):
            if not np.array_equal(decode_image(content, "a").image_HWC, alone[number]):
                wrong.append(number)

    threads = [threading.Thread(target=decode_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
