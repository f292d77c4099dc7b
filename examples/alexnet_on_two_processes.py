"""AlexNet as it was trained: half of every layer on each of two devices (Krizhevsky et al. 2012, section 3.2).

Two processes stand for the two GTX 580 of 2012. They exchange maps before conv3 and units before fc6 and fc7, and give
the logits of the network on one device.
"""

import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from saccade.models.architecture import ModelSpec, build_model
from saccade.models.zoo.alexnet import AlexNet
from saccade.models.zoo.alexnet_two_devices import TowerOfTwoProcesses

SPEC = ModelSpec(num_classes=1000, input_CHW=(3, 227, 227))


def whole_network() -> AlexNet:
    """The same weights in every process."""
    torch.manual_seed(0)
    network = build_model("alexnet", SPEC)
    assert isinstance(network, AlexNet)
    return network.eval()


def one_of_two(rank: int, folder: Path) -> None:
    """What each process does: keep its half, answer together with the other one, compare with the undivided network."""
    torch.set_num_threads(1)
    store = f"file://{folder / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(seconds=300))
    network = whole_network()
    half = TowerOfTwoProcesses(network)
    image_BCHW = torch.randn(2, *SPEC.input_CHW, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together_BK, alone_BK = half(image_BCHW), network(image_BCHW)
    held = sum(parameter.numel() for parameter in half.parameters())
    whole = sum(parameter.numel() for parameter in network.parameters())
    difference = float((together_BK - alone_BK).abs().max())
    text = f"process {rank}: {held:,} of {whole:,} parameters; logits within {difference:.0e} of one device\n"
    (folder / f"said-{rank}").write_text(text)
    distributed.destroy_process_group()


def main() -> None:
    if len(sys.argv) == 3:
        one_of_two(int(sys.argv[1]), Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        processes = [
            subprocess.Popen([sys.executable, __file__, str(rank), folder], env=environment) for rank in range(2)
        ]
        for process in processes:
            if process.wait(timeout=300):
                sys.exit(1)
        for rank in range(2):
            print((Path(folder) / f"said-{rank}").read_text(), end="")


if __name__ == "__main__":
    main()
