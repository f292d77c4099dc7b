"""`saccade filter` as a person runs it: results, files, JSON, and every bad input with its whole message."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from skimage import data as skimage_data

from saccade.cli.main import main
from saccade.conv.filters import KERNELS
from saccade.filters.view import signed_colours

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`run("photo.png", "--kernel", ...)` in a folder with photo.png and grey.png: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(skimage_data.astronaut()[::8, ::8]).save("photo.png")
    Image.fromarray(skimage_data.camera()[::8, ::8]).save("grey.png")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["saccade", "filter", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


def test_a_kernel_over_a_photo_writes_the_picture_and_says_what_it_shows(run: Run):
    status, out, err = run("grey.png", "--kernel", "sobel-x", "--stride", "2", "--show", "signed", "--out", "edges.png")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[:9] == [
        "photo      grey.png, 64x64 (height x width), grey",
        "operation  cross-correlation, padding valid, stride 2",
        f"kernel     sobel-x: {KERNELS['sobel-x'].source}",
        "           -1   0   1",
        "           -2   0   2",
        "           -1   0   1",
        "size       64x64 -> 31x31",
        "           height floor((64 + 0 - 3)/2) + 1 = 31, width floor((64 + 0 - 3)/2) + 1 = 31",
        f"values     {response_range('grey.png')}",
    ]
    assert lines[9].startswith("note       Flipping only changes the sign of this kernel")
    assert lines[10] == "note       No window covers the last row and the last column."
    assert lines[11].startswith("view       signed: values in even steps; white is 0, full orange +")
    assert lines[12:] == ["written    edges.png"]
    with Image.open("edges.png") as written:
        assert written.size == (31, 31)


def response_range(path: str) -> str:
    import cv2

    response = cv2.Sobel(cv2.imread(path, cv2.IMREAD_GRAYSCALE), cv2.CV_64F, 1, 0)[1:-1:2, 1:-1:2]
    return f"{response.min():.6g} to {response.max():.6g}"


def test_json_has_the_contracted_keys_and_the_numbers_are_scipys(run: Run):
    from scipy import signal

    status, out, _ = run("photo.png", "--kernel", "emboss", "--true-convolution", "--json", "--out", "numbers.npy")
    report = json.loads(out)
    assert status == 0
    assert list(report) == [
        *("image", "input", "operation", "kernel", "padding", "stride", "output", "formula", "minimum", "maximum"),
        *("notes", "view", "out", "learned", "values"),
    ]
    assert (report["input"], report["output"], report["learned"]) == ([3, 64, 64], [3, 62, 62], None)
    assert report["kernel"]["weights"] == [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]
    photo = skimage_data.astronaut()[::8, ::8].astype(float)
    expected = [signal.convolve2d(photo[..., c], report["kernel"]["weights"], "valid") for c in range(3)]
    assert_allclose(np.load("numbers.npy"), np.stack(expected, axis=2), atol=1e-9)
    assert report["maximum"] == pytest.approx(np.max(expected))


def test_learning_prints_the_numbers_beside_the_true_ones(run: Run):
    status, out, err = run("photo.png", "--learn", "sobel-x")
    assert (status, err) == (0, "")
    assert out.splitlines()[2:6] == [
        "learned    numbers                     beside the true sobel-x",
        "           -1.0000   0.0000   1.0000   -1.0000   0.0000   1.0000",
        "           -2.0000   0.0000   2.0000   -2.0000   0.0000   2.0000",
        "           -1.0000   0.0000   1.0000   -1.0000   0.0000   1.0000",
    ]
    assert "relative error" in out
    assert "explains 100.00 % of the target's variance" in out


def test_learning_from_a_target_the_command_wrote_itself(run: Run):
    run("photo.png", "--kernel", "70deg", "--out", "target.npy")
    run("photo.png", "--kernel", "70deg", "--show", "clipped", "--padding", "same", "--out", "target.png")
    true = json.loads(run("photo.png", "--kernel", "70deg", "--json")[1])["kernel"]["weights"]
    numbers = json.loads(run("photo.png", "--learn", "target.npy", "--json")[1])["learned"]
    picture = json.loads(run("photo.png", "--learn", "target.png", "--json", "--out", "again.png")[1])["learned"]
    assert_allclose(numbers["weights"], true, atol=1e-6)
    assert_allclose(picture["weights"], true, atol=5e-3)
    assert numbers["true"] is None
    assert numbers["nearest"] == picture["nearest"] == "sobel-x@70"
    assert run("photo.png", "--learn", "target.npy")[1].splitlines()[2:4] == [
        "learned    numbers                     beside sobel-x@70, the nearest named kernel",
        "            0.5977   1.8794   1.2817    0.5977   1.8794   1.2817",
    ]
    assert Path("again.png").exists()


def test_a_kernel_longer_than_a_file_name_can_be_learned(run: Run):
    numbers = ";".join([",".join(["0.12345678"] * 7 + ["-0.5"])] * 8)
    status, out, _ = run("photo.png", "--learn", numbers, "--json")
    assert len(numbers) > 255
    assert status == 0
    assert json.loads(out)["learned"]["relative_error"] < 1e-3


def test_a_photo_name_too_long_for_a_file_is_no_file(run: Run):
    name = "x" * 300 + ".png"
    message = f"error: There is no file '{name}' (looked in {Path.cwd()}).\nCheck the path of the photo.\n"
    assert run(name, "--kernel", "sobel-x", "--out", "edges.png") == (1, "", message)


def test_a_poor_fit_is_said(run: Run):
    run("photo.png", "--kernel", "sobel-x", "--show", "absolute", "--out", "absolute.png")
    _, out, _ = run("photo.png", "--learn", "absolute.png")
    assert (
        "note       No single kernel of this size turns the photo into this target. A target picture holds the values "
        "themselves (--show clipped --grey), a .npy file all of them; 'signed' and 'absolute' pictures do not.\n"
    ) in out


def test_real_photos_with_every_option(run: Run, shared: Callable[[str], Path]):
    photo = min(shared("data/clothing-small/test/dress").glob("*.jpg"))
    for padding in ("valid", "same", "reflect", "replicate"):
        status, _, err = run(
            str(photo), "--kernel", "scharr-x@30", "--padding", padding, "--grey", "--out", "edges.jpg"
        )
        assert (status, err) == (0, "")
    with Image.open("edges.jpg") as written, Image.open(photo) as original:
        assert written.size == original.size


WRITE = "Write rows between semicolons and numbers between commas, such as '1,0,-1;1,0,-1;1,0,-1'."
BAD_INPUT = {
    "neither kernel nor target": (
        ["photo.png"],
        2,
        "Give either --kernel (apply it) or --learn (find it from a target).\n"
        "For example: saccade filter photo.jpg --kernel scharr-x --out edges.png",
    ),
    "unknown kernel": (
        ["photo.png", "--kernel", "sharr-x"],
        2,
        "Unknown kernel 'sharr-x'. Did you mean 'scharr-x'?\n"
        "Known: vertical, horizontal, prewitt-x, prewitt-y, sobel-x, sobel-y, scharr-x, scharr-y, laplacian, emboss, "
        "sharpen, box, gaussian, identity;\n"
        "any of them turned, such as 'sobel-x@30'; an edge at any angle, such as '45deg'; or numbers.\n"
        f"{WRITE}",
    ),
    "malformed numbers": (
        ["photo.png", "--kernel", "1,2;x,4"],
        2,
        f"Cannot read the kernel '1,2;x,4': 'x' is not a number.\n{WRITE}",
    ),
    "image smaller than the kernel": (
        ["tiny.png", "--kernel", "sobel-x"],
        1,
        "The image is smaller than the kernel: 2x5 pixels (height x width) for a kernel of 3x3.\n"
        "Output height: floor((2 + 0 - 3)/1) + 1 = 0.\n"
        "Use --padding zero, a smaller kernel or a larger image.",
    ),
    "target of another size": (
        ["photo.png", "--learn", "tiny.png"],
        1,
        "The target has another size than the photo: 2x5 against 64x64 pixels (height x width).\n"
        "A target has the photo's size, or 62x62 without padding: "
        "floor((64 + 0 - 3)/1) + 1 = 62, floor((64 + 0 - 3)/1) + 1 = 62.",
    ),
    "missing photo": (
        ["nowhere.png", "--kernel", "sobel-x"],
        1,
        "There is no file 'nowhere.png' (looked in HERE).\nCheck the path of the photo.",
    ),
    "missing target": (
        ["photo.png", "--learn", "nowhere.png"],
        1,
        "There is no file 'nowhere.png' (looked in HERE).\nCheck the path of the target.",
    ),
    "a folder": (["folder", "--kernel", "sobel-x"], 1, "'folder' is a folder; give one photo."),
    "text renamed": (
        ["text.jpg", "--kernel", "sobel-x"],
        1,
        "text.jpg: not an image that can be read (see 'saccade sources'): it begins with 'This is not '.",
    ),
    "out in a missing folder": (
        ["photo.png", "--kernel", "sobel-x", "--out", "missing/edges.png"],
        2,
        "Cannot write 'missing/edges.png': there is no folder 'missing'.\n"
        "Create it, or choose another place with --out.",
    ),
    "unknown ending": (
        ["photo.png", "--kernel", "sobel-x", "--out", "edges.bmp"],
        2,
        "Cannot write 'edges.bmp': '.bmp' is not a kind of file that this command writes.\n"
        "Use .png or .jpg for a picture, or .npy for the numbers themselves.",
    ),
    "kernel size": (
        ["photo.png", "--learn", "photo.png", "--kernel-size", "0"],
        2,
        "--kernel-size must be 1 to 15, got 0.",
    ),
    "seed": (["photo.png", "--learn", "sobel-x", "--seed", "-1"], 2, "--seed must not be negative, got -1."),
}


@pytest.mark.parametrize(("arguments", "status", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_named_and_nothing_is_written(run: Run, arguments: list[str], status: int, message: str):
    Image.new("RGB", (5, 2), "red").save("tiny.png")
    Path("text.jpg").write_text("This is not an image.")
    Path("folder").mkdir()
    before = sorted(Path().iterdir())
    assert run(*arguments) == (status, "", f"error: {message.replace('HERE', str(Path.cwd()))}\n")
    assert sorted(Path().iterdir()) == before


def test_a_sheet_shows_the_photo_beside_the_answer_with_a_legend(run: Run):
    status, out, err = run("photo.png", "--kernel", "sobel-x", "--out", "edges.png", "--sheet", "sheet.png")
    assert (status, err) == (0, "")
    assert out.splitlines()[-2:] == ["written    edges.png", "sheet      sheet.png"]
    with Image.open("photo.png") as photo, Image.open("edges.png") as edges, Image.open("sheet.png") as sheet:
        factor = 480 // max(photo.size)
        page = np.asarray(sheet)
        places = []
        for picture in (photo, edges):
            size = (picture.width * factor, picture.height * factor)
            part = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.NEAREST))
            left = 24 if not places else 24 + photo.width * factor + 24
            top = 24 + 18 + 16 + 20
            assert np.array_equal(page[top : top + size[1], left : left + size[0]], part)
            places.append(left)
    assert tuple(signed_colours(np.array([[-1.0]]), 1.0)[0, 0].tolist()) in {
        tuple(colour) for colour in page[:, 24].tolist()
    }, "the legend begins with full blue"
    assert run("photo.png", "--kernel", "sobel-x", "--sheet", "sheet.jpg")[::2] == (
        2,
        "error: --sheet writes .png files; got 'sheet.jpg'.\nChange the ending of the file.\n",
    )


SIX = "10,10,10,0,0,0\n" * 6


def test_the_columns_of_a_kernel_stand_below_each_other(run: Run):
    assert run("photo.png", "--kernel", "scharr-x", "--out", "edges.png", "--sheet", "sheet.png")[0] == 0
    with Image.open("photo.png") as photo, Image.open("sheet.png") as sheet:
        below = 24 + 18 + 16 + 20 + photo.height * (480 // max(photo.size)) + 24
        page = np.asarray(sheet.convert("L"))
    edges = []
    for number in (1, 2, 3):  # the rows -3 0 3, -10 0 10 and -3 0 3
        ink = np.flatnonzero((page[below + 20 * number : below + 20 * (number + 1)] < 128).any(axis=0))
        edges.append((ink.min(), ink.max()))
    assert max(right for _, right in edges) - min(right for _, right in edges) <= 2
    assert edges[0][0] > edges[1][0] + 3  # -3 begins further right than -10


def test_a_sheet_of_numbers_shows_them_from_black_to_white(run: Run):
    Path("six.csv").write_text(SIX)
    assert run("six.csv", "--kernel", "vertical", "--sheet", "sheet.png")[0] == 0
    with Image.open("sheet.png") as sheet:
        top, left, side_px = 24 + 18 + 16 + 20, 24, 480  # each of 6x6 numbers is 80 pixels wide
        page = np.asarray(sheet)[top : top + side_px, left : left + side_px]
    assert (page[:, :240] == 255).all()
    assert (page[:, 240:] == 0).all()


def test_a_table_of_numbers_is_printed_whole_with_the_size_formula(run: Run):
    Path("six.csv").write_text(SIX)
    status, out, err = run("six.csv", "--kernel", "vertical")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "numbers    six.csv, 6x6 (height x width)"
    assert out.splitlines()[6:12] == [
        "size       6x6 -> 4x4",
        "           height floor((6 + 0 - 3)/1) + 1 = 4, width floor((6 + 0 - 3)/1) + 1 = 4",
        "values     0 to 30",
        "result      0  30  30   0",
        *["            0  30  30   0"] * 2,
    ]


@pytest.mark.parametrize("separator", [",", ";", " ", "\t", " , "])
def test_numbers_are_read_whatever_separates_them(run: Run, separator: str):
    Path("six.csv").write_text("\ufeff" + "\n\n".join([separator.join("123456")] * 6) + "\n")
    report = json.loads(run("six.csv", "--kernel", "vertical", "--json")[1])
    assert report["values"] == [[[-6.0] * 4] * 4]


def test_numbers_of_an_array_and_of_colours_come_out_as_scipys(run: Run):
    from scipy import signal

    value_HWC = np.random.default_rng(4).normal(size=(7, 9, 3))
    np.save("colours.npy", value_HWC)
    kernel_HW = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    expected = [signal.correlate2d(value_HWC[..., channel], kernel_HW, "valid") for channel in range(3)]
    assert_allclose(json.loads(run("colours.npy", "--kernel", "emboss", "--json")[1])["values"], expected, atol=1e-12)
    lines = run("colours.npy", "--kernel", "emboss")[1].splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("red", "green", "blue"))] == ["red", "green", "blue"]


def test_a_small_image_is_printed_whole_and_a_large_one_is_not(run: Run):
    image_HW = np.arange(30, dtype=np.uint8).reshape(5, 6)
    Image.fromarray(image_HW).save("small.png")
    assert (
        "result     12  12  12  12\n           12  12  12  12\n"
        in run("small.png", "--kernel", "0,-1,0;0,0,0;0,1,0")[1]
    )
    assert "result " not in run("grey.png", "--kernel", "sobel-x")[1]
    np.save("large.npy", np.zeros((64, 64)))
    note = "note       Results of up to 16x16 are printed whole; --out NAME.npy keeps this one.\n"
    assert note in run("large.npy", "--kernel", "sobel-x")[1]


def test_values_of_a_photo_are_null_where_they_are_too_many(run: Run):
    np.save("large.npy", np.zeros((400, 300)))
    assert json.loads(run("large.npy", "--kernel", "sobel-x", "--json")[1])["values"] is None


ROWS = "Write one row of the image a line, with commas between its numbers, such as '10,10,10,0,0,0'."
TWO_SIGNS = (
    "Line 1 of 'bad.csv' separates its numbers in two ways: '{line}'.\n"
    "Write decimal points instead of decimal commas, and one sign between numbers, such as '1.5,2,0'."
)
BAD_NUMBERS = {
    "a word": ("1,2\n3,four\n", f"Cannot read line 2 of 'bad.csv': 'four' is not a number.\n{ROWS}"),
    "a gap": ("1,2,3\n4,,6\n", f"Cannot read line 2 of 'bad.csv': a number is missing.\n{ROWS}"),
    "a short row": ("1,2,3\n\n4,5\n", f"Line 3 of 'bad.csv' has 2 numbers, the first one has 3.\n{ROWS}"),
    "nothing": ("\n", f"'bad.csv' holds no numbers.\n{ROWS}"),
    "infinite": (
        "1,inf\n2,3\n",
        "The number in row 1, column 2 of 'bad.csv' is inf; numbers are finite and at most 1e+12 here.\n"
        "Write 0 for what is missing, and divide what is too large.",
    ),
    "decimal commas": ("1,5;2,5\n3,5;4,5\n", TWO_SIGNS.format(line="1,5;2,5")),
    "decimal commas between tabs": ("1,5\t2,5\n3,5\t4,5\n", TWO_SIGNS.format(line="1,5\\t2,5")),
    "an underscore": ("1_0,2\n3,4\n", f"Cannot read line 1 of 'bad.csv': '1_0' is not a number.\n{ROWS}"),
    "no text": (b"\xff\xfe\x00", f"'bad.csv' is not a text file of numbers.\n{ROWS}"),
    "too large": (
        b" " * ((1 << 23) + 1),
        "'bad.csv' holds 8,388,609 bytes; tables of up to 8,388,608 are read.\n"
        "Write larger ones as .npy: numpy.save('image.npy', array).",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_numbers_that_cannot_be_read_are_named_by_their_line(run: Run, content: str | bytes, message: str):
    Path("bad.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert run("bad.csv", "--kernel", "identity") == (1, "", f"error: {message}\n")
