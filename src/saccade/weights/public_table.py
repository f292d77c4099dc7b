"""The table of public weights, `public_weights.csv`: one line each, in the order in which they are to be taken.

    network      registered name
    hub          OWNER/NAME on the Hugging Face hub
    revision     its commit, "" while nobody who could reach the hub has entered it
    sha256       of its weight file; "" as above. `saccade weights --verify` fetches all and prints both
    licence      as its card says; `any_use` is "no" where it is not free for commercial use
    trained_on   sets of images
    top1_percent on ImageNet's validation images at `input_px`
    crop, interpolation, mean_std     preprocessing, for reading: what is used comes with the weights (config.json)
    megabytes    4 bytes a parameter

Licences, preprocessing and names: timm 1.0.31. Accuracies and parameters: timm's table, results/results-imagenet.csv of
huggingface/pytorch-image-models at aa4b5850, 2026-08-08, at the size that the weights come with.
"""

import csv
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

from ..core.addresses import hub_name
from ..core.errors import WeightsError, did_you_mean, printable
from ..core.registry import spelled
from ..models.architecture import MODELS
from .hub import HUB_PREFIX, MODEL, USUAL_NAME, download_weights, weights_in
from .tensors import read_file

TABLE = Path(__file__).with_name("public_weights.csv")


@dataclass(frozen=True, kw_only=True)
class PublicWeights:
    """A line of the table. `top1_percent` is None for files without a head, which answer nothing by themselves."""

    network: str
    hub: str
    revision: str
    sha256: str
    licence: str
    any_use: bool
    trained_on: str
    top1_percent: float | None
    input_px: int
    crop: float
    interpolation: str
    mean_std: str
    megabytes: float

    @property
    def name(self) -> str:
        """Its name without the owner, such as resnet18.a1_in1k."""
        return self.hub.partition("/")[2]

    @property
    def address(self) -> str:
        """What `--weights` takes: hub:OWNER/NAME, with the commit where it is known."""
        return f"{HUB_PREFIX}{self.hub}" + (f"@{self.revision}" if self.revision else "")

    @property
    def is_verified(self) -> bool:
        """Whether somebody has fetched it and entered what it was."""
        return bool(self.revision and self.sha256)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Weights of the table on this machine: hub:OWNER/NAME@COMMIT, their file and its digest."""

    line: PublicWeights
    address: str
    path: Path
    sha256: str


@cache
def public_weights() -> tuple[PublicWeights, ...]:
    """All lines."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        PublicWeights(
            network=row["network"],
            hub=row["hub"],
            revision=row["revision"],
            sha256=row["sha256"],
            licence=row["licence"],
            any_use=row["any_use"] == "yes",
            trained_on=row["trained_on"],
            top1_percent=float(row["top1_percent"]) if row["top1_percent"] else None,
            input_px=int(row["input_px"]),
            crop=float(row["crop"]),
            interpolation=row["interpolation"],
            mean_std=row["mean_std"],
            megabytes=float(row["megabytes"]),
        )
        for row in rows
    )


def weights_of(network: str) -> list[PublicWeights]:
    """The lines of a registered network, the best that is free for any use first."""
    return sorted(
        (line for line in public_weights() if line.network == network),
        key=lambda line: (not line.any_use, -(line.top1_percent or 0)),
    )


def find_public(text: str) -> PublicWeights:
    """The line that `text` names: a network (its best), or weights such as resnet18.a1_in1k. Raises WeightsError, and
    UnknownNameError for a network of others."""
    for line in public_weights():
        if text in (line.name, line.hub, f"{HUB_PREFIX}{line.hub}"):
            return line
    if "." not in text or text in MODELS:
        network = MODELS.get(text).name
        return best_weights(network)
    near = did_you_mean(text, [line.name for line in public_weights()])
    raise WeightsError(f"The table has no weights '{printable(text[:80])}'.{near} 'saccade weights' lists them all.")


def refuse_unknown_name(text: str, network: str) -> NoReturn:
    """Raise WeightsError for a word, such as `imagenet`, that is neither a file nor in the table: what the table has
    of `network`, or of the network that the word names; "" where none is asked for."""
    stem = text.partition(".")[0].partition("_Weights")[0]
    asked = network or next((line.network for line in public_weights() if spelled(stem) == spelled(line.network)), "")
    names = [line.name for line in weights_of(asked)]
    known = f"Of {asked} it has {', '.join(names[:3])}{' and more' * (len(names) > 3)}: " if names else ""
    remedy = f"{known}--weights {names[0]}" if names else "Name a network, as --backbone resnet18 without --weights"
    raise WeightsError(
        f"There is no weight file {printable(text[:80])}, and the table of public weights has no such name."
        f"{did_you_mean(text, [line.name for line in public_weights()]) if not names else ''}\n"
        f"{remedy}; or leave both out. 'saccade weights' lists all."
    )


def line_at(address: str) -> PublicWeights | None:
    """The line of weights that lie at hub:OWNER/NAME[@REVISION]; None for an address of none."""
    asked = hub_name(address)
    return next((line for line in public_weights() if asked and asked.name == line.hub), None)


def best_weights(network: str) -> PublicWeights:
    """The best weights of a registered network that are free for any use. Raises WeightsError where there are none."""
    lines = weights_of(network)
    if not lines or not lines[0].any_use:
        others = f" There are {lines[0].address}, {lines[0].licence}." if lines else ""
        raise WeightsError(
            f"The table has no weights of {network} that are free for any use.{others}\n"
            f"Give some with --weights FILE, or take another network: 'saccade weights' lists those with weights."
        )
    return lines[0]


def fetch(line: PublicWeights) -> Fetched:
    """Download the weights of `line`, unless they are here, and compare them with the table. Raises WeightsError, which
    says how to fetch them by hand, and StorageError."""
    try:
        folder, address = download_weights(line.address)
    except WeightsError as error:
        file = f"{MODEL.page}/{line.hub}/resolve/{line.revision or 'main'}/{USUAL_NAME}"
        raise WeightsError(
            f"{error.message.splitlines()[0]}\n"
            f"Put {file} ({line.megabytes:.0f} MB) and config.json from beside it into a folder, such as {line.name}, "
            f"and give that with --weights."
        ) from None
    path = weights_in(folder)[0]  # no more than one is downloaded
    sha256 = hashlib.sha256(read_file(path)).hexdigest()
    if line.sha256 and sha256 != line.sha256:
        raise WeightsError(
            f"{address} is not what the table of public weights knows: its SHA-256 is {sha256[:12]}..., expected "
            f"{line.sha256[:12]}....\nRemove {printable(str(path))} and fetch it again; if it stays so, do not use it."
        )
    return Fetched(line=line, address=address, path=path, sha256=sha256)


def multiply_adds(line: PublicWeights) -> int | None:
    """Of one image, of the weights' size where that is counted, else of the network's own; None where neither is."""
    references = MODELS.get(line.network).references
    at_size = [each for each in references if each.spec.input_CHW[1] == line.input_px]
    return (at_size or references)[0].multiply_adds if references else None


def network_of_public(name: str) -> str:
    """The registered network of which others' weights called `name` are, by the network's part: `resnet18.a1_in1k`."""
    key = spelled(name.partition(".")[0])
    return next((line.network for line in public_weights() if spelled(line.name.partition(".")[0]) == key), "")
