"""Learned edges: descent recovers the kernel that made the target, and says where it cannot."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from skimage import data as skimage_data

from saccade.conv.filters import KERNELS, parse_kernel
from saccade.core.errors import DataError, ImageError
from saccade.filters.learning import learn_kernel
from saccade.filters.photo import FilterOptions, filter_photo
from saccade.filters.target import LearnedKernel, Target, read_target, relative_error
from saccade.filters.view import clipped_view

CAMERA = skimage_data.camera()[::4, ::4, None]
ASTRONAUT = skimage_data.astronaut()[::4, ::4]


def learn_named(photo_HWC: np.ndarray, name: str, as_picture: bool = False, **options) -> tuple[LearnedKernel, float]:
    kernel = parse_kernel(name)
    result = filter_photo(photo_HWC, kernel, FilterOptions(**options))
    value_HWC = clipped_view(result.response_HWC).image_HWC * 1.0 if as_picture else result.response_HWC
    target = Target(value_HWC=value_HWC, is_picture=as_picture)
    learned = learn_kernel(photo_HWC, target, kernel.weights_HW.shape, seed=0, **_operation(options))
    return learned, relative_error(learned.weights_HW, result.weights_HW)


def _operation(options: dict) -> dict:
    return {"true_convolution": options.get("true_convolution", False)}


@pytest.mark.parametrize("name", [*sorted(KERNELS), "45deg", "70deg", "scharr-x@20", "1,2;3,-4", "1,0,-1"])
@pytest.mark.parametrize("photo_HWC", [CAMERA, ASTRONAUT], ids=["grey", "colour"])
def test_descent_from_random_numbers_recovers_every_kernel(photo_HWC: np.ndarray, name: str):
    learned, error = learn_named(photo_HWC, name)
    assert error < 1e-6
    assert abs(learned.bias) < 1e-5
    assert learned.num_undetermined == 0
    assert learned.losses[-1] < 1e-6 * learned.losses[0]


@pytest.mark.parametrize("name", ["sobel-x", "scharr-y", "45deg", "70deg", "laplacian", "emboss"])
def test_a_clipped_picture_is_enough_because_cut_values_are_left_out(name: str):
    _, error = learn_named(ASTRONAUT, name, as_picture=True)
    assert error < 3e-3  # the picture is rounded to whole numbers


@pytest.mark.parametrize("padding", ["zero", "reflect", "replicate"])
def test_the_border_which_depends_on_padding_is_left_out(padding: str):
    assert learn_named(CAMERA, "emboss", padding=padding)[1] < 1e-6


def test_even_and_true_kernels_are_learned_as_they_are_applied():
    assert learn_named(CAMERA, "1,2;3,-4", padding="zero")[1] < 1e-6
    assert learn_named(CAMERA, "emboss", true_convolution=True)[1] < 1e-6
    assert learn_named(CAMERA, "emboss", divide_by=8)[1] < 1e-6


def test_the_fit_is_the_least_squares_solution_where_no_kernel_is_exact():
    target_HWC = np.sqrt(CAMERA.astype(np.float64))
    learned = learn_kernel(CAMERA, Target(value_HWC=target_HWC, is_picture=False), (3, 3), seed=3)
    patches = np.lib.stride_tricks.sliding_window_view(CAMERA[..., 0].astype(float), (3, 3)).reshape(-1, 9)
    design = np.column_stack([patches, np.ones(len(patches))])
    expected, *_ = np.linalg.lstsq(design, target_HWC[1:-1, 1:-1, 0].ravel(), rcond=None)
    assert_allclose(learned.weights_HW.ravel(), expected[:9], atol=1e-6)
    assert_allclose(learned.bias, expected[9], atol=1e-4)
    residual = design @ expected - target_HWC[1:-1, 1:-1, 0].ravel()
    assert_allclose(learned.explained, 1 - residual.var() / target_HWC[1:-1, 1:-1].var(), atol=1e-9)


def test_the_seed_changes_the_start_and_not_the_end():
    target = Target(
        value_HWC=filter_photo(CAMERA, parse_kernel("sobel-x"), FilterOptions()).response_HWC, is_picture=False
    )
    first, again, other = (learn_kernel(CAMERA, target, (3, 3), seed) for seed in (1, 1, 2))
    assert np.array_equal(first.weights_HW, again.weights_HW)
    assert first.losses[0] != other.losses[0]
    assert_allclose(first.weights_HW, other.weights_HW, atol=1e-6)


def test_numbers_that_the_photo_leaves_open_are_counted_and_the_fit_still_answers():
    stripes = np.tile(np.random.default_rng(0).integers(0, 256, 40), (30, 1))[..., None].astype(np.uint8)
    result = filter_photo(stripes, parse_kernel("sobel-x"), FilterOptions())
    learned = learn_kernel(stripes, Target(value_HWC=result.response_HWC, is_picture=False), (3, 3), seed=0)
    assert learned.num_undetermined == 6
    assert_allclose(learned.weights_HW, np.tile([-4 / 3, 0, 4 / 3], (3, 1)), atol=1e-6)  # smallest that fit
    assert learned.explained == pytest.approx(1)


def test_a_flat_target_is_answered_by_the_bias_alone():
    target = Target(value_HWC=np.full(CAMERA.shape, 7.0), is_picture=False)
    learned = learn_kernel(CAMERA, target, (3, 3), seed=0)
    assert_allclose(learned.weights_HW, 0, atol=1e-6)
    assert learned.bias == pytest.approx(7, abs=1e-4)
    assert learned.explained is None


def test_a_flat_photo_is_refused():
    with pytest.raises(DataError) as error:
        learn_kernel(
            np.full((9, 9, 1), 100, np.uint8), Target(value_HWC=np.eye(9)[..., None], is_picture=False), (3, 3), 0
        )
    assert str(error.value) == (
        "The photo is flat: every window that can be used sees the same pixels, so no kernel can be learned."
    )


def test_a_photo_with_too_few_windows_is_refused():
    photo_HWC = np.random.default_rng(0).integers(0, 256, (5, 5, 1)).astype(np.uint8)
    with pytest.raises(DataError) as error:
        learn_kernel(photo_HWC, Target(value_HWC=photo_HWC * 1.0, is_picture=False), (3, 3), 0)
    assert str(error.value) == (
        "The photo has 9 window positions, too few to learn 9 numbers and a bias from.\n"
        "Use a larger photo or a smaller --kernel-size."
    )


@pytest.mark.parametrize(
    ("photo_hw", "target_hw", "message"),
    [
        (
            (20, 30),
            (30, 20),
            "The target has another size than the photo: 30x20 against 20x30 pixels (height x width).\n"
            "A target has the photo's size, or 18x28 without padding: "
            "floor((20 + 0 - 3)/1) + 1 = 18, floor((30 + 0 - 3)/1) + 1 = 28.",
        ),
        (
            (2, 30),
            (2, 30),
            "The photo is smaller than the kernel: 2x30 pixels (height x width) for a kernel of 3x3.\n"
            "Use a larger photo or a smaller --kernel-size.",
        ),
    ],
)
def test_a_target_of_another_size_is_refused_with_the_numbers(photo_hw: tuple, target_hw: tuple, message: str):
    photo_HWC = np.random.default_rng(0).integers(0, 256, (*photo_hw, 1)).astype(np.uint8)
    with pytest.raises(DataError) as error:
        learn_kernel(photo_HWC, Target(value_HWC=np.zeros((*target_hw, 1)), is_picture=False), (3, 3), 0)
    assert str(error.value) == message


def test_a_picture_with_nothing_between_black_and_white_teaches_nothing():
    target = Target(value_HWC=np.where(CAMERA > 100, 255.0, 0.0), is_picture=True)
    with pytest.raises(DataError) as error:
        learn_kernel(CAMERA, target, (3, 3), 0)
    assert str(error.value) == (
        "Only 0 of the target's 15876 values used lie between 0 and 255; the others are cut off, and nothing can be "
        "learned from them.\n"
        "Write the target as numbers instead: 'saccade filter PHOTO --kernel sobel-x --out target.npy'."
    )


# Targets in files


def test_a_target_file_is_a_picture_or_numbers(tmp_path: Path):
    Image.fromarray(CAMERA[..., 0]).save(tmp_path / "target.png")
    np.save(tmp_path / "target.npy", CAMERA[..., 0].astype(np.float32))
    picture, numbers = read_target(tmp_path / "target.png"), read_target(tmp_path / "target.npy")
    assert (picture.is_picture, numbers.is_picture) == (True, False)
    assert np.array_equal(picture.value_HWC, CAMERA)
    assert np.array_equal(numbers.value_HWC, CAMERA)


def npy_promising(shape: tuple[int, ...]) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


REMEDY = "Write one with 'saccade filter PHOTO --kernel sobel-x --out target.npy'."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            npy_promising((10**7, 10**7)),
            f"'FILE' is not a whole .npy file of numbers: it promises float64 numbers of shape (10000000, 10000000).\n"
            f"{REMEDY}",
        ),
        (
            b"hello",
            f"'FILE' is not a whole .npy file of numbers: EOF: reading magic string, expected 8 bytes got 5.\n{REMEDY}",
        ),
        (
            np.full((4, 4), np.nan),
            "The number in row 1, column 1 of 'FILE' is nan; numbers are finite and at most 1e+12 here.\n"
            "Write 0 for what is missing, and divide what is too large.",
        ),
        (
            np.zeros((4, 4, 2)),
            "The numbers in 'FILE' have shape (4, 4, 2); a target has (height, width), (height, width, 1) or "
            "(height, width, 3).",
        ),
        (
            np.zeros((0, 4)),
            "'FILE' holds no numbers: its shape is (0, 4).",
        ),
        (
            np.ones((4, 4), bool),
            "'FILE' holds values of type bool, not whole or floating-point numbers.\n"
            "Write it with numbers: numpy.save('image.npy', array.astype('float64')).",
        ),
    ],
    ids=["bomb", "text", "nan", "channels", "empty", "truths"],
)
def test_numbers_that_are_no_target_are_refused(tmp_path: Path, content: bytes | np.ndarray, message: str):
    path = tmp_path / "target.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with pytest.raises(DataError) as error:
        read_target(path)
    assert str(error.value) == message.replace("FILE", str(path))


def test_objects_in_a_npy_file_never_run(tmp_path: Path):
    path = tmp_path / "target.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="holds values of type object, not whole"):
        read_target(path)


def test_a_target_that_is_missing_or_no_image_is_named(tmp_path: Path):
    with pytest.raises(DataError) as missing:
        read_target(tmp_path / "no.npy")
    assert str(missing.value) == (
        f"There is no file '{tmp_path}/no.npy' (looked in {Path.cwd()}).\nCheck the path of the target."
    )
    (tmp_path / "text.png").write_text("hello, world")
    with pytest.raises(ImageError):
        read_target(tmp_path / "text.png")
