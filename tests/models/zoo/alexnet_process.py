"""One of the two processes of `test_alexnet_two_devices`: RANK FOLDER; reads its case there, leaves its results."""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import distributed
from torch.nn.functional import cross_entropy

from saccade.models.architecture import ModelSpec, build_model
from saccade.models.zoo import alexnet
from saccade.models.zoo.alexnet import AlexNet
from saccade.models.zoo.alexnet_two_devices import TowerOfTwoProcesses


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    alexnet.DENSE = int(os.environ["DENSE"])
    store = f"file://{folder / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(seconds=900))
    case = load_file(folder / "case.safetensors")
    image_BCHW, target_B = case.pop("image_BCHW"), case.pop("target_B")
    with torch.device("meta"):
        network = build_model("alexnet", ModelSpec(num_classes=7, input_CHW=tuple(image_BCHW.shape[1:])))
    network.load_state_dict(case, assign=True)
    assert isinstance(network, AlexNet)
    half = TowerOfTwoProcesses(network.eval())
    logits_BK = half(image_BCHW)
    cross_entropy(logits_BK, target_B).backward()
    gradients = {name: parameter.grad for name, parameter in half.tower.named_parameters()}
    save_file({"logits_BK": logits_BK.detach(), **gradients}, folder / f"result-{rank}.safetensors")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
