"""The numbers of the lessons against published ones and other libraries, and `saccade learn` as a person runs it."""

import base64
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, signal, stats
from tests.learn.made import lesson_of

from saccade.cli.main import main
from saccade.learn.lesson import Equation, Lesson, Matrix, Picture, Table, Toy, as_json, cell_text
from saccade.learn.text import equation_lines, lesson_text
from saccade.learn.topics import TOPICS
from saccade.models.zoo.convnet import TABLE_B

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`run("edges", "--json")`: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["saccade", "learn", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return call


def equations(lesson: Lesson) -> list[list[Matrix]]:
    parts = [part for section in lesson.sections for part in section.parts if isinstance(part, Equation)]
    return [[term for term in part.terms if isinstance(term, Matrix)] for part in parts]


def tables(lesson: Lesson) -> dict[str, Table]:
    return {part.caption: part for section in lesson.sections for part in section.parts if isinstance(part, Table)}


def words(lesson: Lesson) -> str:
    return f"{lesson.title}\n{lesson_text(lesson, 0)}"


@pytest.mark.parametrize("name", TOPICS)
def test_no_title_in_the_terminal_stands_alone(name: str):
    lines = lesson_text(lesson_of(name), 80).split("\n")
    for section in lesson_of(name).sections:
        places = [place for place, line in enumerate(lines) if line == section.title and not lines[place - 1]]
        has_more = not all(isinstance(part, Toy | Picture) for part in section.parts)
        assert len(places) == has_more, section.title
        assert all(lines[place + 1] for place in places), section.title


def test_the_small_images_give_the_published_tables():
    upright, mirrored, quarters = (matrices[-1].value_HW.tolist() for matrices in equations(lesson_of("edges")))
    assert upright == [[0, 30, 30, 0]] * 4
    assert mirrored == [[0, -30, -30, 0]] * 4
    assert quarters == [[0, 0, 0, 0], [30, 10, -10, -30], [30, 10, -10, -30], [0, 0, 0, 0]]
    assert "4 of the 16 numbers lie between" in words(lesson_of("edges"))


def test_flipping_is_the_published_one_and_true_convolution_is_scipys():
    flipped, correlated, convolved, *_ = equations(lesson_of("flip"))
    assert flipped[1].value_HW.tolist() == [[7, 9, -1], [2, 0, 1], [5, 4, 3]]
    image, kernel, output = (matrix.value_HW for matrix in convolved)
    assert (
        output.tolist()
        == signal.convolve2d(image, kernel, "valid").tolist()
        == [[-22, -30, -2], [26, 11, 49], [5, 0, -3]]
    )
    assert correlated[2].value_HW.tolist() == [[26, 60, 28], [-22, 5, -17], [-3, 0, 5]]
    differences = {row[0]: row[1] for row in tables(lesson_of("flip"))["Whether two kernels may be joined"].rows}
    assert differences["true convolution"] == 0 < differences["cross-correlation"]


def test_learned_numbers_are_the_true_ones():
    learned = equations(lesson_of("learned-edges"))
    assert [matrices[0].name for matrices in learned] == [
        f"{name}, learned" for name in ("sobel-x", "scharr-x", "45deg", "70deg")
    ]
    for found, true in learned:
        np.testing.assert_allclose(found.value_HW, true.value_HW, atol=1e-9)


def test_corners_are_used_once_and_padding_is_scipys():
    padding = lesson_of("padding")
    (valid, same), zero, replicated = equations(padding)
    ones = np.ones((4, 4))
    assert valid.value_HW.tolist() == signal.convolve2d(ones, np.ones((3, 3)), "full").tolist()
    assert same.value_HW.tolist() == ndimage.correlate(np.ones((6, 6)), np.ones((3, 3)), mode="constant").tolist()
    for matrices, mode in ((zero, "constant"), (replicated, "nearest")):
        image, kernel, output = (matrix.value_HW for matrix in matrices)
        assert output.tolist() == ndimage.correlate(image, kernel, mode=mode).tolist()


def test_the_floor_is_the_published_one():
    rows = tables(lesson_of("stride"))["Sizes by stride"].rows
    assert rows[0] == ["7, f 3, s 2", "floor((7 + 0 - 3)/2) + 1 = 3", "none"]
    assert rows[1] == ["8, f 3, s 2", "floor((8 + 0 - 3)/2) + 1 = 3", "8"]
    assert [row[1].rpartition(" ")[2] for row in rows[-2:]] == ["37", "17"]


def test_a_filter_on_red_sees_red_and_two_filters_give_two_channels():
    images, applied, outputs = equations(lesson_of("volumes"))
    assert applied[-1].value_HW.tolist() == [[0, 30, 30, 0]] * 4
    both = [
        sum(signal.correlate2d(image.value_HW, kernel, "valid") for image in images) for kernel in VERTICAL_HORIZONTAL
    ]
    assert [output.value_HW.tolist() for output in outputs] == [one.tolist() for one in both]
    assert [row[2:] for row in tables(lesson_of("volumes"))["Shapes"].rows][:2] == [["4x4x1", 27], ["4x4x2", 54]]


VERTICAL_HORIZONTAL = (np.array([[1, 0, -1]] * 3), np.array([[1] * 3, [0] * 3, [-1] * 3]))


def test_counts_are_the_published_ones():
    assert {row[1] for row in tables(lesson_of("layer"))["Ten 3x3x3 filters"].rows} == {280}
    shared = tables(lesson_of("sharing"))
    assert [row[2] for row in shared["32x32x3 to 28x28x6"].rows] == [14_450_688, 456, 156]
    assert [row[1] for row in shared["A photo of 1000x1000x3"].rows] == [3_000_000_000, 280]
    branch = tables(lesson_of("inception"))
    assert [row[2] for row in branch["Multiplications of the 5x5 branch"].rows] == [
        120_422_400,
        2_408_448,
        10_035_200,
        12_443_648,
    ]
    assert branch["The branches of the block"].rows[-1][2] == "28x28x256"


def test_network_b_has_the_published_table_and_a_its_sizes():
    rows = tables(lesson_of("network-b"))["The layers of convnet-b"].rows
    published = [
        ["x".join(str(side) for side in (*shape[1:], shape[0])), size, count] for _, shape, size, count in TABLE_B
    ]
    assert [list(row[1:]) for row in rows] == published
    shapes = [row[1] for row in tables(lesson_of("network-a"))["The layers of convnet-a"].rows]
    assert shapes[:4] == ["39x39x3", "37x37x10", "17x17x20", "7x7x40"]
    assert "7x7x40 = 1,960 numbers" in words(lesson_of("network-a"))


def test_classic_networks_have_their_published_sizes():
    assert "138,357,544 parameters" in words(lesson_of("vgg"))
    assert "64, 128, 256, 512" in words(lesson_of("vgg"))
    assert "61,706 parameters" in words(lesson_of("lenet"))
    assert "groups = 2" in words(lesson_of("alexnet"))


def test_a_dense_layer_at_each_place_is_numpys():
    *_, place = equations(lesson_of("one-by-one"))
    weights, here, there = (matrix.value_HW for matrix in place)
    assert there.tolist() == (weights @ here).tolist()


def test_zeroed_blocks_change_nothing():
    rows = tables(lesson_of("residual"))["Zeroed blocks"].rows
    assert [(row[1], row[2]) for row in rows] == [("equal", 0)] * 5


def test_the_ladder_has_wilsons_intervals():
    rows = tables(lesson_of("transfer"))["The ladder"].rows
    (toy,) = lesson_of("transfer").toys
    for row, rung in zip(rows, toy.settings["rungs"], strict=True):
        correct = round(rung["accuracy"] / 100 * rung["judged"])
        interval = stats.binomtest(correct, rung["judged"]).proportion_ci(method="wilson")
        assert row[2:4] == [
            f"{100 * correct / rung['judged']:.1f}",
            f"{100 * interval.low:.1f} to {100 * interval.high:.1f}",
        ]


def test_a_mean_of_weights_is_another_network():
    ((first, second, mean, other),) = equations(lesson_of("ensembles"))
    assert first.value_HW.tolist() == second.value_HW.tolist() == mean.value_HW.tolist() == [[5], [0]]
    assert other.value_HW.tolist() == [[2], [2]]
    costs = tables(lesson_of("ensembles"))["ResNet-20, so many members"].rows
    assert [row[1] for row in costs] == [count * 269_722 for count in (1, 3, 5, 15)]


def test_ten_crops_are_corners_and_centre_and_their_mirrors():
    (toy,) = lesson_of("ten-crops").toys
    height, width, side = (toy.settings[key] for key in ("height", "width", "side"))
    last = (height - side, width - side)
    places = [(0, 0), (0, last[1]), (last[0], 0), last, (round(last[0] / 2), round(last[1] / 2))]
    looks = toy.settings["looks"]
    assert [(look["top"], look["left"], look["mirrored"]) for look in looks] == [
        (*place, mirrored) for mirrored in (False, True) for place in places
    ]
    one, mirror = (pixels_of(looks[number]["image"]) for number in (1, 6))
    assert np.abs(one[:, ::-1].astype(int) - mirror).mean() < 3, "but for JPEG's blocks"


def test_the_timeline_is_without_gaps_and_its_sums_are_the_tables():
    (toy,) = lesson_of("loading").toys
    turns = np.array(toy.settings["turns"])
    assert turns.shape == (8, 3)
    assert (np.diff(turns.ravel()) >= 0).all()
    np.testing.assert_array_equal(turns[1:, 0], turns[:-1, 2])
    rows = {row[0]: float(row[1]) for row in tables(lesson_of("loading"))["Seconds"].rows}
    assert rows["of which the steps waited"] == pytest.approx(float((turns[:, 1] - turns[:, 0]).sum()), abs=0.005)
    assert rows["at the same time"] == pytest.approx(turns[-1, 2], abs=0.005)
    assert rows["one after the other"] == pytest.approx(rows["loading alone"] + rows["training alone"], abs=0.011)


def test_each_augmentation_is_drawn_and_said():
    (toy,) = lesson_of("augmentation").toys
    entries = toy.settings["entries"]
    assert list(entries) == [row[0] for row in tables(lesson_of("augmentation"))["The augmentations"].rows]
    original = toy.settings["original"]
    for name, draws in entries.items():
        assert len({draw["image"] for draw in draws}) > 1, name
        for draw in draws:
            assert (draw["image"] == original) == (draw["words"] == "nothing"), (name, draw["words"])
    vectors = np.array([row[2:] for row in tables(lesson_of("augmentation"))["Principal colours"].rows])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-6)


def pixels_of(address: str) -> np.ndarray:
    content = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("name", TOPICS)
def test_figures_of_the_list_stand_in_the_lesson_and_every_lesson_is_whole(name: str):
    lesson = lesson_of(name)
    text = words(lesson)
    for figure in re.findall(r"\d[\d,]{2,}", TOPICS[name].summary):
        assert figure in text
    assert lesson.name == name
    assert lesson.toys
    assert "saccade " in text, "a command for one's own photo"
    json.dumps(as_json(lesson), allow_nan=False)


def test_the_list_names_every_topic(run: Run):
    status, out, err = run()
    assert (status, err) == (0, "")
    *lines, blank, following = out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(TOPICS)
    assert (blank, following) == ("", "Next: saccade learn edges --out edges.html")
    assert [topic["name"] for topic in json.loads(run("--json")[1])["topics"]] == list(TOPICS)


def test_a_topic_prints_its_numbers_and_writes_its_page(run: Run):
    status, out, err = run("edges", "--out", "edges.html")
    assert (status, err) == (0, "")
    assert out == "Edges: nine numbers find them\nPage: edges.html\nOpen it in a browser.\n"
    assert "  10  10  10   0   0   0   *    1   0  -1         =    0  30  30   0\n" in run("edges")[1]
    assert "0 30 30 0" in Path("edges.html").read_text(encoding="utf-8")
    found = json.loads(run("edges", "--json")[1])
    assert list(found) == ["topic", "title", "lead", "sections", "out"]
    assert found["sections"][0]["parts"][0]["terms"][4] == {"name": "output", "values": [[0.0, 30.0, 30.0, 0.0]] * 4}


BAD = {
    "a word": (
        ["Convolution"],
        "Unknown topic 'Convolution'. Topics on it: flip, network-a, network-b, vgg, one-by-one.\n"
        "'saccade learn' lists the topics.",
    ),
    "unknown": (["edgse"], "Unknown topic 'edgse'. Did you mean 'edges'?\n'saccade learn' lists the topics."),
    "another ending": (
        ["edges", "--out", "edges.pdf"],
        "learn writes .html files; got 'edges.pdf'.\nChange the ending of --out.",
    ),
    "a folder": (
        ["edges", "--out", "folder.html"],
        "Cannot write 'folder.html': it is a folder.\nAdd a file name to --out.",
    ),
    "no topic": (["--out", "x.html"], "--out writes the page of one topic: saccade learn edges --out edges.html"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_shown_is_said(run: Run, arguments: list[str], message: str):
    Path("folder.html").mkdir()
    assert run(*arguments) == (2, "", f"error: {message}\n")


def test_matrices_stand_below_each_other_where_the_terminal_is_narrow():
    (matrices, *_) = equations(lesson_of("edges"))
    lines = equation_lines(matrices, 40)
    assert max(map(len, lines)) <= 40
    assert [line.split() for line in lines[::7][:2]] == [["image"], ["kernel:", "vertical", "output"]]


def test_cells_read_as_people_write_them():
    assert [cell_text(cell) for cell in (14_450_688, 0.125, "same", 0)] == ["14,450,688", "0.125", "same", "0"]
