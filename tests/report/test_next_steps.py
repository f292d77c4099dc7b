"""What the report suggests follows from what was measured, and from nothing else."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from saccade.evaluate.metrics import compute_metrics
from saccade.report.sections.next_steps import next_section, next_steps

NAMES = ("cat", "dog", "fox")


def record(confusion_KK: list[list[int]], train: tuple[int, ...] = (200, 200, 200), **changes: Any) -> Any:
    """A run with this confusion matrix, sure of every answer."""
    label_N = np.concatenate([[true] * sum(row) for true, row in enumerate(confusion_KK)])
    said_N = np.concatenate([np.repeat(np.arange(3), row) for row in confusion_KK])
    logits_NK = 9.0 * np.eye(3, dtype=np.float32)[said_N]
    metrics = compute_metrics(logits_NK, label_N, NAMES)
    values = {
        "any_metrics": metrics,
        "calibrated": replace(metrics, ece=0.01),
        "path": "runs/animals",
        "pictures": None,
        "epochs": (),
        "transfer": None,
        "data": SimpleNamespace(counts={"train": train}, preprocessing=None),
    }
    return SimpleNamespace(**values | changes)


def starts(found: Any) -> list[str]:
    return [step.text.split(":")[0].split(".")[0] for step in next_steps(found)]


GOOD = [[500, 2, 2], [2, 500, 2], [2, 2, 500]]


def test_a_good_run_is_to_be_used():
    assert starts(record(GOOD)) == ["Use it on photos that it has not seen"]
    assert next_steps(record(GOOD))[0].command == "saccade predict runs/animals PHOTO.jpg"


def test_one_pair_that_is_confused_is_named_with_its_place_on_the_page():
    found = record([[470, 34, 0], [2, 500, 2], [2, 2, 500]], pictures=object())
    first = next_steps(found)[0]
    assert first.text.startswith("34 of 42 mistakes take 'cat' for 'dog'.")
    assert first.link == "pair-0-1"
    assert '<a href="#pair-0-1">See them.</a>' in next_section(found).text
    assert next_steps(replace_pictures(found))[0].link == "", "without pictures there is nothing to see"


def replace_pictures(found: Any) -> Any:
    found.pictures = None
    return found


def test_classes_with_few_training_images_that_are_recognised_less_often_are_named():
    weak = [[60, 10, 10], [2, 500, 2], [2, 2, 500]]
    texts = [step.text for step in next_steps(record(weak, (40, 200, 200)))]
    assert any("less often than the rest: 'cat' (40)." in text for text in texts)
    assert not any("less often" in text for text in [step.text for step in next_steps(record(weak, (300, 300, 300)))])
    by_luck = [[11, 1, 0], [0, 12, 0], [0, 0, 12]]  # Wilson's interval of 11 in 12 ends at 98.5 %, 35 in 36 are 97.2 %
    assert not any("less often" in text for text in [step.text for step in next_steps(record(by_luck, (43, 43, 43)))])


def test_what_was_learned_by_heart_poor_confidences_and_wide_intervals_are_told():
    epoch = SimpleNamespace(train_accuracy=1.0)
    metrics = record([[40, 5, 5], [5, 40, 5], [5, 5, 40]]).any_metrics
    found = record(
        [[40, 5, 5], [5, 40, 5], [5, 5, 40]],
        epochs=(epoch,),
        calibrated=replace(metrics, ece=0.2),
    )
    texts = " | ".join(step.text for step in next_steps(found))
    assert "The training images are known by heart (100.0 % right)" in texts
    assert "Confidences are off by 20.0 points on average" in texts
    assert len(next_steps(found)) == 4
    small = record([[8, 1, 1], [1, 8, 1], [1, 1, 8]])
    assert any(
        "wide, from 30 images; an interval of 10.0 points takes about 250 images" in step.text
        for step in next_steps(small)
    )
    assert next_steps(small)[-2].command == "saccade train SOURCE --folds 5"
    small.transfer = object()
    assert next_steps(small)[-2].command == "saccade transfer SOURCE --folds 5"


@pytest.mark.parametrize("share", [0.3, 0.34])
def test_a_run_that_guesses_is_sent_to_its_labels(share: float):
    hits = round(100 * share)
    rest = 100 - hits
    found = record([[hits, rest, 0], [rest, hits, 0], [0, rest, hits]])
    assert next_steps(found)[0].command == "saccade inspect SOURCE"


def test_names_of_classes_are_text():
    found = record([[470, 34, 0], [2, 500, 2], [2, 2, 500]])
    found.any_metrics = replace(found.any_metrics, classes=("<b>", "dog", "fox"))
    assert "<b>" not in next_section(found).text


def test_few_photos_that_began_from_nothing_are_sent_to_public_weights():
    found = record([[40, 5, 5], [5, 40, 5], [5, 5, 40]])
    found.data.preprocessing = SimpleNamespace(input_CHW=(3, 32, 32))
    first = next_steps(found)[0]
    assert first.text == (
        "It began from nothing, with 600 images. A network that has learned from a million others needs far fewer of "
        "yours, and is usually much better on photos:"
    )
    assert first.command == "saccade transfer SOURCE"
    good, grey, many, adapted = (record([[40, 5, 5], [5, 40, 5], [5, 5, 40]]) for _ in range(4))
    good.any_metrics = record(GOOD).any_metrics
    many.data.counts = {"train": (9_000, 9_000, 9_000)}
    adapted.transfer = object()
    for other, channels in ((good, 3), (grey, 1), (many, 3), (adapted, 3)):
        other.data.preprocessing = SimpleNamespace(input_CHW=(channels, 32, 32))
        assert not any(step.command == "saccade transfer SOURCE" for step in next_steps(other))
    found.epochs = (SimpleNamespace(train_accuracy=1.0),)
    assert [step.command for step in next_steps(found)].count("saccade transfer SOURCE") == 1
