"""What does ImageNet cost on 8 to 512 GPUs, before anybody pays for it? Arithmetic; nothing is measured here.

    python -m experiments.scale_on_paper [--images-per-second 2470] [--gigabytes-per-second 25]

Bytes come from the tree and the parts of the vector that training itself uses (`train/lanes.py`), and from the
parameters of the network. The rate of one GPU is NVIDIA's for ResNet-50 on an A100 (DeepLearningExamples, mixed
precision: 2,470 images a second), and is taken to hold for small batches too. A machine has eight GPUs and one link to
the others. A batch has 256 images a GPU and 8,192 at most, to which ResNet-50 trains without a loss of accuracy (Goyal
et al. 2017, arXiv:1706.02677, Figure 1).
"""

import argparse
import json
from dataclasses import dataclass

from saccade.design.desk import TableRequest, draw_table
from saccade.train.lanes import chunks, lanes_of, subtrees, usual_lanes

GPUS = (8, 16, 32, 64, 128, 256, 512)
GPUS_A_MACHINE = 8
IMAGES_A_GPU, MOST_IMAGES = 256, 8192
BYTES = 4  # gradients are float32, whatever the network computes in
BACKWARD = 2 / 3  # of a step: what an exchange could hide behind


@dataclass(frozen=True)
class Set:
    """A public set: training images, bytes of their files (the sizes of the published archives), classes, epochs."""

    name: str
    num_images: int
    num_bytes: int
    num_classes: int
    epochs: int


SETS = (
    Set("ImageNet-1k", 1_281_167, 147_897_477_120, 1000, 90),
    Set("ImageNet-21k", 14_197_122, 1_310_000_000_000, 21_841, 90),
)


@dataclass(frozen=True)
class Sent:
    """Bytes in one step: of the process that sends most, and of all those of one machine to other machines."""

    process: int
    machine: int
    machine_in_two_levels: int


def main() -> None:
    """Print one table for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images-per-second", type=float, default=2470.0, help="of one GPU")
    parser.add_argument("--gigabytes-per-second", type=float, default=25.0, help="of the link of one machine")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    results = []
    for images in SETS:
        request = TableRequest(input_CHW=(3, 224, 224), num_classes=images.num_classes)
        parameters = draw_table("resnet50", request).totals.parameters
        rows = [
            row(images, num_gpus, parameters, arguments.images_per_second, arguments.gigabytes_per_second * 1e9)
            for num_gpus in GPUS
        ]
        results.append({"set": images.name, "parameters": parameters, "rows": rows})
    if arguments.json:
        print(json.dumps({"results": results}))
        return
    for result in results:
        print(f"{result['set']}, resnet50 with {result['parameters']:,} parameters")
        print("| GPUs | images a GPU | MB out of a machine | in two levels | step ms | hours | hidden | images MB/s |")
        for values in result["rows"]:
            print(text_of(values))


def row(
    images: Set, num_gpus: int, length: int, images_per_second: float, link_bytes_per_second: float
) -> dict[str, float]:
    """One line of a table: a step, the hours of all epochs with its exchange behind it, and with the exchange hidden
    behind the backward pass."""
    batch = min(IMAGES_A_GPU * num_gpus, MOST_IMAGES)
    sent = sent_bytes(length, num_gpus, usual_lanes(num_gpus, batch), GPUS_A_MACHINE)
    compute_s = batch / num_gpus / images_per_second
    exchange_s = sent.machine_in_two_levels / link_bytes_per_second
    hidden_s = compute_s * (1 - BACKWARD) + max(compute_s * BACKWARD, exchange_s)
    steps = images.epochs * images.num_images / batch
    return {
        "gpus": num_gpus,
        "images_a_gpu": batch // num_gpus,
        "process_bytes": sent.process,
        "machine_bytes": sent.machine,
        "machine_bytes_in_two_levels": sent.machine_in_two_levels,
        "compute_s": compute_s,
        "exchange_s": exchange_s,
        "hours": steps * (compute_s + exchange_s) / 3600,
        "hours_hidden": steps * hidden_s / 3600,
        "images_bytes_per_second": images.num_bytes / images.num_images * batch / (compute_s + exchange_s),
    }


def text_of(values: dict[str, float]) -> str:
    """A line of the table."""
    cells = [
        f"{values['gpus']}",
        f"{values['images_a_gpu']}",
        f"{values['machine_bytes'] / 1e6:,.0f}",
        f"{values['machine_bytes_in_two_levels'] / 1e6:,.0f}",
        f"{values['compute_s'] * 1e3:.0f} + {values['exchange_s'] * 1e3:.0f}",
        f"{values['hours']:.2f}",
        f"{values['hours_hidden']:.2f}",
        f"{values['images_bytes_per_second'] / 1e6:,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def sent_bytes(length: int, world_size: int, num_lanes: int, processes_a_machine: int) -> Sent:
    """What one exchange of a float32 vector of `length` sends (`Reduction._exchanged`): the parts of every subtree to
    the process that adds them up, and its sum to all.

    In two levels a machine first adds up what it can by itself, so that it sends what one process would.
    """
    of_process, to_others = zip(
        *(_sent_by(rank, length, world_size, num_lanes, processes_a_machine) for rank in range(world_size)), strict=True
    )
    machines = -(-world_size // processes_a_machine)
    of_machine = [
        sum(to_others[first : first + processes_a_machine]) for first in range(0, world_size, processes_a_machine)
    ]
    alone = [_sent_by(rank, length, machines, num_lanes, 1)[1] for rank in range(machines)]
    return Sent(process=max(of_process), machine=max(of_machine), machine_in_two_levels=max(alone))


def _sent_by(rank: int, length: int, world_size: int, num_lanes: int, processes_a_machine: int) -> tuple[int, int]:
    """Bytes that process `rank` sends to any other, and of these to other machines."""
    num_subtrees = len(subtrees(lanes_of(rank, world_size, num_lanes), num_lanes))
    spans = chunks(length, world_size)
    to_each = {
        other: BYTES * (num_subtrees * len(spans[other]) + len(spans[rank]))
        for other in range(world_size)
        if other != rank
    }
    machine = rank // processes_a_machine
    outside = [count for other, count in to_each.items() if other // processes_a_machine != machine]
    return sum(to_each.values()), sum(outside)


if __name__ == "__main__":
    main()
