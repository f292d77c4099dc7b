"""The residual block, and deep networks with and without shortcuts, measured."""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import nn

from ..models.architecture import ModelSpec
from ..models.build import resolve_model
from .lesson import Command, Lesson, Section, Table, Toy, Words

SPEC = ModelSpec(num_classes=10, input_CHW=(3, 32, 32))
BASE = "conv 16 f3 same | {} gap | softmax"
BLOCKS = {"residual": "res( conv 16 f3 same | conv 16 f3 same )", "plain": "conv 16 f3 same | conv 16 f3 same"}
EXTRA = (1, 2, 4, 8, 16)
MEASURED = "plain_vs_residual.json"  # python -m experiments.plain_vs_residual --epochs 10 --json
ORDER = ("plain20", "resnet20", "plain56", "resnet56")


def residual_block() -> Lesson:
    """The shortcut, and what zeroed weights leave."""
    draw = np.random.Generator(np.random.PCG64(2))
    first, second = draw.normal(0, 0.4, (2, 6, 6)).round(2)
    settings = {"first": first.tolist(), "second": second.tolist(), "input": [1, 0, 4, 2, 0, 7]}
    return Lesson(
        name="residual",
        title="The residual block: what is learned is added",
        lead=(
            "a(l+2) = g(z(l+2) + a(l)): the shortcut joins behind the linear part and in front of the "
            "nonlinearity. With all weights "
            "at zero the block is the identity, so a block more cannot hurt what is there."
        ),
        sections=(
            Section(
                "Turn the weights down",
                (
                    Toy(
                        kind="residual",
                        title="One block, six numbers",
                        hint="At 0 the residual block hands its input on. Without the shortcut, everything is lost.",
                        settings=settings,
                    ),
                ),
            ),
            Section(
                "Zeroed blocks in a network",
                (
                    Words(
                        "A small network answers eight images; then blocks with zeroed weights are put behind "
                        "its first layer. "
                        "Computed now, compared to the last bit:"
                    ),
                    _zeroed(),
                ),
            ),
            Section(
                "Where the sizes differ",
                (
                    Words(
                        "z + a needs equal shapes. Where a block halves the map and doubles the channels, the "
                        "shortcut is either a learned 1x1 "
                        "convolution with stride (W_s a), or takes every second position and fills the new "
                        "channels with zeros."
                    ),
                    _shortcuts(),
                    Command(line="saccade table resnet20", what="All layers of a small residual network"),
                    Command(line="saccade train photos/ --model resnet18", what="On your own photos"),
                ),
            ),
        ),
    )


def _zeroed() -> Table:
    """Logits with and without zeroed blocks, on the same random images."""
    generator = torch.Generator().manual_seed(0)
    image_BCHW = torch.rand(8, *SPEC.input_CHW, generator=generator)
    short = resolve_model(BASE.format(""), SPEC).eval()
    with torch.no_grad():
        _draw(short, generator)
        expected_BK = short(image_BCHW)
        rows = []
        for extra in EXTRA:
            answers = {name: _with_zeroed(short, f"{block} | " * extra)(image_BCHW) for name, block in BLOCKS.items()}
            equal = torch.equal(answers["residual"], expected_BK)
            apart = float((answers["plain"] - answers["plain"][:1]).abs().max())
            rows.append([str(extra), "equal" if equal else "different", apart])
    return Table(
        caption="Zeroed blocks",
        headings=("further blocks", "logits, residual", "largest difference between two images, plain"),
        rows=rows,
    )


def _draw(network: nn.Module, generator: torch.Generator) -> None:
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / 10)


def _with_zeroed(short: nn.Module, blocks: str) -> nn.Module:
    """The network with the first and last layer of `short` and `blocks` of zeros between them."""
    longer = resolve_model(BASE.format(blocks), SPEC).eval()
    for parameter in longer.parameters():
        parameter.zero_()
    for part in ("stem", "head"):
        getattr(longer, part).load_state_dict(getattr(short, part).state_dict())
    return longer


def _shortcuts() -> Table:
    rows = []
    for name in ("resnet20", "resnet20-projection", "plain20"):
        network = resolve_model(name, SPEC)
        rows.append([name, sum(parameter.numel() for parameter in network.parameters())])
    return Table(caption="Parameters by shortcut", headings=("network", "parameters"), rows=rows)


def plain_against_residual() -> Lesson:
    """Training error of plain and residual networks by epoch, as the experiment measured it."""
    measured = _measured()
    series = [
        {
            "name": name,
            "values": [[100 * value for value in run] for run in measured["results"][name]["training_error_by_epoch"]],
        }
        for name in ORDER
    ]
    title = "Error on the training images by epoch"
    runs = len(series[0]["values"])
    return Lesson(
        name="plain-or-residual",
        title="Plain against residual: deeper is worse, until there are shortcuts",
        lead=(
            "The same 56 layers do worse than 20 on the images they are trained on, so this is not overfitting: "
            "they are harder to "
            "train. With shortcuts they are not."
        ),
        sections=(
            Section(
                "Measured",
                (
                    Words(
                        f"Handwritten digits at {measured['size_px']}x{measured['size_px']} pixels, one recipe "
                        f"for all, {runs} runs of each "
                        f"network; {measured['device']}, torch {measured['torch']}, {measured['date']}."
                    ),
                    Toy(
                        kind="curves",
                        title=title,
                        hint="Move the epoch. A line is one run.",
                        settings={"title": title, "series": series},
                    ),
                    _last_epoch(measured),
                ),
            ),
            Section(
                "Measure it yourself",
                (
                    Command(
                        line="saccade train digits --model plain56 --recipe default --epochs 10",
                        what="The deep plain network",
                    ),
                    Command(
                        line="saccade train digits --model resnet56 --recipe default --epochs 10",
                        what="The same with shortcuts",
                    ),
                    Command(
                        line="saccade compare plain56 resnet56", what="Both have the same layers and the same cost"
                    ),
                ),
            ),
        ),
    )


def _measured() -> dict[str, Any]:
    text = files(__package__).joinpath("measured", MEASURED).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _last_epoch(measured: dict[str, Any]) -> Table:
    rows = []
    for name in ORDER:
        found = measured["results"][name]
        rows.append(
            [
                name,
                *(
                    _spread(found[key], factor)
                    for key, factor in (
                        ("training_error", 100),
                        ("held_out_accuracy", 100),
                        ("gradient_first_over_last", 1),
                    )
                ),
            ]
        )
    return Table(
        caption="After the last epoch: mean, least to most",
        headings=(
            "network",
            "training error, %",
            "held-out images correct, %",
            "gradient, first over last convolution, before training",
        ),
        rows=rows,
    )


def _spread(values: list[float], factor: float) -> str:
    scaled = [factor * value for value in values]
    mean, low, high = (
        f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in (np.mean(scaled), min(scaled), max(scaled))
    )
    return f"{mean} ({low} to {high})"


LESSONS: dict[str, Callable[[], Lesson]] = {"residual": residual_block, "plain-or-residual": plain_against_residual}
