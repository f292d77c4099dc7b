"""The scan names every bad file before the first step, counts what it saw, and hashes contents."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Barrier
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from PIL import Image

from saccade.core.errors import DataError, GroupError, ImageError, SaccadeError
from saccade.core.ranks import Ranks
from saccade.core.types import MAX_16_BIT, Record
from saccade.data import scan
from saccade.data.checkup import measure
from saccade.data.images.decode import DecodedImage, decode_image
from saccade.data.left_out import BadImage
from saccade.data.scan import ScanReport, scan_source
from saccade.data.source import DataSource


class Listed(DataSource):
    """Contents in memory; one that is an error is raised."""

    def __init__(self, contents: list[Any]) -> None:
        self.name, self.classes, self.digest = "photos", ("cat", "dog"), ""
        self.contents = contents

    def __len__(self) -> int:
        return len(self.contents)

    def record(self, index: int) -> Record:
        return Record(key=f"{index}.png", label=index % 2)

    def read(self, index: int) -> bytes | np.ndarray:
        if isinstance(self.contents[index], Exception):
            raise self.contents[index]
        return self.contents[index]


def picture(number: int) -> bytes:
    return cv2.imencode(".png", np.full((3, 5, 3), number % 256, np.uint8))[1].tobytes()


def with_bad(total: int, num_bad: int) -> Listed:
    return Listed([b"" if index < num_bad else picture(index) for index in range(total)])


EMPTY = "the file is empty (0 bytes)"


@pytest.mark.parametrize(
    ("num_bad", "first_line", "named"),
    [
        (1, "1 of 400 images", f"0.png: {EMPTY}."),
        (2, "2 of 400 images", f"0.png: {EMPTY}; 1.png: {EMPTY}."),
        (3, "3 of 400 images", f"0.png: {EMPTY}; 1.png: {EMPTY}; and 1 more."),
        (400, "400 of 400 images", f"0.png: {EMPTY}; 1.png: {EMPTY}; and 398 more."),
    ],
)
@pytest.mark.parametrize("threads", [1, 4])
def test_bad_images_stop_the_scan_by_name(num_bad: int, first_line: str, named: str, threads: int):
    with pytest.raises(DataError) as error:
        scan_source(with_bad(400, num_bad), threads)
    remedy = "Repair or remove them; train, transfer, evaluate and shard leave them out with --on-bad-image skip."
    if num_bad > 4:  # 1 % of 400: what cannot help is not recommended
        remedy = "400 of 400 (100.0 %) is above the 1 % that may be left out: repair or remove them."
    assert str(error.value) == f"photos: {first_line} cannot be decoded.\n{named}\n{remedy}"


@pytest.mark.parametrize(
    ("total", "allowed"), [(2, 1), (99, 1), (100, 1), (199, 1), (200, 2), (299, 2), (300, 3), (1000, 10)]
)
def test_up_to_one_percent_and_at_least_one_may_be_left_out(total: int, allowed: int):
    report = scan_source(with_bad(total, allowed), 2, on_bad_image="skip")
    assert report.bad == tuple(BadImage(key=f"{i}.png", reason=f"{EMPTY}.") for i in range(allowed))
    assert report.good_N.tolist() == list(range(allowed, total))
    if total > allowed:
        with pytest.raises(DataError) as error:
            scan_source(with_bad(total, allowed + 1), 2, on_bad_image="skip")
        lines = str(error.value).splitlines()
        assert lines[0] == f"photos: {allowed + 1} of {total:,} images cannot be decoded."
        share = f"{allowed + 1} of {total:,} ({100 * (allowed + 1) / total:.1f} %)"
        assert lines[2] == f"{share} is above the 1 % that may be left out: repair or remove them."
        assert len(lines) == 3


def test_a_file_that_cannot_be_read_is_a_bad_image_and_strange_names_are_escaped():
    source = Listed([ImageError("a\n\x1b[31m.png", "the file cannot be read: Input/output error."), picture(1)])
    source.name = "pho\ntos"
    with pytest.raises(DataError) as error:
        scan_source(source, 1)
    assert str(error.value) == (
        r"pho\ntos: 1 of 2 images cannot be decoded." + "\n"
        r"a\n\x1b[31m.png: the file cannot be read: Input/output error." + "\n"
        "Repair or remove them; train, transfer, evaluate and shard leave them out with --on-bad-image skip."
    )


def test_an_error_that_is_not_an_image_s_is_not_taken_for_one():
    with pytest.raises(RuntimeError, match="^the disk is on fire$"):
        scan_source(Listed([RuntimeError("the disk is on fire")]), 1, on_bad_image="skip")


def test_sizes_moments_modes_and_digests_equal_float64_and_hashlib(tmp_path: Path):
    draw = np.random.default_rng(0)
    colour = draw.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colour).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(colour[:, :, 0]).save(tmp_path / "grey.png")
    almost = np.repeat(colour[:, :, :1], 3, axis=2)
    almost[7, 11, 2] ^= 1
    contents = [
        (tmp_path / "turned.png").read_bytes(),
        (tmp_path / "grey.png").read_bytes(),
        cv2.imencode(".png", almost)[1].tobytes(),
        colour,
        np.ascontiguousarray(colour[:, :, 1]),
    ]
    report = scan_source(Listed(contents), 2)
    assert report.size_N2.tolist() == [[30, 20], [20, 30], [20, 30], [20, 30], [20, 30]]
    assert report.is_grey_N.tolist() == [False, True, False, False, True]
    assert dict(report.mode_counts) == {"RGB": 3, "L": 2}
    assert report.num_rotated == 1
    for index, content in enumerate(contents):
        pixels = decode_image(content, "a").image_HWC.astype(np.float64).reshape(-1, 3) / 255
        np.testing.assert_allclose(report.mean_NC[index], pixels.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(report.square_NC[index], (pixels**2).mean(axis=0), atol=1e-6)
    assert report.bytes_digest_N[1].tobytes() == hashlib.blake2b(contents[1], digest_size=16).digest()
    assert len({row.tobytes() for row in report.pixel_digest_N}) == 5


def test_equal_pixels_of_another_shape_are_another_image():
    flat = np.arange(12, dtype=np.uint8)
    report = scan_source(Listed([flat.reshape(3, 4), flat.reshape(4, 3), flat.reshape(3, 4)]), 1)
    first, second, third = (row.tobytes() for row in report.pixel_digest_N)
    assert first == third != second


def test_progress_ends_with_the_whole_and_threads_do_not_change_the_report():
    seen: list[tuple[int, int]] = []
    one = scan_source(with_bad(200, 0), 1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(64, 200), (128, 200), (192, 200), (200, 200)]
    four = scan_source(with_bad(200, 0), 4)
    assert np.array_equal(one.pixel_digest_N, four.pixel_digest_N)
    assert np.array_equal(one.mean_NC, four.mean_NC)


def repeated_files() -> list[bytes]:
    """Small and large pictures, one with a damaged EXIF block, each in 90 rows, and a file that is no image in one."""
    rng = np.random.default_rng(3)
    small, large = (rng.integers(0, 256, (side, side, 3), np.uint8) for side in (20, 90))
    turned = Image.Exif()
    turned[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(large).save(buffer, "JPEG", exif=turned)
    files = [cv2.imencode(".png", pixels)[1].tobytes() for pixels in (small, large)] + [buffer.getvalue()]
    return [files[number % 3] for number in range(270)] + [b"no image"]


def test_equal_files_are_decoded_once_and_measured_as_each_alone(monkeypatch: pytest.MonkeyPatch):
    contents = repeated_files()
    alone = [scan_source(Listed([content]), 1) for content in contents[:3]]
    decoded: list[str] = []

    def counted(content: bytes, key: str, short_side_px: int | None, white: int) -> DecodedImage:
        decoded.append(key)
        return decode_image(content, key, short_side_px, white)

    monkeypatch.setattr(scan, "decode_image", counted)
    report = scan_source(Listed(contents), 1, on_bad_image="skip")
    assert len(decoded) <= 64 + 3  # small ones are remembered once their chunk of 64 is measured
    assert report.bad == (BadImage(key="270.png", reason=report.bad[0].reason),)
    assert report.num_rotated == 90
    assert report.mode_counts == {"RGB": 270}
    for name in ("pixel_digest_N", "bytes_digest_N", "size_N2", "mean_NC", "square_NC", "is_grey_N"):
        rows = getattr(report, name)
        for index in range(270):
            assert (rows[index] == getattr(alone[index % 3], name)[0]).all(), (name, index)
    assert (report.likeness.thumbnail_NP[0:270] == report.likeness.thumbnail_NP[[0, 1, 2] * 90]).all()


def test_equal_files_that_are_no_images_are_each_named():
    with pytest.raises(DataError) as error:
        scan_source(Listed([b"no image"] * 90 + [picture(1)]), 1)
    assert error.value.message.splitlines()[0] == "photos: 90 of 91 images cannot be decoded."
    assert error.value.message.splitlines()[1].startswith("0.png: not an image that can be read")


def test_the_check_up_decodes_equal_files_once(monkeypatch: pytest.MonkeyPatch):
    contents = repeated_files()
    decoded: list[str] = []

    def counted(content: bytes, key: str, short_side_px: int | None = None, white: int = MAX_16_BIT) -> DecodedImage:
        decoded.append(key)
        return decode_image(content, key, short_side_px, white)

    monkeypatch.setattr(measure, "decode_image", counted)
    measured = measure.measure_source(Listed(contents), 1)
    assert decoded == ["", "0.png", "1.png", "2.png", "270.png"]  # the first tells how many channels there are
    assert measured.fresh_N.all()
    assert (measured.rows_N[:270] == measured.rows_N[[0, 1, 2] * 90]).all()
    assert np.flatnonzero(measured.rows_N["reason"] != b"").tolist() == [270]


@dataclass(frozen=True, kw_only=True)
class ThreadRanks(Ranks):
    """Processes of one machine, each a thread of this one."""

    barrier: Barrier
    slots: list[bytes]

    def gather(self, content: bytes, patiently: bool = False) -> tuple[bytes, ...]:
        self.barrier.wait(20)
        self.slots[self.rank] = content
        self.barrier.wait(20)
        heard = tuple(self.slots)
        self.barrier.wait(20)
        return heard


def scanned_by(num: int, contents: list[Any], on_bad_image: Literal["error", "skip"] = "skip") -> list[Any]:
    """What each of `num` processes gets of `contents`, a report or an error, and in `reads` what it has read."""
    barrier, slots = Barrier(num), [b""] * num

    def scan_as(rank: int) -> Any:
        ranks = ThreadRanks(rank=rank, world_size=num, local_world_size=num, barrier=barrier, slots=slots)
        try:
            return scan_source(Listed(contents), 2, on_bad_image, ranks=ranks)
        except SaccadeError as error:
            return error

    with ThreadPoolExecutor(num) as pool:
        return list(pool.map(scan_as, range(num)))


def deep(number: int, shape: tuple[int, ...] = (6, 7)) -> bytes:
    values = np.random.default_rng(number).integers(0, 1000, shape).astype(np.uint16)
    return cv2.imencode(".png", values)[1].tobytes()


def bands(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (6, 5, 5)).astype(np.uint8)


@pytest.mark.parametrize(
    "contents",
    [
        [picture(number % 50) for number in range(400)],
        [*map(picture, range(150)), b"", *map(deep, range(150))],
        [*map(bands, range(7))],
        [picture(1), picture(2)],
    ],
    ids=["copies", "one bad, and 16 bits", "bands", "fewer than processes"],
)
def test_processes_that_share_a_scan_know_what_one_would(contents: list[Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scan, "ROUND", 64)
    alone = scan_source(Listed(contents), 1, "skip")
    for report in scanned_by(3, contents):
        for field in fields(ScanReport):
            one, other = getattr(alone, field.name), getattr(report, field.name)
            if field.name == "likeness":
                one, other = one.thumbnail_NP, other.thumbnail_NP
            assert np.array_equal(one, other), field.name
    assert len(alone.good_N) == sum(len(content) > 0 for content in contents)


def test_an_error_of_one_process_ends_the_scan_of_all():
    contents = [*map(picture, range(250)), DataError("the bucket is gone"), *map(picture, range(49))]
    first, second, third = scanned_by(3, contents)
    assert isinstance(third, DataError)
    assert third.message == "the bucket is gone"
    for told in (first, second):
        assert isinstance(told, GroupError)
        assert told.message.startswith("process 2 (")
        assert told.message.endswith("): the bucket is gone")


def test_processes_of_one_machine_read_each_image_once(monkeypatch: pytest.MonkeyPatch):
    reads: list[int] = []
    monkeypatch.setattr(Listed, "read", lambda self, index: reads.append(index) or self.contents[index])
    scanned_by(3, [picture(number) for number in range(100)])
    assert sorted(reads) == list(range(100))
