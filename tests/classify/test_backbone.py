"""A network with public weights: what its head sees is all that it gives."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from saccade.classify.backbone import open_backbone
from saccade.classify.features import num_features
from saccade.core.runtime import RuntimeConfig, start
from saccade.models.architecture import MODELS, ModelSpec
from saccade.models.build import resolve_model

# ViT-S is 384 wide (Touvron et al. 2020, arXiv:2012.12877, table 1); the head sees class token and mean of the patches
# (Oquab et al. 2023, arXiv:2304.07193, section 7.1).
WIDTH = 2 * 384


def test_weights_without_a_head_give_the_width_of_the_network_and_no_output_of_a_new_one(tmp_path: Path):
    name = next(name for name in MODELS.names() if not MODELS.get(name).public_head and "-s" in name)
    spec = ModelSpec(num_classes=1, input_CHW=MODELS.get(name).default_spec.input_CHW)
    tensors = resolve_model(name, spec).state_dict()
    save_file({key: value for key, value in tensors.items() if not key.startswith("head.")}, tmp_path / "w.safetensors")
    with torch.inference_mode():
        member, found = open_backbone(name, str(tmp_path / "w.safetensors"), start(RuntimeConfig()))
        assert (found.num_classes, num_features(member)) == (0, WIDTH)
