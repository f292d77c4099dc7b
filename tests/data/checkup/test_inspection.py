"""A check-up finds every planted fault and nothing else, keeps what it measured, and is not fooled by what it kept."""

import itertools
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.data.planted_faults import CLASSES, picture, plant

from saccade import api
from saccade.core.errors import DataError
from saccade.data.checkup.findings import KINDS
from saccade.data.checkup.inspection import inspect_source
from saccade.data.checkup.keep import cache_file
from saccade.data.checkup.measure import measure_source
from saccade.data.checkup.text import inspection_text
from saccade.data.images.near_duplicates import MAX_BITS, fingerprints, near_groups, thumbnail
from saccade.data.source import DataSource, open_source

OWN_TESTS = ("noted", "class_of_one_image", "number_twins")
PLANTED = [kind for kind in KINDS if kind not in OWN_TESTS]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def found(folder: Path) -> dict[str, set[frozenset[str]]]:
    inspection = inspect_source(str(folder), threads=2)
    return {finding.kind: {frozenset(group) for group in finding.groups} for finding in inspection.findings}


@pytest.mark.parametrize("seed", [0, 1])
def test_every_planted_fault_is_found_and_nothing_else(tmp_path: Path, seed: int):
    planted = plant(tmp_path / "set", seed)
    planted.expected["refused"] = {frozenset({str(planted.folder)})}  # for its unreadable files
    assert set(planted.expected) == set(PLANTED)
    assert found(planted.folder) == planted.expected


def test_a_sound_set_has_nothing_wrong(tmp_path: Path):
    generator = np.random.default_rng(3)
    for name, number in itertools.product(CLASSES, range(4)):
        (tmp_path / name).mkdir(exist_ok=True)
        picture(generator).save(tmp_path / name / f"{number}.jpg")
    inspection = inspect_source(str(tmp_path), threads=1)
    assert inspection.findings == ()
    lines = inspection_text(inspection).splitlines()
    assert lines[:2] == [
        f"{tmp_path}: 12 images of 3 classes. Nothing found.",
        "Looked for: what training refuses; unreadable and odd files; equal and nearly equal images in two splits, in "
        "two classes or twice in one; classes missing from a split or of one image; images of one plain colour; names "
        "that some systems cannot keep apart; the only image of its format, colour mode or size.",
    ]
    labels = f"labels  not checked by looking: with a trained RUN, saccade evaluate RUN {tmp_path} --label-errors FILE"
    assert labels in lines
    assert inspection.display_lines() == lines[:2]


def sound(folder: Path, names: tuple[str, ...] = CLASSES, count: int = 4) -> Path:
    generator = np.random.default_rng(3)
    for name, number in itertools.product(names, range(count)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        picture(generator).save(folder / name / f"{number}.jpg")
    return folder


def test_an_empty_class_folder_is_the_first_finding_and_the_rest_is_inspected(tmp_path: Path):
    folder = sound(tmp_path / "set")
    (folder / "quince").mkdir()
    shutil.copyfile(folder / "apple" / "0.jpg", folder / "pear" / "copy.jpg")
    with pytest.raises(DataError) as refusal:
        open_source(str(folder))
    inspection = inspect_source(str(folder), threads=1)
    assert [finding.kind for finding in inspection.findings] == ["refused", "same_image_in_two_classes"]
    assert inspection.findings[0].notes == (refusal.value.message,)
    assert inspection.counts == {"all": (4, 5, 4, 0)}
    assert inspection.classes == (*CLASSES, "quince")
    assert inspection_text(inspection).splitlines()[:9] == [
        f"{folder}: 13 images of 4 classes. 2 things to look at, the worst first.",
        "",
        "training refuses this set:",
        f"  The folder {folder} has classes without a single image: 'quince'.",
        "  Add images to them, or remove the empty folders.",
        "",
        "1 x the same image is in two classes: one of the labels is wrong",
        "  apple/0.jpg (apple, pear)",
        "    = pear/copy.jpg",
    ]


def one_class(folder: Path) -> Path:
    return sound(folder, ("apple",))


def two_train_parts(folder: Path) -> Path:
    for part in ("train", "training", "test"):
        sound(folder / part, count=2)
    return folder


def flat(folder: Path) -> Path:
    return sound(folder.parent, (folder.name,))


def linked_twice(folder: Path) -> Path:
    (sound(folder) / "quince").symlink_to(folder / "apple")
    return folder


def all_unreadable_but_one_class(folder: Path) -> Path:
    sound(folder, ("apple", "pear"))
    for path in (folder / "pear").iterdir():
        path.write_bytes(b"no image")
    return folder


@pytest.mark.parametrize("plant_one", [one_class, two_train_parts, flat, linked_twice, all_unreadable_but_one_class])
def test_whatever_training_refuses_is_the_first_finding_in_its_words(tmp_path: Path, plant_one: Callable[[Path], Path]):
    source = plant_one(tmp_path / "set")
    out = tmp_path.parent / f"{tmp_path.name}-run"
    request = api.TrainRequest(source=str(source), out=out, settings=["loader.on_bad_image=skip"])
    inspection = inspect_source(str(source), threads=1)
    first = inspection.findings[0]
    assert first.kind == "refused"
    assert inspection.num_images >= 4
    with pytest.raises(DataError) as refusal:
        api.train(request)
    further = f"\nAll of them are named by: saccade inspect {source}"  # which is this check-up itself
    assert first.notes == (refusal.value.message.removesuffix(further),)


def test_a_class_of_one_image_is_a_finding(tmp_path: Path):
    folder = sound(tmp_path / "set")
    picture(np.random.default_rng(9)).save((folder / "quince").mkdir() or folder / "quince" / "0.jpg")
    findings = inspect_source(str(folder), threads=1).findings
    assert [(finding.kind, finding.groups, finding.notes) for finding in findings] == [
        ("class_of_one_image", (("quince/0.jpg",),), ("quince",))
    ]


def test_what_is_the_only_one_of_its_format_mode_or_size_is_listed(tmp_path: Path):
    folder = sound(tmp_path / "set", count=7)
    generator = np.random.default_rng(8)
    picture(generator).convert("P").save(folder / "apple" / "missing.gif")
    picture(generator).convert("L").save(folder / "pear" / "grey.jpg")
    picture(generator).resize((90, 70)).save(folder / "plum" / "small.jpg")
    findings = inspect_source(str(folder), threads=1).findings
    assert [finding.kind for finding in findings] == ["only_one"]
    assert dict(zip(findings[0].groups, findings[0].notes, strict=True)) == {
        ("apple/missing.gif",): "the only one that is GIF; 23 are JPEG; the only one in mode P; 22 in mode RGB",
        ("pear/grey.jpg",): "the only one in mode L; 22 in mode RGB",
        ("plum/small.jpg",): "the only one of 90x70 px; 23 of 160x120 px",
    }


def test_files_that_training_uses_with_a_note_are_listed_with_it(tmp_path: Path):
    folder = sound(tmp_path / "set")
    generator = np.random.default_rng(8)
    for number in range(2):
        page = picture(generator)
        page.save(folder / "plum" / f"scan-{number}.tif", save_all=True, append_images=[page.rotate(180)])
    findings = inspect_source(str(folder), threads=1).findings
    note = "it has 2 pages; the first one is read."
    assert [(finding.kind, finding.groups, finding.notes) for finding in findings] == [
        ("noted", (("plum/scan-0.tif",), ("plum/scan-1.tif",)), (note, note))
    ]


def test_class_names_that_are_one_number_written_twice_are_a_finding(tmp_path: Path):
    folder = sound(tmp_path / "set", ("1", "01", "2"))
    findings = inspect_source(str(folder), threads=1).findings
    assert [(finding.kind, finding.groups, finding.notes) for finding in findings] == [
        ("number_twins", (("01", "1"),), ("",))
    ]


def test_a_file_that_cannot_be_decoded_is_what_training_refuses_the_set_for(tmp_path: Path):
    folder = sound(tmp_path / "set", count=100)
    (folder / "apple" / "0.jpg").write_bytes(b"no image")
    first, second = inspect_source(str(folder), threads=1).findings
    assert (first.kind, second.kind) == ("refused", "unreadable")
    assert first.notes[0].startswith(f"{folder}: 1 of 300 images cannot be decoded.\napple/0.jpg: not an image")
    assert first.notes[0].endswith(
        "\nRepair or remove them; train, transfer, evaluate and shard leave them out with --on-bad-image skip."
    )


def test_photos_of_many_sizes_are_nothing_to_tell(tmp_path: Path):
    folder = sound(tmp_path / "set")
    generator = np.random.default_rng(8)
    for number in range(6):
        picture(generator).resize((90 + number, 70)).save(folder / "plum" / f"size-{number}.jpg")
    assert inspect_source(str(folder), threads=1).findings == ()


def test_text_tells_the_worst_first_and_fits_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    text = inspection_text(inspect_source("set", threads=2))
    assert text.splitlines()[:11] == [
        "set: 64 images of 3 classes. 14 things to look at, the worst first.",
        "",
        "training refuses this set:",
        "  set: 3 of 64 images cannot be decoded.",
        "  train/apple/cut.jpg: the image data end too early: the file is truncated; train/pear/empty.png: the file is "
        "empty (0 bytes); and 1 more.",
        "  3 of 64 (4.7 %) is above the 1 % that may be left out: repair or remove them.",
        "",
        "3 x files that cannot be decoded",
        "  train/apple/cut.jpg (the image data end too early: the file is truncated)",
        "  train/pear/empty.png (the file is empty (0 bytes))",
        "  train/plum/page.jpg (not an image that can be read (see 'saccade sources'): it begins with '<html>not an')",
    ]
    positions = [text.index(KINDS[kind]) for kind in PLANTED]
    assert positions == sorted(positions)
    assert max(len(line) for line in text.splitlines()[7:]) <= 120  # behind the message of training


def test_figures_equal_those_of_numpy(tmp_path: Path):
    planted = plant(tmp_path / "set")
    inspection = inspect_source(str(planted.folder), threads=2)
    images = []
    source = open_source(str(planted.folder))
    for index in range(len(source)):
        try:
            images.append(source[index].image_HWC.astype(np.float64) / 255)
        except DataError:
            continue
    mean_C = np.mean([image.mean((0, 1)) for image in images], axis=0)
    square_C = np.mean([(image**2).mean((0, 1)) for image in images], axis=0)
    assert inspection.num_unreadable == len(source) - len(images) == 3
    np.testing.assert_allclose(inspection.mean_C, mean_C, atol=1e-6)
    np.testing.assert_allclose(inspection.std_C, np.sqrt(square_C - mean_C**2), atol=1e-6)
    widths = [image.shape[1] for image in images]
    assert inspection.size_quantiles["width_px"] == (min(widths), np.median(widths), max(widths))
    assert sum(inspection.modes.values()) == len(images)
    assert sum(sum(counts) for counts in inspection.counts.values()) == len(source)


def test_what_was_measured_is_kept_by_content(tmp_path: Path):
    folder = plant(tmp_path / "set").folder
    first = inspect_source(str(folder), threads=2)
    again = inspect_source(str(folder), threads=2)
    assert first.num_measured == first.num_images
    assert again.num_measured == 0
    assert again.as_json() | {"num_measured_now": 0} == first.as_json() | {"num_measured_now": 0}
    os.utime(folder / "train/apple/4.jpg")
    (folder / "train/apple/5.jpg").rename(folder / "train/apple/renamed.jpg")
    assert inspect_source(str(folder), threads=2).num_measured == 0
    path = folder / "train/apple/4.jpg"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert inspect_source(str(folder), threads=2).num_measured == 1


def test_a_damaged_cache_is_said_and_not_used(tmp_path: Path):
    folder = plant(tmp_path / "set").folder
    sound = inspect_source(str(folder), threads=2)
    path = cache_file(str(folder))
    content = path.read_bytes()
    for damaged in (b"", b"PK nothing", content[: len(content) // 2], content[:2000] + b"\x55" * 64 + content[2064:]):
        path.write_bytes(damaged)
        inspection = inspect_source(str(folder), threads=2)
        assert inspection.notes[1:] == (f"The kept measurements {path} are damaged: measuring anew.",)
        assert inspection.findings == sound.findings


def test_without_a_place_to_keep_anything_the_check_up_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = plant(tmp_path / "set").folder
    (tmp_path / "file").write_text("in the way", encoding="ascii")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    inspection = inspect_source(str(folder), threads=2)
    assert len(inspection.findings) == len(PLANTED)
    assert len(inspection.notes) == 2
    assert inspection.notes[1].startswith(("Nothing is kept for the next time: ", "The kept measurements "))


def fingerprint_of(grey_HW: np.ndarray) -> int:
    return int(fingerprints(thumbnail(grey_HW)[None])[0])


def test_fingerprints_survive_scaling_and_encoding_and_tell_pictures_apart():
    generator = np.random.default_rng(0)
    pictures = [np.asarray(picture(generator).convert("L")) for _ in range(40)]
    hashes = [fingerprint_of(grey_HW) for grey_HW in pictures]
    for grey_HW, fingerprint in zip(pictures, hashes, strict=True):
        small = cv2.resize(grey_HW, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
        assert (fingerprint_of(small) ^ fingerprint).bit_count() <= MAX_BITS
    apart = [(one ^ two).bit_count() for one, two in itertools.combinations(hashes, 2)]
    assert min(apart) > MAX_BITS


def test_the_search_finds_what_comparing_all_pairs_finds():
    generator = np.random.default_rng(1)
    base = generator.integers(0, 1 << 63, 300, dtype=np.uint64)
    flips = np.array([sum(1 << int(b) for b in generator.choice(64, k, replace=False)) for k in range(12)], np.uint64)
    fingerprint_N = np.concatenate([base, base[:12] ^ flips])
    thumbnail_NP = np.tile(generator.integers(0, 256, 256, dtype=np.uint8), (len(fingerprint_N), 1))
    expected = {
        frozenset((one, two))
        for one, two in itertools.combinations(range(len(fingerprint_N)), 2)
        if int(fingerprint_N[one] ^ fingerprint_N[two]).bit_count() <= MAX_BITS
    }
    assert {frozenset(group) for group in near_groups(fingerprint_N, thumbnail_NP)} == expected
    assert len(expected) == MAX_BITS + 1


def test_thousands_of_pictures_of_one_scene_are_one_group_in_little_memory():
    generator = np.random.default_rng(2)
    num = 5000  # frames of a camera that stands still: 12 million pairs
    fingerprint_N = np.full(num, 0x0123456789ABCDEF, np.uint64) ^ (
        np.uint64(1) << generator.integers(0, 64, num).astype(np.uint64)
    )
    thumbnail_NP = np.tile(generator.integers(0, 256, 256, dtype=np.uint8), (num, 1))
    tracemalloc.start()
    groups = near_groups(fingerprint_N, thumbnail_NP)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert groups == [list(range(num))]
    assert most_bytes < 150e6


def test_pixels_in_memory_are_inspected_as_files_are():
    inspection = inspect_source("digits", threads=2)
    assert (inspection.num_images, inspection.num_unreadable, inspection.modes) == (1797, 0, {"L": 1797})
    assert inspection.num_grey == 1797


def test_any_number_of_threads_measures_the_same(tmp_path: Path):
    source = open_source(str(plant(tmp_path / "set").folder))
    one, four = (measure_source(source, threads).rows_N for threads in (1, 4))
    assert one.tobytes() == four.tobytes()


def test_what_has_not_begun_is_not_measured_once_it_is_stopped(monkeypatch: pytest.MonkeyPatch):
    source = open_source("digits")
    read: list[int] = []
    own = type(source).read

    def counted(self: DataSource, index: int) -> bytes | np.ndarray:
        read.append(index)
        return own(self, index)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(source), "read", counted)
    with pytest.raises(KeyboardInterrupt):
        measure_source(source, 1, progress=stop)
    assert len(read) < len(source) / 2


def test_real_photos_are_counted_by_class(shared):
    """Those of the test part; the pair with two labels among all, docs/data-checkup.md shows and its test finds."""
    inspection = inspect_source(str(shared("data/clothing-small/test")), threads=2)
    assert inspection.findings == ()
    assert inspection.counts == {"all": (15, 12, 72, 38, 42, 26, 73, 30, 12, 52)}


def test_the_command_prints_json_or_an_error(saccade, tmp_path: Path):
    folder = plant(tmp_path / "set").folder
    done = saccade("inspect", folder, "--json")
    assert done.status == 0
    values = json.loads(done.output)
    assert [finding["kind"] for finding in values["findings"]] == PLANTED
    assert values["num_unreadable"] == 3
    shutil.copytree(folder / "train/apple", folder / "train/Apple")
    done = saccade("inspect", folder)
    assert done.status == 0
    lines = done.output.splitlines()
    assert lines[2] == "training refuses this set:"
    assert "'Apple' and 'apple'" in lines[3]
    done = saccade("inspect", tmp_path / "nothing")
    assert (done.status, done.output) == (1, "")
    assert done.errors.startswith(f"error: There is no file or folder '{tmp_path / 'nothing'}'")


def test_grey_photos_and_turned_ones_are_counted(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        picture(np.random.default_rng(ord(name))).convert("L").save(tmp_path / name / "grey.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(np.random.default_rng(9)).save(tmp_path / "a" / "turned.jpg", exif=turned)
    inspection = inspect_source(str(tmp_path), threads=1)
    assert (inspection.num_grey, inspection.num_rotated) == (2, 1)
    assert inspection.size_quantiles["height_px"][2] == 160.0


def test_images_with_several_labels_are_counted_in_each_of_their_classes(tmp_path: Path):
    sound(tmp_path)
    labels = ("a", "b", "a;b", "")
    rows = [f"{name}/{number}.jpg,{label}" for name in CLASSES for number, label in enumerate(labels)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]), encoding="utf-8")
    inspection = inspect_source(str(tmp_path / "labels.csv"), threads=1)
    num = len(CLASSES)
    assert inspection.counts == {"all": (2 * num, 2 * num)}
    assert inspection.num_images == 4 * num
    assert f"{num} images have no label" in inspection.notes
    text = inspection_text(inspection)
    assert f"\nlabels{4 * num:>12}" in text
    assert "--label-errors" not in text  # which knows one label only
    assert inspection.as_json()["task"] == "several labels"
    assert not any(finding.kind == "refused" for finding in inspection.findings)


def test_modes_of_16_bits_are_told_in_words(tmp_path: Path):
    for name, shape in (("a", (9, 9)), ("b", (9, 9, 3)), ("c", (9, 9, 3))):
        (tmp_path / name).mkdir()
        values = np.random.default_rng(ord(name)).integers(0, 65536, shape, dtype=np.uint16)
        np.save(tmp_path / name / "1.npy", values)
    (colour,) = [
        line for line in inspection_text(inspect_source(str(tmp_path), threads=1)).splitlines() if "EXIF" in line
    ]
    assert colour == "colour  RGB of 16 bits: 2, grey of 16 bits: 1; 1 grey, 0 turned by EXIF"


@pytest.mark.parametrize(("side_px", "verb"), [(16, "train"), (64, "transfer")])
def test_a_set_that_training_takes_is_sent_to_it(saccade: Callable, tmp_path: Path, side_px: int, verb: str):
    generator = np.random.default_rng(1)
    for name in ("a b", "c"):
        (tmp_path / "my set" / name).mkdir(parents=True)
        for number in range(2):
            picture(generator).resize((side_px, side_px)).save(tmp_path / "my set" / name / f"{number}.png")
    (tmp_path / "my set" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "my set" / "notes.txt").write_bytes(b"x")
    done = saccade("inspect", tmp_path / "my set", "--no-keep")
    assert done.output.splitlines()[-1] == f"Next: saccade {verb} '{tmp_path}/my set'"
    told = (
        "2 x files and folders that are not looked at\n"
        "  Thumbs.db (a file that Windows or macOS keeps there)\n"
        "  notes.txt (its ending is not of a format that is read)\n"
    )
    assert told in done.output
    assert done.output.count("txt") == 1


def test_the_next_command_learns_measured_numbers_as_numbers(saccade: Callable, tmp_path: Path):
    rows = [f"{number}.png,{number + 0.5}" for number in range(3)]
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "labels.csv").write_text("\n".join(["file,price", *rows]), encoding="utf-8")
    done = saccade("inspect", tmp_path / "labels.csv", "--no-keep")
    assert done.output.splitlines()[-1] == f"Next: saccade train {tmp_path}/labels.csv --target number"
