"""Thirty-seven single changes, each with the number of images (of six) that must be computed again because of it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from tests.processes import PATIENCE_S
from tests.transfer.feature_plans import LAST, PIXELS, collect, make_plan, write_images

from saccade.data.augmentation_policy import AugmentConfig
from saccade.models.surgery import cut
from saccade.transfer import feature_plan as plans
from saccade.transfer.cache import FeatureKey
from saccade.transfer.feature_plan import FeaturePlan
from saccade.transfer.frozen import Tap

NUM_IMAGES = 6


@dataclass
class Place:
    """What a change may change: the images in `folder`, and how features are asked for."""

    folder: Path
    root: Path
    monkeypatch: pytest.MonkeyPatch
    precision: str = "float32"
    adjust: Callable[[FeaturePlan], FeaturePlan] = lambda plan: plan
    tap: Tap = LAST
    view: int = 0


def image(place: Place) -> Path:
    return place.folder / "a" / "0.png"


def touch(place: Place) -> None:
    os.utime(image(place), (1, 1))


def rename(place: Place) -> None:
    image(place).rename(place.folder / "a" / "another.png")


def swap_names(place: Place) -> None:
    image(place).rename(place.folder / "held.png")
    (place.folder / "a" / "2.png").rename(image(place))
    (place.folder / "held.png").rename(place.folder / "a" / "2.png")


def relabel(place: Place) -> None:
    image(place).rename(place.folder / "b" / "0.png")


def rename_class(place: Place) -> None:
    (place.folder / "a").rename(place.folder / "z")


def move_everything(place: Place) -> None:
    place.folder = place.folder.rename(place.folder.with_name("moved"))


def repeat_an_image(place: Place) -> None:
    shutil.copy(image(place), place.folder / "b" / "again.png")


def remove_an_image(place: Place) -> None:
    image(place).unlink()


def add_an_image(place: Place) -> None:
    Image.fromarray(np.full((40, 36), 7, np.uint8)).save(place.folder / "a" / "new.png")


def change_a_pixel(place: Place) -> None:
    pixels = np.array(Image.open(image(place)))
    pixels[20, 18] ^= 1
    Image.fromarray(pixels).save(image(place))


def write_anew(place: Place) -> None:
    Image.open(image(place)).save(image(place), compress_level=1)


def add_a_comment(place: Place) -> None:
    information = PngImagePlugin.PngInfo()
    information.add_text("comment", "holiday")
    Image.open(image(place)).save(image(place), pnginfo=information)


def change_the_format(place: Place) -> None:
    Image.open(image(place)).save(image(place).with_suffix(".bmp"))
    image(place).unlink()


def plan_change(**values: object) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        place.adjust = lambda plan: replace(plan, **values)

    return change


def pixels_change(**values: object) -> Callable[[Place], None]:
    return plan_change(preprocessing=PIXELS.model_copy(update=values))


def weight_change(is_frozen: bool) -> Callable[[Place], None]:
    """One weight moves to the next number."""

    def adjust(plan: FeaturePlan) -> FeaturePlan:
        parts = cut(plan.model, "all")
        weight = next(torch.nn.Sequential(*(parts.frozen if is_frozen else parts.live)).parameters())
        with torch.no_grad():
            weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(9.0))
        return plan

    def change(place: Place) -> None:
        place.adjust = adjust

    return change


def place_change(**values: object) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        for name, value in values.items():
            setattr(place, name, value)

    return change


def library_change(place: Place) -> None:
    installed = FeaturePlan.key

    def key(plan: FeaturePlan, tap: Tap, view: int) -> FeatureKey:
        found = installed(plan, tap, view)
        return found.model_copy(update={"libraries": found.libraries | {"torch": "99"}})

    place.monkeypatch.setattr(FeaturePlan, "key", key)


def code_change(place: Place) -> None:
    """A copy of the package in which one line of the code that prepares pixels is another one."""
    package = shutil.copytree(plans.PACKAGE, place.root.parent / "saccade")
    with open(package / "data" / "images" / "preprocess.py", "a", encoding="utf-8") as file:
        file.write("# changed\n")
    place.monkeypatch.setattr(plans, "PACKAGE", package)


def processor_change(place: Place) -> None:
    place.monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")


def thread_change(place: Place) -> None:
    place.adjust = lambda plan: replace(plan, runtime=replace(plan.runtime, num_threads=2))


def elsewhere(place: Place) -> None:
    place.root = place.root / "elsewhere"


SHIFTED = AugmentConfig.parse({"shift": {"max_px": 2}}, "test")
CHANGES: dict[str, tuple[Callable[[Place], None], int]] = {
    "nothing": (lambda place: None, 0),
    "touched only": (touch, 0),
    "renamed": (rename, 0),
    "two names swapped": (swap_names, 0),
    "another label": (relabel, 0),
    "a class renamed": (rename_class, 0),
    "the folder moved": (move_everything, 0),
    "the same image twice": (repeat_an_image, 0),
    "an image removed": (remove_an_image, 0),
    "an image added": (add_an_image, 1),
    "one pixel": (change_a_pixel, 1),
    "the file compressed anew": (write_anew, 1),
    "a comment in the file": (add_a_comment, 1),
    "another format": (change_the_format, 1),
    "one frozen weight": (weight_change(is_frozen=True), 6),
    "one weight of the last layer": (weight_change(is_frozen=False), 0),
    "another network's name": (plan_change(network="lenet5-tanh"), 6),
    "another depth": (place_change(tap=Tap(depth="stage1", pooled=True)), 6),
    "maps": (place_change(tap=Tap(depth="stage1", pooled=False)), 6),
    "kept in float16": (plan_change(dtype="float16"), 6),
    "kept in bfloat16": (plan_change(dtype="bfloat16"), 6),
    "computed in bfloat16": (place_change(precision="bfloat16"), 6),
    "resized first": (pixels_change(resize_px=34), 6),
    "another filter": (pixels_change(interpolation="bicubic"), 6),
    "the nearest pixel": (pixels_change(interpolation="nearest"), 6),
    "another mean": (pixels_change(mean=(0.4,)), 6),
    "another deviation": (pixels_change(std=(0.3,)), 6),
    "decoded at a smaller scale": (pixels_change(fast_decode=True), 6),
    "another version of a library": (library_change, 6),
    "another version of the code": (code_change, 6),
    "another processor": (processor_change, 6),
    "two threads": (thread_change, 0),
    "another seed": (plan_change(seed=9), 0),
    "another augmentation": (plan_change(augment=SHIFTED), 0),
    "a second view": (place_change(view=1), 6),
    "a third view": (place_change(view=2), 6),
    "another place": (elsewhere, 6),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_single_change_computes_again_what_it_must_and_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    change, num_computed = CHANGES[name]
    place = Place(folder=tmp_path / "images", root=tmp_path / "cache", monkeypatch=monkeypatch)
    write_images(place.folder)
    collect(make_plan(str(place.folder)), place.root)
    change(place)
    plan = place.adjust(make_plan(str(place.folder), place.precision))
    found = collect(plan, place.root, place.tap, place.view)
    assert found.counts == (num_computed, len(plan.source) - num_computed)
    without = collect(plan, None, place.tap, place.view)
    assert torch.equal(found.value_N, without.value_N)
    again = collect(plan, place.root, place.tap, place.view)
    assert again.counts == (0, len(plan.source))
    assert torch.equal(again.value_N, without.value_N)


@pytest.mark.parametrize("values", [{"seed": 9}, {"augment": SHIFTED}])
def test_views_are_drawn_by_the_seed_and_the_augmentation_and_kept_for_both(values: dict, tmp_path: Path):
    write_images(tmp_path / "images")
    plan = make_plan(str(tmp_path / "images"))
    assert collect(plan, tmp_path / "cache", view=1).counts == (6, 0)
    assert collect(replace(plan, **values), tmp_path / "cache", view=1).counts == (6, 0)


def test_there_are_at_least_thirty_changes():
    assert len(CHANGES) >= 30


def test_the_code_that_computes_features_is_all_of_what_computing_them_imports(tmp_path: Path):
    """Every module, but those that find files and classes, or only tell and keep: a change of it is another version."""
    listed = (
        "import sys, saccade.transfer.features, saccade.models.architecture as a; a.MODELS.names(); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", listed], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    modules = [name for name in done.stdout.split() if re.match(r"saccade\.(kernels|models|data|transfer)\b", name)]
    modules = [name for name in modules if not name.startswith("saccade.data.sources")]
    assert {"saccade.kernels.response_norm", "saccade.models.zoo.alexnet", "saccade.data.images.decode"} <= set(modules)
    shutil.copytree(plans.PACKAGE, tmp_path / "saccade", ignore=shutil.ignore_patterns("__pycache__"))
    before = plans.code_digest.__wrapped__(tmp_path / "saccade")
    for name in modules:
        path = tmp_path / name.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        text = path.read_text(encoding="utf-8")
        path.write_text(text + "# changed\n", encoding="utf-8")
        assert plans.code_digest.__wrapped__(tmp_path / "saccade") != before, f"{name} may change unnoticed"
        path.write_text(text, encoding="utf-8")
