"""The picture of signed numbers: what its colours mean, that they are even to the eye, and where it may be written."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from saccade.core.errors import StorageError, UsageError
from saccade.filters import view as filter_view
from saccade.filters.view import absolute_view, check_out, check_show, clipped_view, make_view, signed_view

RAMP = np.linspace(-50, 50, 101)[None, :, None]


def oklab(colour_N3: np.ndarray) -> np.ndarray:
    """sRGB to OKLab, the way opposite to the program's, with the matrices of Ottosson 2020."""
    value = colour_N3 / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    to_cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.cbrt(linear @ np.transpose(to_cones)) @ np.transpose(to_lab)


def test_signed_is_white_at_zero_orange_above_and_blue_below():
    colours = signed_view(RAMP).image_HWC[0].astype(int)
    assert_array_equal(colours[50], [255, 255, 255])
    red, _, blue = colours[-1]
    assert red > blue + 100
    red, _, blue = colours[0]
    assert blue > red + 100


def test_signed_colours_are_even_to_the_eye_on_both_sides_of_zero():
    lab = oklab(signed_view(RAMP).image_HWC[0].astype(float))
    steps = np.linalg.norm(lab[10::10] - lab[:-10:10], axis=1)
    assert steps.max() / steps.min() < 1.1
    assert np.abs(lab[:, 0] - lab[::-1, 0]).max() < 0.01  # equally light: neither sign looks stronger


def test_the_scale_is_stated():
    assert signed_view(RAMP).scale == "signed: values in even steps; white is 0, full orange +50, full blue -50"
    assert absolute_view(RAMP).scale == "absolute: black is 0, full brightness 50; the sign is not shown"
    assert clipped_view(RAMP * 10).scale == "clipped: values as they are, 0 to 255; 74.3 % lay outside and are cut"
    flat = signed_view(np.zeros((2, 2, 3)))
    assert flat.scale == "signed: all values of the brightness are 0, which is white"
    assert (flat.image_HWC == 255).all()
    assert (absolute_view(np.zeros((2, 2, 1))).image_HWC == 0).all()


def test_rare_strong_values_do_not_make_the_others_invisible():
    response = np.ones((100, 100, 1))
    response[0, :10] = 1000
    view = absolute_view(response)
    assert (
        view.scale == "absolute: black is 0, full brightness 1 and beyond (0.10 % of the values); the sign is not shown"
    )
    assert (view.image_HWC == 255).all()


def test_the_signed_view_of_colour_is_that_of_its_brightness():
    colour = np.random.default_rng(0).normal(size=(5, 6, 3))
    grey = (colour @ [0.299, 0.587, 0.114])[..., None]
    assert_array_equal(signed_view(colour).image_HWC, signed_view(grey).image_HWC)


def test_clipped_and_absolute_by_hand():
    response = np.array([-10.0, 0.4, 0.6, 254.6, 300.0])[None, :, None]
    assert clipped_view(response).image_HWC[0, :, 0].tolist() == [0, 0, 1, 255, 255]
    assert absolute_view(np.array([-4.0, 2.0, 0.0])[None, :, None]).image_HWC[0, :, 0].tolist() == [255, 128, 0]


@pytest.mark.parametrize(
    ("weights", "start"),
    [([[1, 0, -1]], "signed"), ([[1, 1, 1]], "clipped"), ([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], "clipped")],
)
def test_auto_shows_edges_signed_and_everything_else_clipped(weights: list, start: str):
    assert make_view(RAMP, "auto", np.array(weights, float)).scale.startswith(start)


def test_an_unknown_view_is_refused():
    with pytest.raises(UsageError) as error:
        check_show("clippd")
    assert str(error.value) == (
        "Unknown view 'clippd'. Did you mean 'clipped'? Use one of: auto, signed, absolute, clipped."
    )


@pytest.mark.parametrize("name", ["edges.png", "edges.JPG", "edges.npy"])
def test_what_is_written_can_be_read_again(tmp_path: Path, name: str):
    response = np.random.default_rng(1).normal(size=(20, 30, 3)) * 100
    view = clipped_view(response)
    filter_view.write_response(tmp_path / name, response, view)
    content = (tmp_path / name).read_bytes()
    if name.endswith(".npy"):
        assert_array_equal(np.load(io.BytesIO(content), allow_pickle=False), response)
        return
    written = np.asarray(Image.open(io.BytesIO(content)))
    tolerance = 0 if name.endswith(".png") else 20  # JPEG of noise
    assert np.abs(written.astype(int) - view.image_HWC).mean() <= tolerance


ENDINGS = "Use .png or .jpg for a picture, or .npy for the numbers themselves."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "edges.xyz",
            f"Cannot write 'HERE/edges.xyz': '.xyz' is not a kind of file that this command writes.\n{ENDINGS}",
        ),
        (
            "edges",
            "Cannot write 'HERE/edges': a name without an ending is not a kind of file that this command writes.\n"
            f"{ENDINGS}",
        ),
        (
            "missing/edges.png",
            "Cannot write 'HERE/missing/edges.png': there is no folder 'HERE/missing'.\n"
            "Create it, or choose another place with --out.",
        ),
        ("folder.png", "Cannot write 'HERE/folder.png': it is a folder.\nAdd a file name to --out."),
        ("photo.png", "Cannot write 'HERE/photo.png': it is the photo itself.\nChoose another name with --out."),
    ],
)
def test_an_out_that_cannot_be_is_refused_before_any_work(tmp_path: Path, name: str, message: str):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "photo.png").write_bytes(b"the photo")
    with pytest.raises(UsageError) as error:
        check_out(tmp_path / name, tmp_path / "photo.png")
    assert str(error.value) == message.replace("HERE", str(tmp_path))


def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("saccade.core.atomic.open", refuse, raising=False)  # as root, permissions would not refuse
    with pytest.raises(StorageError) as error:
        filter_view.write_response(tmp_path / "edges.png", RAMP, clipped_view(RAMP))
    assert str(error.value) == (
        f"Cannot write {tmp_path}/edges.png: it may not be written by you.\n"
        f"Choose another place, or change the permissions."
    )


def test_a_jpeg_side_beyond_the_format_is_refused(tmp_path: Path):
    response = np.zeros((1, 65_501, 1))
    with pytest.raises(UsageError) as error:
        filter_view.write_response(tmp_path / "edges.jpg", response, clipped_view(response))
    assert str(error.value) == "A JPEG file has at most 65,500 pixels a side; write a .png instead."
