"""Passes through the frozen part: views are of one image alone, and little is held in memory."""

import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.transfer.feature_plans import LAST, collect, make_plan, write_images

from saccade.core.errors import WeightsError
from saccade.data.augmentation_policy import AugmentConfig
from saccade.transfer import features
from saccade.transfer.feature_plan import FeaturePlan
from saccade.transfer.features import FeatureWork, collect_features, refuse_alike
from saccade.transfer.frozen import DTYPES, Dtype, FrozenPart, Tap

SHIFTED = {"shift": {"max_px": 2}}
MIXED = SHIFTED | {"mixup": {"alpha": 1, "probability": 1}, "cutmix": {"alpha": 1, "probability": 1}}


@pytest.fixture
def plan(tmp_path: Path) -> FeaturePlan:
    write_images(tmp_path / "images")
    return make_plan(str(tmp_path / "images"))


def test_views_are_not_mixed_with_the_images_beside_them(plan: FeaturePlan, tmp_path: Path):
    shifted, mixed = (
        replace(plan, num_views=2, augment=AugmentConfig.parse(values, "test")) for values in (SHIFTED, MIXED)
    )
    value_N = collect(mixed, tmp_path / "cache", view=1).value_N
    for index in range(6):
        alone = collect_features(mixed, [LAST], np.array([index]), FeatureWork(cache=None), view=1)[LAST]
        assert torch.equal(alone[0], value_N[index])
    again = collect(shifted, tmp_path / "cache", view=1)
    assert again.counts == (0, 6)
    assert torch.equal(again.value_N, value_N)
    assert not torch.equal(value_N, collect(plan, None).value_N)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_features_have_their_dtype_from_the_start_and_nobody_holds_them_back(
    plan: FeaturePlan, monkeypatch: pytest.MonkeyPatch, dtype: Dtype
):
    maps = Tap(depth="stem", pooled=False)
    small = replace(plan, dtype=dtype)
    [group] = FrozenPart(plan.model, [maps], plan.preprocessing, plan.runtime, DTYPES[dtype]).outputs(
        torch.zeros(3, 1, 32, 32, dtype=torch.uint8)
    )
    assert (group.dtype, len(group)) == (DTYPES[dtype], 3)
    whole = collect(small, None, maps).value_N
    monkeypatch.setattr(features, "RECORDS_PER_FILE", 4)
    told: list[tuple[int, int]] = []
    work = FeatureWork(cache=None, progress=lambda done, total: told.append((done, total)))
    passes = features._passes(small, [maps], np.arange(6), np.arange(6), 0, work)
    for start in (0, 4):
        [position_M], values = next(passes)
        assert position_M.tolist() == list(range(start, min(start + 4, 6)))
        assert torch.equal(values[0], whole[start : start + 4])
        alive = weakref.ref(values[0])
        del values
        assert alive() is None
    assert told == [(4, 6), (6, 6)]
    passes.close()


def test_a_person_is_told_a_thing_once():
    report = features.FeatureReport()
    for text in ("features are not kept", "another", "features are not kept"):
        report.tell(text)
    assert report.notes == ["features are not kept", "another"]


def test_features_that_overflow_are_refused(plan: FeaturePlan):
    with torch.no_grad():
        for parameter in plan.model.parameters():
            parameter.mul_(1e30)
    with pytest.raises(WeightsError) as error:
        collect_features(plan, [LAST], np.arange(6), FeatureWork(cache=None))
    assert error.value.message == (
        "The network gives values that are not finite for 6 of 6 images, such as a/0.png.\n"
        "Its weights are damaged or too large, or expect pixels in another range (--preprocessing)."
    )


def test_different_images_with_equal_features_are_refused():
    feature_ND, digest_NB = torch.ones(6, 4), np.repeat([[1], [2]], 3, axis=0).astype(np.uint8)
    with pytest.raises(WeightsError) as error:
        refuse_alike(feature_ND, digest_NB)
    assert error.value.message == (
        "The network sees no difference between 2 images: the features of all are the same.\n"
        "Its weights are damaged, or were never trained; take another file."
    )
    refuse_alike(feature_ND, np.ones((6, 1), np.uint8))  # one image six times
    refuse_alike(torch.arange(24.0).view(6, 4), digest_NB)
    refuse_alike(feature_ND[:0], digest_NB[:0])
