"""Can an extra residual block hurt? With its weights at zero it is the identity (He et al. 2015, section 3.1).

    python -m experiments.zeroed_block                 seconds

Puts further blocks with zeroed weights and biases behind the stages of a ResNet with 1 to 16 blocks more, and
compares the logits bit by bit; the same plain blocks, without shortcuts, forget everything.
"""

import argparse
import json

import torch
from torch import nn

from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model

BLOCK = "res( conv 16 f3 same | conv 16 f3 same )"
PLAIN = "conv 16 f3 same | conv 16 f3 same"
SPEC = ModelSpec(num_classes=10, input_CHW=(3, 32, 32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    rows = [compare(extra) for extra in (1, 2, 4, 8, 16)]
    if arguments.json:
        print(json.dumps({"results": rows}))
        return
    print("extra blocks   residual: logits equal   plain: logits differ from image to image")
    for row in rows:
        print(f"{row['extra_blocks']:>12}   {row['residual_equal']!s:>23}   {row['plain_tells_images_apart']!s:>41}")


def compare(extra: int) -> dict[str, object]:
    """Logits of a small network with and without `extra` zeroed blocks, on the same random images."""
    torch.manual_seed(0)
    image_BCHW = torch.rand(8, 3, 32, 32)
    base = "conv 16 f3 same | {} gap | softmax"
    short = resolve_model(base.format(""), SPEC).eval()
    residual = _with_zeroed(short, base.format(f"{BLOCK} | " * extra))
    plain = _with_zeroed(short, base.format(f"{PLAIN} | " * extra))
    with torch.no_grad():
        expected_BK, residual_BK, plain_BK = short(image_BCHW), residual(image_BCHW), plain(image_BCHW)
    return {
        "extra_blocks": extra,
        "residual_equal": bool(torch.equal(expected_BK, residual_BK)),
        "plain_tells_images_apart": bool((plain_BK - plain_BK[:1]).abs().max() > 0),
    }


def _with_zeroed(short: nn.Module, line: str) -> nn.Module:
    """The network of `line` with the first and last layer of `short` and zeros in all others."""
    longer = resolve_model(line, SPEC).eval()
    with torch.no_grad():
        for parameter in longer.parameters():
            parameter.zero_()
    longer.stem.load_state_dict(short.stem.state_dict())
    longer.head.load_state_dict(short.head.state_dict())
    return longer


if __name__ == "__main__":
    main()
