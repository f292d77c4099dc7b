"""Where the evidence of some judged images lay: maps of the pictures that a run keeps."""

from collections.abc import Sequence

import numpy as np
import torch

from ..classify.classifier import Member
from ..core.errors import SaccadeError
from ..explain.gradcam import EvidenceMap, grad_cams

NOT_KEPT = "Where its evidence lay is not shown: the run keeps no pictures at the size the network sees."


def evidence_maps(
    member: Member,
    classes: tuple[str, ...],
    prepared: Sequence[np.ndarray | None],
    asked: Sequence[Sequence[int]],
    why_none: str = NOT_KEPT,
) -> tuple[list[list[EvidenceMap]], str]:
    """For each image of `prepared` (None: not kept) its maps for the classes `asked`, as many of every image; empty,
    and why, where there can be none. `why_none` is said where no image is kept."""
    have = [number for number, image in enumerate(prepared) if image is not None]
    maps: list[list[EvidenceMap]] = [[] for _ in prepared]
    if not have:
        return maps, why_none
    input_BCHW = member.normalized(np.stack([prepared[number] for number in have]))  # type: ignore[misc]
    num_maps = len(asked[0])
    wanted = [asked[number][place] for place in range(num_maps) for number in have]
    try:
        found = grad_cams(member.model, torch.cat([input_BCHW] * num_maps), wanted, classes)
    except SaccadeError as error:  # a network of a person's own that does not name its parts
        return maps, error.message.splitlines()[0]
    for place, number in enumerate(have):
        maps[number] = found[place :: len(have)]
    return maps, ""
