"""Weights that have seen images before: those a run begins with, and those of its teachers.

Held out means that nothing which a run learns from has seen an image. So images that such weights were trained on are
not judged on, and what they were trained on goes into the run's own record, for every later judgement.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.errors import UsageError, counted, printable
from ..runs.names import MANIFEST, WEIGHTS
from ..runs.seen import UNKNOWN, Seen, brought_along, look_up_seen, together, unknown_note
from .prepare import Images


def judged_indices(images: Images) -> np.ndarray:
    """The images that will be judged on and are held out: the test part, or else the validation part."""
    return images.split.test_N if len(images.split.test_N) else images.split.validation_N


def refuse_seen(found: Seen | str, what: str, images: Images) -> None:
    """Raise UsageError where images to be judged on were used to train `what` ("the teacher runs/a")."""
    judged_N = judged_indices(images)
    num_seen = int(found.equal(images.scan)[judged_N].sum()) if isinstance(found, Seen) else 0
    if num_seen:
        raise UsageError(
            f"{num_seen:,} of the {len(judged_N):,} images held out were used to train {what}: the verdict would "
            f"flatter.\nDeal the images out as that run did: --set split.seed=N, where N is its seed."
        )


def begin_with(images: Images, weights: Path, name: str) -> Images:
    """`images` of a run that begins with the file `weights`, called `name`. Raises UsageError as `refuse_seen` does.

    Only weights in the checkpoint of a run have a record; of other files, such as public ones, nothing is asked.
    """
    if weights.name != WEIGHTS or not (weights.parent / MANIFEST).is_file():
        return images
    found = look_up_seen(weights.parent)
    refuse_seen(found, f"the weights {printable(name)}", images)
    return _with_weights(images, found, name)


def go_on_with(images: Images, start: Path, name: str) -> Images:
    """`images` of a run that began with weights called `name`, by its own record, which the checkpoint `start` has."""
    found = look_up_seen(start)
    return _with_weights(images, found, name) if isinstance(found, Seen) else images


def learn_from(images: Images, teachers: Sequence[tuple[str, Seen | str]]) -> Images:
    """`images` of a run that learns from others too: each "the teacher runs/a was", and what it was trained on."""
    for who, found in teachers:
        images = _with_brought(images, found, who, unknown_note(who, found))
    return images


def _with_weights(images: Images, found: Seen | str, name: str) -> Images:
    who = f"the weights {printable(name)} were"
    is_complete = isinstance(found, Seen) and found.is_complete
    unknown = (
        f"nothing says which images {who} trained on: if some of the judged images are among them, the figure flatters"
    )
    return _with_brought(images, found, who, "" if is_complete else unknown)


def _with_brought(images: Images, found: Seen | str, who: str, unknown: str) -> Images:
    brought = brought_along(found if isinstance(found, Seen) else UNKNOWN, images.scan, images.split)
    near_N = np.intersect1d(np.flatnonzero(brought.near(images.scan)), judged_indices(images))
    told = [unknown] if unknown else []
    copied_N = np.union1d(images.split.copied_N, near_N)
    if len(near_N):
        one = len(near_N) == 1
        some = f"{counted(len(near_N), 'held-out image')} {'is' if one else 'are'} nearly the same as some"
        others = len(np.setdiff1d(judged_indices(images), copied_N))
        then = (
            f"{'it is' if one else 'they are'} left out of the verdict" if others else "there are no others to judge by"
        )
        told.append(f"{some} that {who} trained on: {then}")
    return replace(
        images,
        split=replace(images.split, copied_N=copied_N),
        caveats=(*images.caveats, *told),
        brought=brought if images.brought is None else together(images.brought, brought),
    )
