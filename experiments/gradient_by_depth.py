"""What is left of the gradient on its way back through a deep network, with shortcuts and without?
(He et al. 2015, arXiv:1512.03385, section 4.1; Glorot and Bengio 2010, for squashing nonlinearities)

    python -m experiments.gradient_by_depth            seconds on 2 cores (n = 3 seeds)

Measures, in fresh networks and on 64 handwritten digits at 16x16 pixels, the norm of the loss's gradient by the
weights of every convolution: of plain and residual networks with batch normalisation, and of plain and residual
networks of sigmoid units without it, where the gradient vanishes. Each norm is divided by that of the last convolution.
"""

import argparse
import json

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from saccade.data.source import open_source
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model

SIZE_PX, NUM_IMAGES = 16, 64
LOSS_SCALE = 2.0**60  # float32 ends at 1e-38; the gradient is linear in the loss, so a factor only lifts it
NETWORKS = ("plain20", "resnet20", "plain56", "resnet56")
SIGMOID_DEPTHS = (20, 56)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way from the first convolution to the last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="fresh networks of each kind")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names, separated by commas")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with every convolution")
    arguments = parser.parse_args()
    lines = {name: name for name in arguments.networks.split(",")}
    for depth in SIGMOID_DEPTHS:
        lines[f"sigmoid{depth}, plain"] = sigmoid_line(depth, shortcuts=False)
        lines[f"sigmoid{depth}, residual"] = sigmoid_line(depth, shortcuts=True)
    results = {name: [gradient_norms(line, seed) for seed in range(arguments.seeds)] for name, line in lines.items()}
    if arguments.json:
        print(json.dumps({"size_px": SIZE_PX, "networks": lines, "gradient_norm_by_convolution": results}))
    else:
        print(table(results))


def sigmoid_line(depth: int, shortcuts: bool) -> str:
    """A network of `depth` layers of sigmoid units in notation: depth - 2 equal ones between the first and the head."""
    between = (
        f"res( conv 8 f3 same sigmoid ) linear x{depth - 2}" if shortcuts else f"conv 8 f3 same sigmoid x{depth - 2}"
    )
    return f"conv 8 f3 same sigmoid | {between} | gap | softmax"


def gradient_norms(line: str, seed: int) -> list[float]:
    """Norm of the loss's gradient by the weights of each convolution, in order, in a fresh network."""
    image_BCHW, label_B = digits()
    torch.manual_seed(seed)
    network = resolve_model(line, ModelSpec(num_classes=10, input_CHW=(image_BCHW.shape[1], SIZE_PX, SIZE_PX)))
    (LOSS_SCALE * functional.cross_entropy(network(image_BCHW), label_B)).backward()
    norms = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.grad is not None:
            norms.append(float(module.weight.grad.double().norm()) / LOSS_SCALE)
    return norms


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """image_BCHW (mean 0, deviation 1) and label_B of the first handwritten digits."""
    source = open_source("digits")
    images = [torch.from_numpy(source[i].image_HWC).permute(2, 0, 1) for i in range(NUM_IMAGES)]
    image_BCHW = functional.interpolate(torch.stack(images).float(), size=(SIZE_PX, SIZE_PX), mode="bilinear")
    label_B = torch.tensor([source.record(i).label for i in range(NUM_IMAGES)])
    return (image_BCHW - image_BCHW.mean()) / image_BCHW.std(), label_B


def table(results: dict[str, list[list[float]]]) -> str:
    """The norm over that of the last convolution: mean (least to most) over the seeds, at five places."""
    places = ("first", "a quarter", "half", "three quarters", "last")
    lines = [f"{'network':20} " + " ".join(f"{place:>28}" for place in places)]
    for name, runs in results.items():
        cells = []
        for share in SHARES:
            ratios = [norms[round(share * (len(norms) - 1))] / norms[-1] for norms in runs]
            cells.append(f"{np.mean(ratios):.3g} ({min(ratios):.2g} to {max(ratios):.2g})")
        lines.append(f"{name:20} " + " ".join(f"{cell:>28}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
