"""Images of other channels than colours: `.npy` and TIFF against NumPy, from the file to the network's input."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from saccade.core.errors import ImageError
from saccade.core.types import Preprocessing
from saccade.data.augment.shared.geometry import Canvas, resample
from saccade.data.images.bands import as_picture, at_depth, network_pixels
from saccade.data.images.decode import decode_image
from saccade.data.images.digests import pixel_digest
from saccade.data.images.normalize import normalize
from saccade.data.images.pixel_statistics import statistics_of_bands
from saccade.data.images.preprocess import prepare_image

RANDOM = np.random.default_rng(5)
SHALLOW_HWC = RANDOM.integers(0, 256, (13, 21, 5), dtype=np.uint8)
DEEP_HWC = RANDOM.integers(0, 65536, (13, 21, 5), dtype=np.uint16)


def npy(array: np.ndarray, version: tuple[int, int] | None = None, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version, allow_pickle=allow_pickle)
    return buffer.getvalue()


def with_header(text: str, values: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + values


def refusal(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(content, "a")
    return caught.value.message


def pixels_of(num: int, depth: int = 8, white: int = 65_535, **values: object) -> Preprocessing:
    return Preprocessing(
        channels="bands",
        depth_bits=depth,
        white_16_bit=white,
        mean=(0.5,) * num,
        std=(0.25,) * num,
        **{"input_height_px": 13, "input_width_px": 21} | values,
    )


@pytest.mark.parametrize("values_HWC", [SHALLOW_HWC, DEEP_HWC], ids=["uint8", "uint16"])
@pytest.mark.parametrize("num", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "change", [np.asarray, np.asfortranarray, lambda array: array.astype(array.dtype.str.replace("<", ">"))]
)
def test_an_array_of_numpy_is_read_as_numpy_reads_it(
    values_HWC: np.ndarray, num: int, change: Callable[[np.ndarray], np.ndarray]
):
    array = change(np.ascontiguousarray(values_HWC[:, :, :num]))
    decoded = decode_image(npy(array), "a")
    assert decoded.band_HWC.dtype == values_HWC.dtype
    assert np.array_equal(decoded.band_HWC, np.load(io.BytesIO(npy(array))))
    assert decoded.is_bands == (num not in (1, 3))
    shown_HWC = array[:, :, :3] if num >= 3 else np.repeat(array[:, :, :1], 3, axis=2)
    levels_HWC = shown_HWC if values_HWC.dtype == np.uint8 else np.floor(shown_HWC / 257 + 0.5)
    assert np.array_equal(decoded.image_HWC, levels_HWC)


def test_a_grey_array_and_every_version_of_the_format_are_read():
    for version in ((1, 0), (2, 0), (3, 0)):
        decoded = decode_image(npy(SHALLOW_HWC[:, :, 0], version), "a")
        assert np.array_equal(decoded.image_HWC, np.repeat(SHALLOW_HWC[:, :, :1], 3, axis=2))


SAVE = "of no known range; save it as uint8 or uint16."


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4), np.float32), f"its values are float32, {SAVE}"),
        (np.zeros((4, 4), np.int16), f"its values are int16, {SAVE}"),
        (np.zeros((4, 4), bool), f"its values are bool, {SAVE}"),
        (np.zeros((4, 4), [("red", "u1"), ("green", "u1")]), f"its values are records of several fields, {SAVE}"),
        (np.zeros(4, np.uint8), "its shape is (4); an image is (height, width) or (height, width, channels)."),
        (
            np.zeros((1, 4, 4, 3), np.uint8),
            "its shape is (1, 4, 4, 3); an image is (height, width) or (height, width, channels).",
        ),
        (
            np.zeros((3, 90, 90), np.uint8),
            "its shape is (3, 90, 90): 90 channels, and 1 to 64 are read. Put the channels last.",
        ),
        (
            np.zeros((90, 90, 65), np.uint8),
            "its shape is (90, 90, 65): 65 channels, and 1 to 64 are read. Save fewer of them.",
        ),
        (np.zeros((0, 4), np.uint8), "the image has 4x0 pixels."),
    ],
)
def test_arrays_that_are_no_image_are_refused_in_words(array: np.ndarray, reason: str):
    assert refusal(npy(array)) == f"a: {reason}"


def test_python_objects_are_never_unpickled():
    content = npy(np.array([[open]], dtype=object), allow_pickle=True)
    assert refusal(content) == f"a: its values are Python objects, {SAVE}"


def test_damaged_arrays_are_refused_and_cost_no_memory():
    whole = npy(SHALLOW_HWC)
    truncated = "a: the image data end too early: the file is truncated."
    assert refusal(whole[:-1]) == truncated
    assert refusal(whole[:40]) == truncated
    assert refusal(whole[:8]) == truncated
    assert refusal(whole + b"\0") == "a: the image data are damaged (1 bytes lie behind its values)."
    huge = "{'descr': '|u1', 'fortran_order': False, 'shape': (7000, 7000, 60), }"
    assert refusal(with_header(huge)) == (
        "a: the image has 7000x7000 pixels of 60 channels; at most 80,000,000 values are read. Cut it into pieces."
    )
    nonsense = "a: the image data are damaged (its header does not describe an array)."
    for text in (
        "",
        "{" * 3000,
        "[1]",
        "{'descr': '|u1'}",
        "__import__('os')",
        "{'shape': (4, 4), 'descr': '|u1', 'fortran_order': 1}",
    ):
        assert refusal(with_header(text)) == nonsense
    assert refusal(with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-4, 4), }")) == (
        "a: the image data are damaged (its shape is (-4, 4))."
    )
    assert refusal(with_header(" " * 5000)) == "a: the image data are damaged (its header has 5,000 bytes)."
    assert refusal(b"\x93NUMPY\7\0" + whole[8:]) == (
        "a: the image data are damaged (its format is version 7; 1 to 3 are known)."
    )


def packed(data: bytes, compression: int) -> bytes:
    return zlib.compress(data) if compression == 8 else data


def differences(values_HWC: np.ndarray) -> np.ndarray:
    return np.diff(values_HWC, axis=1, prepend=np.zeros_like(values_HWC[:, :1]))


def tiff(
    values_HWC: np.ndarray,
    photometric: int = 1,
    order: str = "<",
    compression: int = 1,
    predictor: int = 1,
    planar: bool = False,
    rows: int = 4,
    tile_px: int = 0,
    extra: tuple[int, ...] = (),
    is_big: bool = False,
    orientation: int = 1,
) -> bytes:
    """A TIFF file of `values_HWC`, written from the specification: TIFF 6.0, sections 8, 14 and 15; BigTIFF."""
    height, width, channels = values_HWC.shape
    planes = [values_HWC[:, :, [k]] for k in range(channels)] if planar else [values_HWC]
    pieces = []
    for plane_HWX in planes:
        if tile_px:
            down, right = -(-height // tile_px), -(-width // tile_px)
            pad = ((0, down * tile_px - height), (0, right * tile_px - width), (0, 0))
            padded_HWX = np.pad(plane_HWX, pad)
            pieces += [
                padded_HWX[y * tile_px : (y + 1) * tile_px, x * tile_px : (x + 1) * tile_px]
                for y in range(down)
                for x in range(right)
            ]
        else:
            pieces += [plane_HWX[top : top + rows] for top in range(0, height, rows)]
    kind = values_HWC.dtype.newbyteorder(order)
    body, offsets, counts = bytearray(16 if is_big else 8), [], []
    for piece_HWX in pieces:
        values = differences(piece_HWX) if predictor == 2 else piece_HWX
        data = packed(values.astype(kind).tobytes(), compression)
        offsets.append(len(body))
        counts.append(len(data))
        body += data
    bits = 8 * values_HWC.dtype.itemsize
    tags = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [bits] * channels),
        (259, 3, [compression]),
        (262, 3, [photometric]),
        (274, 3, [orientation]),
        (277, 3, [channels]),
        (284, 3, [2 if planar else 1]),
        (317, 3, [predictor]),
        (324 if tile_px else 273, 4, offsets),
        (325 if tile_px else 279, 4, counts),
        *([(322, 4, [tile_px]), (323, 4, [tile_px])] if tile_px else [(278, 4, [rows])]),
        *([(338, 3, list(extra))] if extra else []),
    ]
    entries, inline = b"", 8 if is_big else 4
    for number, kind_, values_ in sorted(tags):
        data = struct.pack(f"{order}{len(values_)}{ {3: 'H', 4: 'I'}[kind_] }", *values_)
        if len(data) > inline:
            place = len(body)
            body += data
            data = struct.pack(order + ("Q" if is_big else "I"), place)
        entries += struct.pack(order + ("HHQ" if is_big else "HHI"), number, kind_, len(values_)) + data.ljust(
            inline, b"\0"
        )
    start = len(body)
    body += struct.pack(order + ("Q" if is_big else "H"), len(tags)) + entries + bytes(inline)
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, start) if is_big else struct.pack(order + "HI", 42, start)
    return mark + head + bytes(body[len(head) + 2 :])


@pytest.mark.parametrize("values_HWC", [SHALLOW_HWC, DEEP_HWC], ids=["uint8", "uint16"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "ways",
    [
        {},
        {"compression": 8},
        {"compression": 8, "predictor": 2},
        {"planar": True},
        {"planar": True, "compression": 8, "predictor": 2},
        {"tile_px": 16},
        {"tile_px": 16, "compression": 8, "predictor": 2},
        {"tile_px": 16, "planar": True, "compression": 8},
        {"is_big": True},
        {"is_big": True, "tile_px": 16, "compression": 8, "predictor": 2},
        {"rows": 100},
    ],
    ids=str,
)
def test_channels_of_a_tiff_are_read_however_they_are_stored(values_HWC: np.ndarray, order: str, ways: dict):
    decoded = decode_image(tiff(values_HWC, order=order, **ways), "a")
    assert decoded.is_bands
    assert decoded.band_HWC.dtype == values_HWC.dtype
    assert np.array_equal(decoded.band_HWC, values_HWC)
    assert decoded.notes == ("it has 5 channels; the first three are read.",)
    assert decoded.notes_on_bands == ()


@pytest.mark.parametrize(
    ("num", "photometric", "extra", "kept", "notes"),
    [
        (4, 1, (), [0, 1, 2, 3], ()),
        (4, 1, (0, 0, 0), [0, 1, 2, 3], ()),
        (2, 1, (0,), [0, 1], ()),
        (4, 2, (0,), [0, 1, 2, 3], ()),
        (5, 2, (0, 2), [0, 1, 2, 3], ("its alpha channel is left out.",)),
        (5, 1, (0, 0, 0, 1), [0, 1, 2, 3], ("its alpha channel is left out.",)),
        (8, 1, (), list(range(8)), ()),
    ],
)
def test_which_channels_of_a_tiff_are_bands(
    num: int, photometric: int, extra: tuple[int, ...], kept: list[int], notes: tuple
):
    values_HWC = RANDOM.integers(0, 256, (6, 7, num), dtype=np.uint8)
    decoded = decode_image(tiff(values_HWC, photometric, extra=extra), "a")
    assert decoded.is_bands
    assert np.array_equal(decoded.band_HWC, values_HWC[:, :, kept])
    assert decoded.notes_on_bands == notes


def test_colours_with_alpha_stay_colours():
    for extra in ((2,), (1,)):
        assert not decode_image(tiff(SHALLOW_HWC[:, :, :4], 2, extra=extra), "a").is_bands
    grey_HWC = np.dstack([SHALLOW_HWC[:, :, 0], np.full((13, 21), 255, np.uint8)])
    assert not decode_image(tiff(grey_HWC, 1, extra=(2,)), "a").is_bands


def test_bands_are_turned_upright():
    decoded = decode_image(tiff(SHALLOW_HWC, orientation=6), "a")  # the first row is on the right
    assert np.array_equal(decoded.band_HWC, np.rot90(SHALLOW_HWC, -1))
    assert np.array_equal(decoded.image_HWC, decoded.band_HWC[:, :, :3])
    assert decoded.rotated


def test_damaged_bands_of_a_tiff_are_refused():
    content = tiff(SHALLOW_HWC, compression=8)
    assert refusal(tiff(SHALLOW_HWC, compression=7)) == (
        "a: the image data are damaged (its 5 channels of 8 bits are compressed in a way that is not read; save it "
        "uncompressed, or with LZW or deflate)."
    )
    assert "damaged" in refusal(content[:8] + bytes(20) + content[28:])
    many = tiff(SHALLOW_HWC).replace(struct.pack("<HHIHH", 284, 3, 1, 1, 0), struct.pack("<HHIHH", 284, 3, 1, 2, 0))
    assert refusal(many) == "a: the image data are damaged (it has 4 strips or tiles, and needs 20)."
    large = tiff(SHALLOW_HWC, tile_px=16)
    for tag in (322, 323):
        large = large.replace(struct.pack("<HHII", tag, 4, 1, 16), struct.pack("<HHII", tag, 4, 1, 4096))
    assert refusal(large) == "a: the image data are damaged (its strips or tiles have 4,096x4,096 pixels)."


@pytest.mark.parametrize(("first", "last"), [(1, 2), (2, 1), (5, 6)])
def test_equal_bands_have_equal_digests_and_others_have_not(first: int, last: int):
    big_HWC = np.repeat(np.repeat(DEEP_HWC, 9, axis=0), 9, axis=1)
    changed_HWC = big_HWC.copy()
    changed_HWC[first, last, 4] ^= 1
    assert pixel_digest(big_HWC, False) == pixel_digest(big_HWC.copy(), False)
    assert pixel_digest(big_HWC, False) != pixel_digest(changed_HWC, False)
    assert pixel_digest(SHALLOW_HWC, False) != pixel_digest(SHALLOW_HWC.astype(np.uint16), False)


@pytest.mark.parametrize("full", [255, 4095, 65_535])
def test_means_and_squares_of_bands_are_numpys(full: int):
    values_HWC = DEEP_HWC if full > 255 else SHALLOW_HWC
    mean_C, square_C = statistics_of_bands(values_HWC, full)
    part_HWC = values_HWC.astype(np.float64) / full
    assert mean_C == pytest.approx(part_HWC.mean(axis=(0, 1)), rel=1e-12)
    assert square_C == pytest.approx((part_HWC**2).mean(axis=(0, 1)), rel=1e-12)


@pytest.mark.parametrize("white", [1023, 4095, 65_535])
def test_values_of_both_depths_become_the_same_part_of_white(white: int):
    deep_HWC = np.minimum(DEEP_HWC, white)
    of_16, of_8 = pixels_of(5, 16, white), pixels_of(5, 8, white)
    assert np.array_equal(at_depth(DEEP_HWC, of_16), deep_HWC)
    assert np.array_equal(at_depth(DEEP_HWC, of_8), np.floor(deep_HWC.astype(np.float64) * 255 / white + 0.5))
    assert np.array_equal(at_depth(SHALLOW_HWC, of_8), SHALLOW_HWC)
    assert np.array_equal(at_depth(SHALLOW_HWC, of_16), np.floor(SHALLOW_HWC * (white / 255) + 0.5 + 1e-9))


def test_sixteen_bits_reach_the_network():
    values_HWC = DEEP_HWC & 4095
    pixels = pixels_of(5, 16, 4095)
    prepared_HWC = prepare_image(network_pixels(decode_image(npy(values_HWC), "a"), "a", pixels), pixels)
    assert np.array_equal(prepared_HWC, values_HWC)
    image_BCHW = torch.from_numpy(prepared_HWC[None]).permute(0, 3, 1, 2)
    wanted_BCHW = (values_HWC.transpose(2, 0, 1)[None] / 4095 - 0.5) / 0.25
    assert normalize(image_BCHW, pixels, torch.float32).numpy() == pytest.approx(wanted_BCHW, abs=1e-6)


def test_an_image_of_other_channels_than_the_network_is_refused():
    with pytest.raises(ImageError) as caught:
        network_pixels(decode_image(npy(SHALLOW_HWC[:, :, :3]), "a"), "a", pixels_of(5))
    assert caught.value.message == "a: it has 3 channels, and the network takes 5."


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_each_band_is_prepared_as_a_grey_picture_would_be(fit: str):
    size = {"fit": fit, "resize_px": 11 if fit == "crop" else None, "input_height_px": 9, "input_width_px": 9}
    prepared_HWC = prepare_image(SHALLOW_HWC, pixels_of(5, **size))
    grey = Preprocessing(channels="grey", mean=(0.5,), std=(0.25,), **size)
    for band in range(5):
        alone_HWC = prepare_image(np.repeat(SHALLOW_HWC[:, :, [band]], 3, axis=2), grey)
        assert np.array_equal(prepared_HWC[:, :, band], alone_HWC[:, :, 0])


@pytest.mark.parametrize("depth", [8, 16])
def test_resizing_sixteen_bits_is_that_of_eight_but_finer(depth: int):
    size = {"resize_px": 11, "input_height_px": 9, "input_width_px": 9}
    fine_HWC = prepare_image(SHALLOW_HWC.astype(np.uint16) * 257, pixels_of(5, 16, **size))
    coarse_HWC = prepare_image(SHALLOW_HWC, pixels_of(5, 8, **size))
    assert fine_HWC.dtype == np.uint16
    assert np.abs(fine_HWC / 257 - coarse_HWC).max() < 1.5


def canvas(num: int, border: str = "mean") -> Canvas:
    fill_C = np.arange(num) * 10
    return Canvas(size_HW=(8, 10), interpolation="bilinear", border=border, fill_C=fill_C)


@pytest.mark.parametrize("values_HWC", [SHALLOW_HWC, DEEP_HWC], ids=["uint8", "uint16"])
@pytest.mark.parametrize("turned", [False, True])
def test_every_band_is_resampled_as_it_is_alone(values_HWC: np.ndarray, turned: bool):
    matrix_33 = np.diag([1.5, 1.5, 1.0])
    if turned:
        matrix_33[:2, :2] = [[1.1, 0.4], [-0.3, 0.9]]
    together_HWC = resample(values_HWC, matrix_33, None, canvas(5))
    assert together_HWC.dtype == values_HWC.dtype
    for band in range(5):
        own = Canvas(size_HW=(8, 10), interpolation="bilinear", border="mean", fill_C=canvas(5).fill_C[[band]])
        alone_HWC = resample(np.ascontiguousarray(values_HWC[:, :, [band]]), matrix_33, None, own)
        assert np.array_equal(together_HWC[:, :, band], alone_HWC[:, :, 0])


def test_sixteen_bits_are_shrunk_as_torch_shrinks_numbers():
    values_HWC = RANDOM.integers(0, 65536, (16, 20, 6), dtype=np.uint16)
    shrunk_HWC = resample(values_HWC, np.diag([2.0, 2.0, 1.0]), None, canvas(6))
    wide_1CHW = torch.from_numpy(values_HWC.astype(np.float64)).permute(2, 0, 1)[None]
    wanted_1CHW = functional.interpolate(wide_1CHW, (8, 10), mode="bilinear", antialias=True)
    assert np.abs(shrunk_HWC - wanted_1CHW[0].permute(1, 2, 0).numpy()).max() <= 0.51


def test_a_person_is_shown_the_first_three_bands_or_the_first():
    assert np.array_equal(as_picture(SHALLOW_HWC, pixels_of(5)), SHALLOW_HWC[:, :, :3])
    assert np.array_equal(as_picture(SHALLOW_HWC[:, :, :2], pixels_of(2)), SHALLOW_HWC[:, :, :1])
    deep_HWC = DEEP_HWC & 1023
    wanted = np.floor(deep_HWC[:, :, :3].astype(np.float64) * 255 / 1023 + 0.5)
    assert np.array_equal(as_picture(deep_HWC, pixels_of(5, 16, 1023)), wanted)
    assert Image.fromarray(as_picture(SHALLOW_HWC, pixels_of(5))).mode == "RGB"
