"""Near duplicates: copies of other quality and size are found, honest small and simple pictures are left alone."""

import io
import itertools
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from saccade.core.types import Record
from saccade.data.images.near_duplicates import (
    MAX_BITS,
    MIN_CORRELATION,
    KnownPictures,
    Likeness,
    fingerprints,
    is_telling,
    near_groups,
    thumbnail,
    thumbnails,
)
from saccade.data.scan import scan_source
from saccade.data.source import DataSource, open_source
from saccade.data.split import split_source
from saccade.runs.seen import own_record


class Pictures(DataSource):
    def __init__(self, contents: list, labels: list[int], splits: list[str | None] | None = None) -> None:
        self.name, self.classes, self.digest = "photos", ("cat", "dog"), ""
        self.contents, self.labels, self.splits = contents, labels, splits or [None] * len(contents)

    def __len__(self) -> int:
        return len(self.contents)

    def record(self, index: int) -> Record:
        return Record(key=str(index), label=self.labels[index], split=self.splits[index])

    def read(self, index: int) -> bytes | np.ndarray:
        return self.contents[index]


def scene(number: int, size_px: int = 96) -> np.ndarray:
    """A picture of soft and hard shapes, another for every number."""
    draw = np.random.default_rng(number)
    image = cv2.resize(
        draw.integers(0, 256, (7, 7, 3), dtype=np.uint8), (size_px, size_px), interpolation=cv2.INTER_CUBIC
    )
    for _ in range(4):
        corner = draw.integers(0, size_px, 4).tolist()
        cv2.rectangle(image, corner[:2], corner[2:], draw.integers(0, 256, 3).tolist(), -1)
    return image


def saved(pixels: np.ndarray, kind: str = "JPEG", quality: int = 90) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, quality=quality)
    return stream.getvalue()


def test_copies_of_other_quality_size_and_crop_are_near_and_others_are_not():
    pictures = [scene(number) for number in range(60)]
    copies = [[np.asarray(Image.open(io.BytesIO(saved(p, quality=q)))) for p in pictures] for q in (95, 90, 60)] + [
        [cv2.resize(p, (60, 60), interpolation=cv2.INTER_AREA) for p in pictures],
        [cv2.resize(p, (200, 180), interpolation=cv2.INTER_CUBIC) for p in pictures],
        [p[1:] for p in pictures],
    ]
    for others in copies:
        thumbnail_NP = np.stack([thumbnail(p) for p in pictures + others])
        found = {tuple(group) for group in near_groups(fingerprints(thumbnail_NP), thumbnail_NP)}
        assert found <= {(number, number + 60) for number in range(60)}
        assert len(found) >= 54


def test_small_copies_of_large_pictures_are_near_whatever_grid_of_samples_their_sizes_give():
    pictures = [scene(number, 800)[: 600 + number % 7, : 500 + number % 11] for number in range(60)]
    for factor in (0.5, 0.23):
        copies = [cv2.resize(p, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) for p in pictures]
        thumbnail_NP = np.stack([thumbnail(p) for p in pictures + copies])
        found = {tuple(group) for group in near_groups(fingerprints(thumbnail_NP), thumbnail_NP)}
        assert found <= {(number, number + 60) for number in range(60)}
        assert len(found) >= 54


def test_thumbnails_of_many_pictures_are_those_of_each():
    draw = np.random.default_rng(0)
    for shape in ((64, 28, 28), (64, 17, 40, 3), (3, 8, 8), (5, 33, 15, 3), (2, 200, 20), (1, 16, 191, 3)):
        image_NHWC = draw.integers(0, 256, shape, dtype=np.uint8)
        assert np.array_equal(thumbnails(image_NHWC), np.stack([thumbnail(pixels) for pixels in image_NHWC]))


def test_the_search_by_cells_finds_what_comparing_all_pairs_finds():
    draw = np.random.default_rng(3)
    base = np.stack([thumbnail(scene(number)) for number in range(120)]).astype(np.int64)
    noisy = np.concatenate([base + draw.integers(-k, k + 1, base.shape) for k in (0, 2, 5, 8, 12, 20)])
    thumbnail_NP = noisy.clip(0, 255).astype(np.uint8)
    fingerprint_N = fingerprints(thumbnail_NP)
    correlation_NN = np.corrcoef(thumbnail_NP.astype(np.float64))
    parent = list(range(len(thumbnail_NP)))

    def root(index: int) -> int:
        return index if parent[index] == index else root(parent[index])

    num_pairs = 0
    for one, two in itertools.combinations(range(len(thumbnail_NP)), 2):
        close = correlation_NN[one, two] >= MIN_CORRELATION
        if close and int(fingerprint_N[one] ^ fingerprint_N[two]).bit_count() <= MAX_BITS:
            parent[max(root(one), root(two))] = min(root(one), root(two))
            num_pairs += 1
    groups: dict[int, list[int]] = {}
    for index in range(len(parent)):
        groups.setdefault(root(index), []).append(index)
    assert num_pairs > 300
    assert near_groups(fingerprint_N, thumbnail_NP) == [group for group in groups.values() if len(group) > 1]


def test_near_copies_go_to_one_side_where_we_split():
    pictures = [scene(number) for number in range(100)]
    source = Pictures(pictures + [saved(p) for p in pictures], [0, 1] * 100)
    scan = scan_source(source, 1)
    split = split_source(source, scan, 0)
    side = {int(i): name for name in ("train", "validation", "test") for i in split.indices(name)}
    assert len(split.test_N) >= 30
    assert len(scan.near_groups[0]) >= 97
    assert all(len({side[int(i)] for i in group}) == 1 for group in scan.near_groups[0])
    assert len(split.copied_N) == 0


def test_copies_in_a_given_test_part_are_counted_and_named():
    pictures = [scene(number) for number in range(60)]
    test = [saved(p) for p in pictures[:10]] + [saved(p, "PNG") for p in pictures[10:15]]
    test += [scene(number) for number in range(100, 110)]
    splits: list[str | None] = ["train"] * 60 + ["test"] * 25
    source = Pictures(pictures + test, [0, 1] * 30 + [0, 1] * 12 + [0], splits)
    split = split_source(source, scan_source(source, 1), 0)
    assert set(split.copied_N.tolist()) & set(range(60, 85)) == set(range(60, 75))
    assert len(split.test_N) == 25
    assert "5 test images are also in train or validation: they are left out of the verdict" in split.notes
    near = "10 test images are nearly the same as images in train or validation: they are left out of the verdict"
    assert near in split.notes
    assert split.without_copies("test").tolist() == list(range(75, 85))


def test_the_split_counts_the_copies_that_the_record_of_a_run_counts_in_frames_of_one_scene_too():
    """40 frames that turn slowly from one scene into another are one large group; 20 lie in the test part again."""
    first, last = scene(0).astype(np.float64), scene(1).astype(np.float64)
    frames = [(first + (last - first) * number / 39).astype(np.uint8) for number in range(40)]
    others = [scene(number) for number in range(100, 160)]
    test = [saved(frame) for frame in frames[::2]] + [scene(number) for number in range(200, 204)]
    splits: list[str | None] = ["train"] * 100 + ["test"] * 24
    source = Pictures(frames + others + test, [0, 1] * 62, splits)
    scan = scan_source(source, 1)
    split = split_source(source, scan, 0)
    assert scan.near_groups[1] == 60  # one group, too large to be copies
    known_NP = np.stack([thumbnail(np.asarray(image)) for image in frames + others]).astype(np.float64)
    reference = []
    for index in range(100, 124):
        own_P = thumbnail(np.asarray(Image.open(io.BytesIO(test[index - 100])) if index < 120 else test[index - 100]))
        likeness_N = [np.corrcoef(own_P, known_P)[0, 1] for known_P in known_NP]
        if 0 < sum(value >= MIN_CORRELATION for value in likeness_N) <= 12:
            reference.append(index)
    assert reference == list(range(100, 120))
    assert split.without_copies("test").tolist() == [120, 121, 122, 123]
    record = own_record(scan, split)
    assert np.flatnonzero(record.near(scan) & (np.arange(124) >= 100)).tolist() == reference


def test_pictures_too_many_to_be_copies_are_not_held_together_and_that_is_said():
    draw = np.random.default_rng(0)
    icons = []
    for number in range(200):  # circles and squares of one size and place, in a little noise: honest, simple pictures
        image = np.full((32, 32, 3), 40, np.uint8)
        shape = cv2.circle if number % 2 else cv2.rectangle
        shape(image, (16, 16), 9, (200, 200, 200), -1) if number % 2 else shape(image, (7, 7), (25, 25), (200,) * 3, -1)
        icons.append(image + draw.integers(0, 8, image.shape, dtype=np.uint8))
    source = Pictures(icons, [0, 1] * 100)
    split = split_source(source, scan_source(source, 1), 0)
    assert [len(split.indices(name)) for name in ("train", "validation", "test")] == [144, 16, 40]
    assert split.notes == (
        "200 images look much alike, too many to be copies, and may be on two sides: if they are frames of a scene or "
        "views of one thing, keep them together by a group in a CSV file",
    )
    assert len(split.copied_N) == 0


def test_what_is_like_many_known_pictures_is_no_copy_of_one():
    draw = np.random.default_rng(0)
    alike = np.stack([thumbnail(scene(0)) // 2 + draw.integers(0, 2, 256, dtype=np.uint8) for _ in range(50)])
    own = Likeness(thumbnail_NP=np.stack([thumbnail(scene(0)), thumbnail(scene(1))]), is_telling_N=np.ones(2, bool))
    both = np.arange(2)
    assert own.near_to(alike, both).tolist() == [False, False]
    assert own.near_to(alike[:12], both).tolist() == [True, False]
    assert own.near_to(alike[:0], both).tolist() == [False, False]


def test_plain_and_tiny_pictures_tell_nothing():
    sizes = np.array([[15, 40], [16, 40], [40, 40]])
    plain, other = np.full(256, 90, np.uint8), thumbnail(scene(1))
    assert is_telling(sizes, np.stack([other, other, plain])).tolist() == [False, True, False]


def test_honest_sets_keep_their_split_and_few_are_held_together(shared: Callable):
    digits = open_source("digits")
    assert scan_source(digits, 1).near_groups == ((), 0)
    source = open_source(str(shared("data/fashion-mnist")))
    groups, num_alike = scan_source(source, 2).near_groups
    assert num_alike == 0
    assert 150 <= len(groups) <= 230  # copies, and trousers that are as good as copies: 0.6 % of 70,000
    assert sum(map(len, groups)) < 0.01 * len(source)
    assert max(map(len, groups)) <= 12


def test_known_pictures_are_asked_one_at_a_time_by_correlation_and_fingerprint():
    """Thumbnails with smaller and larger changes, and many copies of one, against every pair compared in full."""
    generator = np.random.default_rng(0)
    rough_KHW = generator.integers(0, 256, (600, 4, 4)).astype(np.float32)
    known_KP = np.stack([cv2.resize(rough, (16, 16), interpolation=cv2.INTER_CUBIC).ravel() for rough in rough_KHW])
    known_KP = np.clip(known_KP, 0, 255).astype(np.uint8)
    known_KP[580:] = known_KP[0]
    noise_KP = generator.normal(0, 1, known_KP.shape) * generator.uniform(0, 12, (len(known_KP), 1))
    asked_MP = np.clip(np.concatenate([known_KP + noise_KP, noise_KP + 128]), 0, 255).astype(np.uint8)
    correlation_MK = np.corrcoef(asked_MP, known_KP)[: len(asked_MP), len(asked_MP) :]
    num_bits_MK = np.bitwise_count(fingerprints(asked_MP)[:, None] ^ fingerprints(known_KP))
    num_like_M = ((correlation_MK >= MIN_CORRELATION) & (num_bits_MK <= MAX_BITS)).sum(axis=1)
    known = KnownPictures(known_KP)
    assert [known.num_like(thumbnail_P) for thumbnail_P in asked_MP] == num_like_M.tolist()
    assert 50 < (num_like_M == 1).sum() < 590
    assert (num_like_M == 21).any()
    assert (num_like_M[600:] == 0).all()
    assert KnownPictures(known_KP[:1]).num_like(known_KP[0]) == 1
