"""A small run of the campaign on the files of data sets and weights; its valid files are valid, its mutations vary."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.processes import run_python

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _campaigns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY)


def test_damaged_files_give_a_sane_result_or_one_error_that_names_the_file():
    done = run_python(["-m", "campaigns.mutate_files", "--mutations", "200", "--seed", "1"], REPOSITORY)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert len(result["outcomes"]) == 9
    for kind, counts in result["outcomes"].items():
        assert sum(counts.values()) == 200
        assert min(counts["result"], counts["error"]) >= 10, f"{kind}: both sides of each reader are reached"


ONE_NULL = ("12 images, 1 bad",)
VALID = {
    **{"tar": ("4 images, 0 bad",), "parquet": ONE_NULL, "idx": ("9 images, 0 bad",), "idx gz": ("9 images, 0 bad",)},
    **{"cifar": ("24 images, 0 bad",), "csv": ("6 images, 0 bad",), "weights": ("3 and 0 classes",)},
    **{"weight card": ("3 and 3 classes", "3 and 0 classes"), "data card": ONE_NULL},
}


def test_every_file_that_is_to_be_damaged_reads_well_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from campaigns import mutate_files, mutations

    num_files: dict[str, int] = {}
    for kind, entry in mutate_files.KINDS.items():
        for number in range(12):  # Parquet has most, 12

            def chosen(files: Sequence[bytes], knowing: object, draw: random.Random) -> bytes:
                num_files[kind] = max(num_files.get(kind, 0), len(files))  # noqa: B023
                return files[number % len(files)]  # noqa: B023

            monkeypatch.setattr(mutate_files, "damaged", chosen)
            monkeypatch.setattr(mutate_files, "mutate", lambda content, *rest: content)
            folder = tmp_path / f"{kind}-{number}"
            mutations.write_mutation(entry, kind, 0, number, folder)
            assert mutate_files.check(kind, str(folder)) in VALID[kind], (kind, number)
    assert max(num_files.values()) == 12
    assert num_files["tar"] == len(mutate_files.tar_shards()) == 3


def test_mutations_are_repeatable(tmp_path: Path):
    from campaigns import mutate_files, mutations

    for kind, entry in mutate_files.KINDS.items():
        seen = []
        for again in range(2):
            folder = tmp_path / f"{kind}-again-{again}"
            mutations.write_mutation(entry, kind, 5, 7, folder)
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            seen.append([(path.name, path.read_bytes()) for path in files])
        assert seen[0] == seen[1], kind


def test_a_tar_header_keeps_its_checksum_where_the_format_is_known():
    import io
    import tarfile

    from campaigns.mutate_files import damage_tar, tar_shards

    draw, num_read = random.Random(0), 0
    for _ in range(200):
        try:
            with tarfile.open(fileobj=io.BytesIO(damage_tar(tar_shards()[0], draw))) as archive:
                num_read += bool(archive.next())
        except (tarfile.TarError, ValueError, OverflowError):
            continue
    assert num_read > 60
