"""A run never lies among its own images, where the next training would take its pictures for some of them."""

from pathlib import Path

import pytest

from saccade.core.errors import UsageError
from saccade.train.run_directory import refuse_among_images


@pytest.mark.parametrize("place", [".", "run", "cats/run", "../photos/run"])
def test_a_run_in_the_folder_of_its_images_is_refused(tmp_path: Path, place: str):
    photos = tmp_path / "photos"
    (photos / "cats").mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        refuse_among_images(str(photos), photos / place)
    assert caught.value.message == (
        f"The run {photos / place} would lie among its own images in {photos}, and be taken for some of them the next "
        f"time.\nChoose a place elsewhere: --out {tmp_path / 'runs' / 'photos'}"
    )


def test_a_run_beside_its_images_or_of_no_folder_is_not(tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "labels.csv").write_text("")
    refuse_among_images(str(photos), tmp_path / "run")
    refuse_among_images(str(photos), tmp_path / "photos-run")
    refuse_among_images(f"{tmp_path / 'labels.csv'}?label=breed", tmp_path / "run")
    refuse_among_images("digits", Path("digits"))


def test_the_default_place_is_refused_too_and_not_made(tmp_path: Path, saccade, monkeypatch: pytest.MonkeyPatch):
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    done = saccade("train", ".", "--epochs", "1")
    assert (done.status, done.errors.splitlines()[0]) == (
        2,
        "error: The run runs would lie among its own images in ., and be taken for some of them the next time.",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cats", "dogs"]
