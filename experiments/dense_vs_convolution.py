"""How many parameters does sharing save? Dense layers against convolutions that compute maps of the same size.

    python -m experiments.dense_vs_convolution         seconds; nothing is allocated

Every figure comes from the layer table of a network with that one layer, not from a formula written here.
"""

import argparse
import json

from saccade.design.desk import TableRequest, draw_table

# (input H, W, C), filters, filter size: each without padding, stride 1
CASES = (((32, 32, 3), 6, 5), ((1000, 1000, 3), 10, 3), ((28, 28, 192), 32, 1), ((14, 14, 512), 512, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    rows = [compare(*case) for case in CASES]
    if arguments.json:
        print(json.dumps({"results": rows}))
        return
    print(f"{'input':>14}  {'output':>14}  {'dense weights':>26}  {'convolution':>11}  {'times fewer':>17}")
    for row in rows:
        print(
            f"{row['input']:>14}  {row['output']:>14}  {row['dense_weights']:>26,}  "
            f"{row['convolution_parameters']:>11,}  {row['times_fewer']:>17,.0f}"
        )


def compare(size_HWC: tuple[int, int, int], filters: int, filter_px: int) -> dict[str, object]:
    """Weights of a dense layer between two maps, and the parameters of the convolution between them."""
    height, width, channels = size_HWC
    request = TableRequest(input_CHW=(channels, height, width))
    layer = draw_table(f"conv {filters} f{filter_px} linear | gap | softmax", request).layers[0]
    dense = height * width * channels * layer.activations
    return {
        "input": f"{height}x{width}x{channels}",
        "output": f"{layer.output[1]}x{layer.output[2]}x{layer.output[0]}",
        "dense_weights": dense,
        "convolution_parameters": layer.parameters,
        "times_fewer": dense / layer.parameters,
    }


if __name__ == "__main__":
    main()
