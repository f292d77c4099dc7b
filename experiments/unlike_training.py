"""Which number tells best that an image is unlike everything seen in training?

    python -m experiments.unlike_training ../shared/data/clothing-small --weights ../shared/weights/squeezenet1_1 \
        --stranger ../shared/data/cifar10-jpeg                                      minutes for each --weights
    python -m experiments.unlike_training digits --run runs/digits --stranger ../shared/data/fashion-mnist

With `--weights` the features are those of a frozen public network, and the last layer is fitted to the training images
of the source. With `--run` they are those that the run learned; the source is the one it was trained on. The images
that are judged are the source's own test images against strangers: digits, textures and noise that are computed here,
every source named by `--stranger`, and, with `--weights`, the test images of every second class, which are left out of
training for it. An area under the ROC curve of 1 tells them all apart, one of 0.5 none.

    max-softmax   Hendrycks and Gimpel 2017, arXiv:1610.02136
    energy        Liu et al. 2020, arXiv:2010.03759
    mahalanobis   Lee et al. 2018, arXiv:1807.03888: to the nearest class mean, one covariance
    relative      Ren et al. 2021, arXiv:2106.09022: the same, less the distance to all images as one class
    neighbour-K   Sun et al. 2022, arXiv:2204.06507: to the K-th nearest training image, features of unit length
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp
from sklearn.covariance import LedoitWolf

from saccade.classify.backbone import open_backbone
from saccade.classify.classifier import Member, join_members, open_member
from saccade.classify.stream import items_of_source, stream
from saccade.core.runtime import RuntimeConfig, start
from saccade.data.scan import scan_source
from saccade.data.source import DataSource, open_source
from saccade.data.sources.in_memory import HeldImage
from saccade.data.split import split_source
from saccade.evaluate.forward import forward
from saccade.evaluate.novelty import NEIGHBOUR, kept_rows, measure_novelty
from saccade.evaluate.roc import roc_area
from saccade.models.penultimate import split_outputs, with_features
from saccade.transfer.probe import fit_probe, stratified_folds
from saccade.weights.public import network_of_weights

NEIGHBOURS = (1, 5, 10, 50)
SIDE_PX = 224
METHODS = ("max-softmax", "energy", "mahalanobis", "relative", *(f"neighbour-{number}" for number in NEIGHBOURS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="the images that are known")
    parser.add_argument("--weights", action="append", default=[], help="public weights, frozen; more than once")
    parser.add_argument("--run", type=Path, action="append", default=[], help="a run on the source; more than once")
    parser.add_argument("--stranger", action="append", default=[], help="a source of strangers; more than once")
    parser.add_argument("--each", type=int, default=400, help="strangers of each kind, drawn at random (default 400)")
    parser.add_argument("--kept", default="500,1000,2000,all", help="training images that are kept for neighbours")
    parser.add_argument("--json", action="store_true", help="print one JSON object a network")
    arguments = parser.parse_args()
    source = open_source(arguments.source)
    parts = parts_of(source)
    strangers = {name: make(arguments.each) for name, make in MADE.items()}
    strangers |= {Path(text).name: drawn(open_source(text), arguments.each) for text in ["digits", *arguments.stranger]}
    strangers.pop(source.name, None)
    for text in [*arguments.weights, *map(str, arguments.run)]:
        member = open_member(Path(text)) if Path(text) in arguments.run else public_member(text)
        result = compare(member, source, parts, strangers, arguments, is_frozen=text in arguments.weights)
        print(json.dumps(result) if arguments.json else text_of(result), flush=True)


def public_member(text: str) -> Member:
    """The network of public weights."""
    return open_backbone(network_of_weights(text), text, start(RuntimeConfig()))[0]


def parts_of(source: DataSource) -> dict[str, np.ndarray]:
    """Indices of the training, validation and test images, as a run with seed 0 divides them."""
    scan = scan_source(source, 2, "error")
    split = split_source(source, scan, 0, 0.2, 0.1)
    return {
        "train": split.train_N,
        "validation": split.without_copies("validation"),
        "test": split.without_copies("test"),
    }


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a network gives for N images: logits_NK and the features before the last layer, feature_ND."""

    logits_NK: np.ndarray
    feature_ND: np.ndarray


def compare(
    member: Member,
    source: DataSource,
    parts: dict[str, np.ndarray],
    strangers: dict[str, list[HeldImage]],
    arguments: argparse.Namespace,
    is_frozen: bool,
) -> dict[str, Any]:
    """Areas of every method against every kind of strangers, and how many images are kept for neighbours."""
    seen = {name: look(member, list(items_of_source(source, index_N))) for name, index_N in parts.items()}
    others = {name: look(member, items) for name, items in strangers.items()}
    label = {name: np.array([source.record(int(index)).label for index in index_N]) for name, index_N in parts.items()}
    if is_frozen:
        head = fitted_head(seen["train"].feature_ND, label["train"], len(source.classes))
        known = {name: with_logits(found, head) for name, found in seen.items()}
        others = {name: with_logits(found, head) for name, found in others.items()}
    else:
        known = seen
    areas = {name: areas_of(known, label["train"], found) for name, found in others.items()}
    if is_frozen:
        areas["every second class, left out"] = areas_of_left_out(seen, label, len(source.classes))
    sizes = {}
    for text in arguments.kept.split(","):
        number = len(label["train"]) if text == "all" else int(text)
        if number <= len(label["train"]):
            rows_N = np.sort(np.random.default_rng(0).permutation(len(label["train"]))[:number])
            kept = Seen(logits_NK=known["train"].logits_NK[rows_N], feature_ND=known["train"].feature_ND[rows_N])
            method = neighbours(kept, NEIGHBOUR)
            sizes[text] = {
                name: round(roc_area(method(found), method(known["test"])).value, 4) for name, found in others.items()
            }
    return {
        "network": member.architecture,
        "source": source.name,
        "num_train": len(label["train"]),
        "num_test": len(label["test"]),
        "num_features": seen["train"].feature_ND.shape[1],
        "strangers": {name: len(found.feature_ND) for name, found in others.items()},
        "areas": areas,
        "with so many kept": sizes,
        "told": told(known, label["train"], others),
    }


def look(member: Member, items: list[HeldImage]) -> Seen:
    """What the network gives for `items`."""
    found = []
    both = with_features(member.model)
    if both is None:
        raise SystemExit(f"{member.name} does not name its parts.")
    for batch in stream(join_members([member]), items):
        batch.refuse_bad_images()
        image_BCHW = torch.from_numpy(batch.prepared[member.preprocessing][:, 0]).permute(0, 3, 1, 2)
        with torch.inference_mode():
            value_BX = forward(both, image_BCHW, member.preprocessing, member.runtime, torch.float32)
            found.append([part.numpy() for part in split_outputs(value_BX, len(member.classes))])
    logits, features = zip(*found)
    return Seen(logits_NK=np.concatenate(logits), feature_ND=np.concatenate(features))


Head = Callable[[np.ndarray], np.ndarray]


def fitted_head(feature_ND: np.ndarray, label_N: np.ndarray, num_classes: int) -> Head:
    """The last layer that a transfer fits to these features."""
    folds_N = stratified_folds(label_N, np.arange(len(label_N)), 3, 0)
    probe = fit_probe(torch.from_numpy(feature_ND), torch.from_numpy(label_N), num_classes, folds_N)
    return lambda value_ND: value_ND @ probe.weight_KD.numpy().T + probe.bias_K.numpy()


def with_logits(seen: Seen, head: Head) -> Seen:
    return Seen(logits_NK=head(seen.feature_ND), feature_ND=seen.feature_ND)


def areas_of_left_out(seen: dict[str, Seen], label: dict[str, np.ndarray], num_classes: int) -> dict[str, list[float]]:
    """Test images of the odd classes are the strangers of what knows the even ones alone."""
    features = {name: seen[name].feature_ND[label[name] % 2 == 0] for name in ("train", "test")}
    label_N = label["train"][label["train"] % 2 == 0] // 2
    head = fitted_head(features["train"], label_N, (num_classes + 1) // 2)
    known = {name: Seen(logits_NK=head(feature_ND), feature_ND=feature_ND) for name, feature_ND in features.items()}
    odd_ND = seen["test"].feature_ND[label["test"] % 2 == 1]
    return areas_of(known, label_N, Seen(logits_NK=head(odd_ND), feature_ND=odd_ND))


def areas_of(known: dict[str, Seen], label_N: np.ndarray, strangers: Seen) -> dict[str, list[float]]:
    """[area, low, high] of every method: strangers against the known test images."""
    found = {}
    for name, method in methods(known["train"], label_N).items():
        area = roc_area(method(strangers), method(known["test"]))
        found[name] = [round(number, 4) for number in (area.value, area.low, area.high)]
    return found


Method = Callable[[Seen], np.ndarray]


def methods(train: Seen, label_N: np.ndarray) -> dict[str, Method]:
    """Every number that is compared, larger for strangers, from the training images (label_N their classes)."""
    means_KD = np.stack([train.feature_ND[label_N == k].mean(axis=0) for k in np.unique(label_N)])
    within = LedoitWolf(assume_centered=True).fit(
        train.feature_ND - means_KD[np.searchsorted(np.unique(label_N), label_N)]
    )
    whole = LedoitWolf().fit(train.feature_ND)

    def nearest_mean(seen: Seen) -> np.ndarray:
        distances = [quadratic(seen.feature_ND - mean_D, within.precision_) for mean_D in means_KD]
        return np.min(distances, axis=0)

    def relative(seen: Seen) -> np.ndarray:
        return nearest_mean(seen) - quadratic(seen.feature_ND - whole.location_, whole.precision_)

    return {
        "max-softmax": lambda seen: -np.exp(seen.logits_NK.max(axis=1) - logsumexp(seen.logits_NK, axis=1)),
        "energy": lambda seen: -logsumexp(seen.logits_NK, axis=1),
        "mahalanobis": nearest_mean,
        "relative": relative,
        **{f"neighbour-{number}": neighbours(train, number) for number in NEIGHBOURS if number <= len(label_N)},
    }


def quadratic(difference_ND: np.ndarray, precision_DD: np.ndarray) -> np.ndarray:
    value_N: np.ndarray = ((difference_ND @ precision_DD) * difference_ND).sum(axis=1)
    return value_N


def neighbours(train: Seen, number: int) -> Method:
    """The distance to the `number`-th nearest of the training images, for features of unit length."""
    known_MD = unit(train.feature_ND)

    def method(seen: Seen) -> np.ndarray:
        cosine_NM = unit(seen.feature_ND) @ known_MD.T
        distance_N: np.ndarray = 2 - 2 * np.partition(cosine_NM, -number, axis=1)[:, -number]
        return distance_N

    return method


def unit(feature_ND: np.ndarray) -> np.ndarray:
    unit_ND: np.ndarray = feature_ND / np.maximum(np.linalg.norm(feature_ND, axis=1, keepdims=True), 1e-12)
    return unit_ND


def told(known: dict[str, Seen], label_N: np.ndarray, others: dict[str, Seen]) -> dict[str, float]:
    """The share of each kind of images that a run would call unlike its training images: 1,000 of these are kept."""
    order_N = np.random.default_rng(0).permutation(len(label_N))
    train_MD = known["train"].feature_ND[kept_rows(label_N, order_N, 1000)]
    novelty = measure_novelty(train_MD, known["validation"].feature_ND)
    if novelty is None:
        return {}
    asked = {"test images": known["test"], **others}
    return {name: round(float(novelty.is_unlike(seen.feature_ND).mean()), 4) for name, seen in asked.items()}


def drawn(source: DataSource, number: int) -> list[HeldImage]:
    """Images of a source, drawn with seed 0."""
    chosen_N = np.sort(np.random.default_rng(0).permutation(len(source))[:number])
    return list(items_of_source(source, chosen_N))


def textures(number: int) -> list[HeldImage]:
    """Stripes, checks, waves and clouds in two colours, of random scale and direction."""
    made = [texture(np.random.default_rng(index), index % 4) for index in range(number)]
    return [
        HeldImage(f"texture {index}", lambda image_HWC=image_HWC: image_HWC) for index, image_HWC in enumerate(made)
    ]


def texture(draw: np.random.Generator, kind: int) -> np.ndarray:
    """uint8 (H, W, 3)."""
    down, right = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX
    angle, frequency = draw.uniform(0, np.pi), draw.uniform(2, 30)
    along, across = down * np.sin(angle) + right * np.cos(angle), down * np.cos(angle) - right * np.sin(angle)
    if kind == 0:
        weight_HW = (np.floor(2 * frequency * along) % 2).astype(float)
    elif kind == 1:
        weight_HW = (np.floor(frequency * along) + np.floor(frequency * across)) % 2
    elif kind == 2:
        weight_HW = 0.5 + 0.25 * (np.sin(2 * np.pi * frequency * along) + np.sin(2 * np.pi * frequency * across))
    else:  # clouds: noise whose spectrum falls with the frequency
        spectrum = np.fft.fft2(draw.normal(size=(SIDE_PX, SIDE_PX)))
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE_PX), np.fft.fftfreq(SIDE_PX)))
        cloud_HW = np.fft.ifft2(spectrum / np.maximum(radius, 1 / SIDE_PX) ** draw.uniform(1, 2)).real
        weight_HW = (cloud_HW - cloud_HW.min()) / np.ptp(cloud_HW)
    first_C, second_C = draw.uniform(0, 255, (2, 3))
    image_HWC = first_C + weight_HW[..., None] * (second_C - first_C)
    return image_HWC.round().astype(np.uint8)


def noise(number: int) -> list[HeldImage]:
    """Pixels drawn one by one: uniform, and normal around a random colour."""
    images = []
    for index in range(number):
        draw = np.random.default_rng(index)
        shape = (SIDE_PX, SIDE_PX, 3)
        values = draw.uniform(0, 255, shape) if index % 2 else draw.normal(draw.uniform(40, 215, 3), 40, shape)
        images.append(np.clip(values, 0, 255).round().astype(np.uint8))
    return [
        HeldImage(f"noise {index}", lambda image_HWC=image_HWC: image_HWC) for index, image_HWC in enumerate(images)
    ]


MADE = {"textures": textures, "noise": noise}


def text_of(result: dict[str, Any]) -> str:
    """The areas as a table."""
    lines = [f"{result['network']} on {result['source']}: {result['num_test']} test images"]
    for name, rows in result["areas"].items():
        for method, (value, low, high) in rows.items():
            lines.append(f"  {name:30} {method:14} {value:.3f} ({low:.3f} to {high:.3f})")
    lines.append(f"  neighbour-5 with so many images kept: {result['with so many kept']}")
    lines.append(f"  called unlike training by a run: {result['told']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
