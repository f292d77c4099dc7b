"""Many images to predict: lists on standard input, sources, addresses, and a CSV file that goes on where it stopped."""

import csv
import io
import json
import shutil
import struct
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.sources.tar.test_web_files import Handler, Server, running

from saccade import api
from saccade.classify.asked_images import asked_images
from saccade.core.errors import ImageError
from saccade.data.left_out import PassedOver
from saccade.data.sources.digits import Digits
from saccade.data.sources.in_memory import HeldImage
from saccade.data.sources.tar import web_files

DIGITS = Digits()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "digits"
    api.train(api.TrainRequest(source="digits", epochs=1, out=out, settings=["runtime.num_threads=1"]))
    return out


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty pictures of digits in `new`."""
    monkeypatch.chdir(tmp_path)
    Path("new").mkdir()
    for index in range(40):
        Image.fromarray(DIGITS.read(index)).save(f"new/{index:02d}.png")


def type_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def files_answered(finished) -> list[str]:
    return [answer["file"] for answer in json.loads(finished.output)["predictions"]]


def test_paths_come_from_standard_input(saccade: Callable, run: Path, monkeypatch: pytest.MonkeyPatch):
    type_in(monkeypatch, b"new/03.png\r\n\nnew/01.png\nhttps://host/a.png\ngone-\xff.png\n")
    finished = saccade("predict", run, "new/00.png", "-", "--json")
    assert finished.status == 1
    assert files_answered(finished) == ["new/00.png", "new/03.png", "new/01.png"]
    assert [error["reason"] for error in json.loads(finished.output)["errors"]] == [
        "'https://host/a.png' is an address, and none is opened unasked. "
        "If you want it to be fetched, add --allow-url.",
        "cannot be read: No such file or directory.",
    ]


def test_bytes_of_an_image_on_standard_input_are_no_list(saccade: Callable, run: Path, monkeypatch: pytest.MonkeyPatch):
    type_in(monkeypatch, Path("new/00.png").read_bytes())
    finished = saccade("predict", run, "-")
    assert finished.status == 1
    assert finished.errors.endswith(
        " of standard input is not a path: each line holds one path or address.\n"
        "To classify one image that comes by a pipe, write it into a file.\n"
    )


def test_a_source_is_predicted_by_its_own_keys(saccade: Callable, run: Path):
    Path("labels.csv").write_text("id,kind\n03,x\n01,y\n")
    finished = saccade("predict", run, "labels.csv", "--json")
    assert finished.status == 0, finished.errors
    assert files_answered(finished) == ["03.png", "01.png"]
    by_file = json.loads(saccade("predict", run, "new/03.png", "--json").output)["predictions"][0]
    assert json.loads(finished.output)["predictions"][0]["probability"] == pytest.approx(
        by_file["probability"], abs=1e-6
    )


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "https://host/a.png",
            "'https://host/a.png' is an address, and none is opened unasked.\n"
            "If you want it to be fetched, add --allow-url.",
        ),
        (
            "s3://bucket/a.png",
            "'s3://bucket/a.png' is not an image that can be opened: of addresses, only https:// is read.\n"
            "Download the images, and give their folder.",
        ),
    ],
)
def test_addresses_are_opened_only_where_asked(saccade: Callable, run: Path, address: str, message: str):
    finished = saccade("predict", run, address)
    assert (finished.status, finished.errors) == (2, f"error: {message}\n")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with running(Server()) as started:
        started.files = {f"/{path.name}": path.read_bytes() for path in Path("new").iterdir()}
        started.files["/large.png"] = bytes(web_files.MAX_WHOLE_BYTES + 1)
        started.redirects = {"/moved": "/05.png", "/out": "ftp://host/a.png", "/round": "/round"}
        yield f"http://127.0.0.1:{started.server_address[1]}"


def test_images_are_fetched_bounded_and_redirected_by_the_rules(saccade: Callable, run: Path, server: str):
    names = ["05.png", "moved", "large.png", "gone.png", "out", "round"]
    finished = saccade("predict", run, *(f"{server}/{n}" for n in names), "--allow-url", "--allow-http", "--json")
    assert finished.status == 1
    assert files_answered(finished) == [f"{server}/05.png", f"{server}/moved"]
    first, second = json.loads(finished.output)["predictions"]
    assert first["top"] == second["top"]
    assert [error["reason"] for error in json.loads(finished.output)["errors"]] == [
        "it cannot be fetched: the server sends more than 16,777,216 bytes.",
        "it cannot be fetched: the server has no such file (status 404).",
        f"'{server}/out' is redirected to ftp:, which is not followed. "
        "Ask who keeps the files for an address that leads to them by https.",
        "it cannot be fetched: it is redirected more than 5 times.",
    ]
    finished = saccade("predict", run, f"{server}/05.png", "--allow-url")
    assert finished.status == 1
    assert "is not encrypted: anybody on the way can change the images." in finished.errors


def test_a_server_that_never_finishes_is_left(server: str, monkeypatch: pytest.MonkeyPatch):
    pause = threading.Event()

    def trickle(handler: Handler, status: int, content: bytes, headers: dict[str, str]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                pause.wait(0.02)
        except OSError:
            pass  # the reader has gone

    monkeypatch.setattr(Handler, "answer", trickle)
    with pytest.raises(OSError, match=r"^it has not come within 0\.3 s$"):
        web_files.read_whole(f"{server}/05.png", 0.3)


def rows(path: str = "out.csv") -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_a_folder_without_images_is_no_file_that_could_not_be_read(saccade: Callable, run: Path):
    Path("empty").mkdir()
    finished = saccade("predict", run, "empty", "--csv", "none.csv")
    assert finished.errors.endswith("error: No image could be used: see the column error in none.csv.\n")


def test_answers_go_into_a_csv_file(saccade: Callable, run: Path):
    Path("new/05.png").write_bytes(b"no image")
    shutil.copy("new/00.png", "=1+1.png")
    finished = saccade("predict", run, "new", "=1+1.png", "--csv", "out.csv", "--top", "2")
    assert finished.status == 1
    assert finished.output == "40 answers written to out.csv.\n"
    assert finished.errors.endswith("error: 1 of 41 could not be read: see the column error in out.csv.\n")
    said = json.loads(saccade("predict", run, "new", "--json", "--top", "2").output)["predictions"]
    expected = {a["file"]: [c for t in a["top"] for c in (t["class"], f"{t['probability']:.6f}")] for a in said}
    found = rows()
    told = ["unlike_training", "no_answer", "withheld_class", "withheld_probability"]
    assert found[0] == ["image", "class", "probability", "class_2", "probability_2", "error", *told]
    assert {row[0]: row[1:5] for row in found[1:] if not row[5] and row[0].startswith("new")} == expected
    assert [row[0] for row in found[1:]] == [f"new/{index:02d}.png" for index in range(40)] + ["'=1+1.png"]
    assert found[6][:5] == ["new/05.png", "", "", "", ""]
    assert found[6][5]
    again = saccade("predict", run, "new", "=1+1.png", "--csv", "out.csv", "--top", "2")
    assert (again.status, again.output) == (1, "out.csv held all 40 answers already.\n")
    assert again.errors.endswith("error: 1 of 41 could not be read: see the column error in out.csv.\n")


@pytest.mark.parametrize("kept_bytes", [0, 10, 60, 700, 1001])
def test_a_file_that_was_cut_anywhere_becomes_the_whole_one(saccade: Callable, run: Path, kept_bytes: int):
    saccade("predict", run, "new", "--csv", "whole.csv")
    saccade("predict", run, "new", "--csv", "out.csv")
    whole = Path("whole.csv").read_bytes()
    Path("out.csv").write_bytes(whole[:kept_bytes])
    num_kept = max(whole[:kept_bytes].count(b"\r\n") - 1, 0)
    finished = saccade("predict", run, "new", "--csv", "out.csv", "--json")
    assert finished.status == 0, finished.errors
    assert {key: json.loads(finished.output)[key] for key in ("num_before", "num_answered", "num_bad")} == {
        "num_before": num_kept,
        "num_answered": 40 - num_kept,
        "num_bad": 0,
    }
    assert [row[:2] for row in rows()] == [row[:2] for row in rows("whole.csv")]
    np.testing.assert_allclose(
        [float(row[2]) for row in rows()[1:]], [float(row[2]) for row in rows("whole.csv")[1:]], atol=2e-5
    )


def test_what_another_run_or_nobody_wrote_is_left_alone(saccade: Callable, run: Path, tmp_path: Path):
    Path("mine.csv").write_text("my own notes")
    finished = saccade("predict", run, "new", "--csv", "mine.csv")
    assert (finished.status, finished.errors) == (
        2,
        "error: mine.csv is there already, and mine.csv.run.json does not say whose answers it holds.\n"
        "Name another file, or remove this one.\n",
    )
    assert Path("mine.csv").read_text() == "my own notes"
    saccade("predict", run, "new", "--csv", "out.csv")
    before = Path("out.csv").read_bytes()
    finished = saccade("predict", run, "new", "--csv", "out.csv", "--top", "2")
    assert (
        finished.errors
        == "error: out.csv holds answers of another --top.\nName another file, or remove it: rm out.csv.\n"
    )
    finished = saccade("predict", run, run, "new", "--csv", "out.csv")
    assert finished.errors == (
        "error: out.csv holds answers of another run, or of one that was changed.\n"
        "Name another file, or remove it: rm out.csv.\n"
    )
    finished = saccade("predict", run, "new/01.png", "--csv", "out.csv")
    assert finished.errors == (
        "error: out.csv, line 2 answers 'new/00.png', and now 'new/01.png' is asked for there.\n"
        "A file goes on with the images it began with, in their order: name another file for others.\n"
    )
    assert Path("out.csv").read_bytes() == before


def test_more_images_behind_the_first_ones_go_on(saccade: Callable, run: Path):
    saccade("predict", run, "new/00.png", "new/01.png", "--csv", "out.csv")
    finished = saccade("predict", run, "new/00.png", "new/01.png", "new/02.png", "--csv", "out.csv")
    assert finished.output == "1 answer written to out.csv, after the 2 that it held.\n"
    assert [row[0] for row in rows()[1:]] == ["new/00.png", "new/01.png", "new/02.png"]


def test_memory_does_not_grow_with_the_images(run: Path):
    content = Path("new/00.png").read_bytes()

    def peak_bytes(num_images: int) -> int:
        items = (HeldImage(f"{number}.png", lambda: content) for number in range(num_images))
        tracemalloc.start()
        _, answers = api.predict_to_csv(run, items, f"{num_images}.csv", runtime=api.RuntimeConfig(num_threads=1))
        assert sum(1 for _ in answers) == num_images
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(64)
    assert peak_bytes(1500) < peak_bytes(320) + 200_000  # the answers of 1,180 images take more


def test_what_is_no_image_is_told_at_once(run: Path):
    with pytest.raises(api.SaccadeError, match=r"^image 1 is a value of type int\.\n"):
        api.predict(run, ["new/00.png", 3])


def test_standard_input_is_named_once():
    with pytest.raises(api.SaccadeError, match=r"^Standard input can be read once: write - once\.$"):
        asked_images(["-", "-"], PassedOver())


def test_a_folder_whose_files_hold_the_images_is_read_as_training_does(tmp_path: Path):
    """Images inside other files: in IDX here. A folder without either is told as before."""
    images_NHW = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
    (tmp_path / "set").mkdir()
    for part in ("train", "t10k"):
        images = struct.pack(">IIII", 0x803, 3, 8, 8) + images_NHW.tobytes()
        (tmp_path / "set" / f"{part}-images-idx3-ubyte").write_bytes(images)
        labels = struct.pack(">II", 0x801, 3) + bytes([0, 1, 1])
        (tmp_path / "set" / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    items = list(asked_images([str(tmp_path / "set")], PassedOver()))
    assert len(items) == 6
    assert np.array_equal(items[1].read(), images_NHW[1])
    (tmp_path / "empty").mkdir()
    (alone,) = asked_images([str(tmp_path / "empty")], PassedOver())
    with pytest.raises(ImageError, match="the folder holds no images"):
        alone.read()
