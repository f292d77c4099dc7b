"""A transfer with everything frozen tells strangers by what the head sees, not by what its last layer sees."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from saccade import api
from saccade.classify.classifier import open_member
from saccade.classify.features import features_of
from saccade.classify.stream import items_of_source
from saccade.data.source import open_source
from saccade.evaluate.novelty import unit_rows
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs.evaluation_files import read_verdict

PIXELS = {"channels": "grey", "input_height_px": 16, "input_width_px": 16, "mean": [0.5], "std": [0.25]}


@pytest.mark.parametrize("head", ["loglinear", "linear"])
def test_training_images_are_kept_as_the_head_sees_them(tmp_path: Path, head: str):
    """A head of a logarithm and a dense layer sees as many numbers as its last layer; their logarithms were kept."""
    torch.manual_seed(0)
    weights = build_model("resnet20", ModelSpec(num_classes=3, input_CHW=(1, 16, 16))).state_dict()
    save_file(weights, tmp_path / "weights.safetensors", metadata={"saccade.preprocessing": json.dumps(PIXELS)})
    request = api.TransferRequest(
        source="digits",
        backbone="resnet20",
        weights=str(tmp_path / "weights.safetensors"),
        freeze="all",
        out=tmp_path / "run",
        cache=str(tmp_path / "cache"),
        settings=[f"transfer.head={head}", "runtime.precision=float32", "transfer.features=float32"],
    )
    api.transfer(request)
    member = open_member(tmp_path / "run")
    assert member.architecture == f"resnet20+{head}" or head == "linear"
    assert member.novelty is not None
    source = open_source("digits")
    unit_ND = unit_rows(features_of(member, items_of_source(source, np.arange(len(source)))))
    cosine_MN = member.novelty.unit_MD.astype(np.float32) @ unit_ND.T
    np.testing.assert_allclose(cosine_MN.max(axis=1), 1, atol=2e-3)
    spread = np.linalg.norm(member.novelty.unit_MD[:, None, :8] - unit_ND[None, :, :8], axis=2).min(axis=1)
    assert spread.max() < 2e-3
    found = read_verdict(tmp_path / "run", member.classes)
    assert found is not None
    evaluation = api.evaluate(tmp_path / "run", "digits")
    assert found[1].unlike_N is not None
    assert evaluation.unlike_N is not None
    assert found[1].unlike_N.sum() == evaluation.unlike_N.sum()
