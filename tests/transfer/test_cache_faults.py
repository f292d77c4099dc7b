"""A cache that is damaged, full, read-only, too small, or built by eight at once never gives another feature."""

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.processes import Program
from tests.transfer.feature_plans import LAST, collect, make_plan, write_images

from saccade.core import lock
from saccade.core.errors import DataError, Stopped
from saccade.transfer.cache import DESCRIPTION, FeatureCache, checksum, folder_bytes
from saccade.transfer.feature_plan import FeaturePlan
from saccade.transfer.features import FeatureWork, collect_features
from saccade.transfer.frozen import Tap

REPOSITORY = Path(__file__).parent.parent.parent
MEANS = Tap(depth="stage1", pooled=True)


@pytest.fixture
def plan(tmp_path: Path) -> FeaturePlan:
    write_images(tmp_path / "images")
    return make_plan(str(tmp_path / "images"))


def record_file(root: Path) -> Path:
    [path] = root.rglob("records-*.safetensors")
    return path


def test_a_changed_value_is_noticed_computed_again_and_said(plan: FeaturePlan, tmp_path: Path):
    first = collect(plan, tmp_path / "cache")
    path = record_file(tmp_path / "cache")
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    second = collect(plan, tmp_path / "cache")
    assert second.counts == (1, 5)
    assert second.report.notes == ["1 kept features (all, means) are damaged; they are computed again"]
    assert torch.equal(second.value_N, first.value_N)
    third = collect(plan, tmp_path / "cache")
    assert (third.counts, third.report.notes) == ((0, 6), [])
    assert torch.equal(third.value_N, first.value_N)


def test_the_record_of_another_image_is_no_record_of_this_one(plan: FeaturePlan, tmp_path: Path):
    first = collect(plan, tmp_path / "cache")
    path = record_file(tmp_path / "cache")
    content = path.read_bytes()
    one, other = (plan.digest_NB[index].tobytes() for index in (0, 1))
    path.write_bytes(content.replace(one, b"?" * 16).replace(other, one).replace(b"?" * 16, other))
    second = collect(plan, tmp_path / "cache")
    assert second.counts == (2, 4)
    assert torch.equal(second.value_N, first.value_N)


@pytest.mark.parametrize("damage", [lambda content: content[:-10], lambda content: b"", lambda content: b"x" * 500])
def test_a_file_that_is_none_any_more_is_named_and_computed_again(
    plan: FeaturePlan, tmp_path: Path, damage: Callable[[bytes], bytes]
):
    first = collect(plan, tmp_path / "cache")
    path = record_file(tmp_path / "cache")
    path.write_bytes(damage(path.read_bytes()))
    second = collect(plan, tmp_path / "cache")
    assert second.counts == (6, 0)
    assert second.report.notes[0].startswith(f"the feature file {path} is damaged (")
    assert torch.equal(second.value_N, first.value_N)


def wide(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    values = tensors["values"].repeat_interleave(2, dim=1)
    return tensors | {"values": values} | checksums(tensors["digest_NB"], values)


def doubled(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    values = tensors["values"].double()
    return tensors | {"values": values} | checksums(tensors["digest_NB"], values)


def checksums(digest_NB: torch.Tensor, values: torch.Tensor) -> dict[str, torch.Tensor]:
    rows = [checksum(digest_B, value) for digest_B, value in zip(digest_NB.numpy(), values, strict=True)]
    return {"checksum_NB": torch.from_numpy(np.stack(rows))}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda found: found | {"digest_NB": found["digest_NB"][:3]}, "its digests are not of 16 bytes"),
        (lambda found: found | {"digest_NB": found["digest_NB"].float()}, "its digests are not of 16 bytes"),
        (lambda found: found | {"digest_NB": found["digest_NB"].bfloat16()}, "Got unsupported ScalarType BFloat16"),
        (
            lambda found: found | {"checksum_NB": found["checksum_NB"][:, :4].contiguous()},
            "its checksums are not of 8 bytes",
        ),
        (lambda found: found | {"values": found["values"].sum()}, "its digests are not of 16 bytes"),
        (doubled, "its values are of another type or shape than the others"),
    ],
)
def test_a_file_of_other_arrays_is_named_and_computed_again(
    plan: FeaturePlan, tmp_path: Path, change: Callable, reason: str
):
    first = collect(plan, tmp_path / "cache")
    path = record_file(tmp_path / "cache")
    save_file(change(load_file(path)), path)
    second = collect(plan, tmp_path / "cache")
    assert second.counts == (6, 0)
    assert second.report.notes == [f"the feature file {path} is damaged ({reason})"]
    assert torch.equal(second.value_N, first.value_N)


def test_files_of_two_shapes_are_not_mixed(plan: FeaturePlan, tmp_path: Path):
    first = collect(plan, tmp_path / "cache")
    path = record_file(tmp_path / "cache")
    other = path.with_name(path.name.replace("records-", "records-z"))
    save_file(wide(load_file(path)), other)
    second = collect(plan, tmp_path / "cache")
    assert second.counts == (0, 6)
    assert second.report.notes == [
        f"the feature file {other} is damaged (its values are of another type or shape than the others)"
    ]
    assert torch.equal(second.value_N, first.value_N)


def test_a_pipe_in_the_place_of_a_feature_file_is_removed(plan: FeaturePlan, tmp_path: Path):
    first = collect(plan, tmp_path / "cache")
    path = record_file(tmp_path / "cache")
    path.unlink()
    os.mkfifo(path)
    second = collect(plan, tmp_path / "cache")
    assert second.report.notes[0].startswith(f"the feature file {path} is damaged (it is not a plain file")
    assert torch.equal(second.value_N, first.value_N)


@pytest.mark.parametrize("num_bytes", [0, 100, 700, 2000])
def test_on_a_full_disk_features_are_computed_and_not_kept(
    plan: FeaturePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_bytes: int
):
    monkeypatch.syspath_prepend(REPOSITORY)
    from campaigns.faulty_disk import FaultyDisk

    truth = collect(plan, None)
    root = tmp_path / "cache"
    root.mkdir()
    with FaultyDisk(root, errno.ENOSPC, num_bytes=num_bytes).failing():
        found = collect(plan, root)
    assert found.counts == (6, 0)
    assert torch.equal(found.value_N, truth.value_N)
    [note] = found.report.notes
    folder = FeatureCache(root=root, key=plan.key(LAST, 0), limit_bytes=1).folder
    assert re.fullmatch(
        r"features (are not|\(all, means\) are (not|no longer)) kept on disk: "
        rf"The disk is full: cannot write {folder}(/\S+)?\. Choose another place with --cache DIR, or --cache none\.",
        note,
    )
    again = collect(plan, root)
    assert torch.equal(again.value_N, truth.value_N)
    assert not list(root.rglob("*.saccade-tmp"))


@pytest.mark.parametrize("num_calls", [0, 1, 3])
def test_on_a_read_only_disk_features_are_computed_and_not_kept(
    plan: FeaturePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_calls: int
):
    monkeypatch.syspath_prepend(REPOSITORY)
    from campaigns.faulty_disk import FaultyDisk

    root = tmp_path / "cache"
    root.mkdir()
    with FaultyDisk(root, errno.EROFS, num_calls=num_calls).failing():
        found = collect(plan, root)
    assert found.counts == (6, 0)
    advice = "it is on a read-only file system. Choose another place with --cache DIR, or --cache none."
    assert [note for note in found.report.notes if note.endswith(advice)]
    assert torch.equal(found.value_N, collect(plan, None).value_N)


def test_what_does_not_fit_into_the_limit_is_not_kept_and_the_oldest_leave_first(plan: FeaturePlan, tmp_path: Path):
    root = tmp_path / "cache"
    small = collect(plan, root, limit_bytes=1000)
    assert small.report.notes == [
        "features (all, means) are not kept on disk: 0.0 GB do not fit into the limit of 0.0 GB"
    ]
    assert small.counts == (6, 0)
    for number, tap in enumerate([Tap(depth="stem", pooled=True), MEANS]):
        collect(plan, root, tap)
        folder = FeatureCache(root=root, key=plan.key(tap, 0), limit_bytes=1).folder
        os.utime(folder / DESCRIPTION, (number + 1, number + 1))
    collect(plan, root, Tap(depth="stem", pooled=True))  # a hit is a use too: now those of stage1 are the oldest
    stem = FeatureCache(root=root, key=plan.key(Tap(depth="stem", pooled=True), 0), limit_bytes=1).folder
    last = collect(plan, root, limit_bytes=folder_bytes(stem) + small.value_N.nbytes + 1200)  # 1200: what describes it
    assert last.report.notes == []
    assert collect(plan, root, Tap(depth="stem", pooled=True)).counts == (0, 6)
    assert collect(plan, root, MEANS).counts == (6, 0)


def test_features_at_several_depths_share_the_limit(plan: FeaturePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    maps = [Tap(depth=depth, pooled=False) for depth in ("stem", "stage1")]
    monkeypatch.setattr("saccade.transfer.features.RECORDS_PER_FILE", 2)  # three files a depth
    whole = collect_features(plan, maps, np.arange(6), FeatureWork(cache=None))
    needed_bytes = [whole[tap].nbytes for tap in maps]
    limit_bytes = sum(needed_bytes) - 1000
    work = FeatureWork(cache=(tmp_path / "cache", limit_bytes))
    found = collect_features(plan, maps, np.arange(6), work)
    assert all(torch.equal(found[tap], whole[tap]) for tap in maps)
    assert work.report.notes == [
        "features (stage1, maps) are not kept on disk: 0.0 GB do not fit into the limit of 0.0 GB"
    ]
    assert sum(folder_bytes(folder) for folder in (tmp_path / "cache" / "features").iterdir()) <= limit_bytes


def test_taking_looks_at_every_place_once(plan: FeaturePlan, tmp_path: Path):
    store = FeatureCache(root=tmp_path / "cache", key=plan.key(MEANS, 0), limit_bytes=10**9)
    store.folder.mkdir(parents=True)
    digest_NB = np.random.default_rng(1).integers(0, 256, (60, 16), dtype=np.uint8)
    value_ND = torch.arange(120.0).view(60, 2)
    for start in range(0, 60, 3):
        store.add(digest_NB[start : start + 3], value_ND[start : start + 3])
    order_M = np.random.default_rng(2).permutation(60)

    class Name(str):
        num_compared = 0

        def __eq__(self, other: object) -> bool:
            Name.num_compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    store._places = {digest: (Name(name), row) for digest, (name, row) in store._places.items()}
    assert torch.equal(store.take(digest_NB[order_M]), value_ND[torch.from_numpy(order_M)])
    assert Name.num_compared < 60 * 4  # not once for each of the twenty files


@pytest.mark.parametrize("name", ["holiday-photographs", "0" * 32])
def test_folders_of_others_beside_the_features_stay(plan: FeaturePlan, tmp_path: Path, name: str):
    root = tmp_path / "cache"
    photograph = root / "features" / name / "photograph.jpg"
    photograph.parent.mkdir(parents=True)
    photograph.write_bytes(bytes(5000))
    collect(plan, root, MEANS)
    described = photograph.parent.with_name("described")
    described.mkdir()
    (described / DESCRIPTION).write_text("{}")
    limit_bytes = collect(plan, None).value_N.nbytes + 1200
    found = collect(plan, root, limit_bytes=limit_bytes)  # those of stage1 must leave, and are all that may
    assert found.report.notes == []
    assert photograph.stat().st_size == 5000
    assert (described / DESCRIPTION).read_text() == "{}"
    assert collect(plan, root, MEANS).counts == (6, 0)


def test_waiting_for_another_builder_is_said_at_once_and_can_be_stopped(plan: FeaturePlan, tmp_path: Path):
    root = tmp_path / "cache"
    folder = FeatureCache(root=root, key=plan.key(MEANS, 0), limit_bytes=10**9).folder
    folder.mkdir(parents=True)
    told: list[str] = []

    def stop_once_told() -> None:
        if told:
            raise Stopped("")

    work = FeatureWork(cache=(root, 10**9), check=stop_once_told, note=told.append)
    with lock.exclusive(folder), pytest.raises(Stopped):
        collect_features(plan, [MEANS], np.arange(6), work)
    assert told == ["another process is computing the same features; waiting for it"]
    assert work.report.notes == []
    assert collect(plan, root, MEANS).counts == (6, 0)


BUILDER = """
import json, sys
from pathlib import Path
from tests.transfer.feature_plans import LAST, collect, make_plan
found = collect(make_plan(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps([*found.counts, found.value_N.tolist()]))
"""


def test_eight_builders_at_once_compute_every_image_once_and_agree(plan: FeaturePlan, tmp_path: Path):
    command = ["-c", BUILDER, tmp_path / "images", tmp_path / "cache"]
    builders = [Program(command, REPOSITORY) for _ in range(8)]
    answers = []
    for builder in builders:
        done = builder.communicate()
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    assert sum(answer[0] for answer in answers) == 6
    assert sum(answer[1] for answer in answers) == 7 * 6
    truth = collect(plan, None).value_N
    assert all(torch.equal(torch.tensor(answer[2]), truth) for answer in answers)


def test_a_file_that_was_rewritten_since_the_scan_is_named_and_nothing_is_kept_under_its_old_content(tmp_path: Path):
    write_images(tmp_path / "images")
    plan = make_plan(str(tmp_path / "images"))
    changed = tmp_path / "images" / "b" / "3.png"
    before = changed.read_bytes()
    changed.write_bytes((tmp_path / "images" / "a" / "0.png").read_bytes())
    with pytest.raises(DataError) as error:
        collect(plan, tmp_path / "cache")
    assert error.value.message == (
        "b/3.png was changed after the run looked through the images; none of its features were kept.\n"
        "Run again; with --resume, once the images are as they were."
    )
    changed.write_bytes(before)
    found = collect(plan, tmp_path / "cache")
    assert torch.equal(found.value_N, collect(plan, None).value_N)
