"""Are as many of the suspected labels wrong as is said, and does a weak classifier keep quiet?

    python -m experiments.label_errors digits ../shared/data/clothing-small ../shared/data/cifar10-jpeg \
        --weights ../shared/weights/squeezenet1_1 --images 120,300,1000,all

Of each source some images are drawn, and a share of their labels is changed: to another class at random (`random`),
or to the class whose mean feature is nearest (`alike`). Then the labels are checked as `evaluate --label-errors` does,
by features of the frozen public network, of the digits by their pixels. Told are, for each number of images, over all
draws: the classifier's accuracy, how many labels it disagrees with and which share of these was changed, how
many are suspected, which share of these was changed and which share is expected to be wrong, and which share of the
changed labels is among them. Labels that were wrong before count as right. With `--cleanlab` (pip install
cleanlab==2.9.0) the same probabilities are also given to cleanlab's default method: how many labels it lists, which
share of these was changed, which share of as many that are most probably wrong by ours, and the difference of the two
(`gain`) with its spread over the draws.
"""

import argparse
import importlib
import json
from typing import Any

import numpy as np

from saccade.classify.backbone import open_backbone
from saccade.classify.features import features_of
from saccade.classify.stream import items_of_source
from saccade.core.runtime import RuntimeConfig, start
from saccade.data.images.decode import decode_image
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.data.split import group_numbers
from saccade.evaluate.label_errors import suspect_labels
from saccade.evaluate.mistakes import cross_validated_probabilities
from saccade.weights.public import network_of_weights

MOST_IMAGES = 4000
KINDS = ("none", "random", "alike")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="sources with labels that are mostly right")
    parser.add_argument("--weights", default="", help="public weights; without, the pixels are the features")
    parser.add_argument("--images", default="120,300,1000,all", help="how many images are drawn")
    parser.add_argument("--share", type=float, default=0.05, help="the share of labels that are changed (default 0.05)")
    parser.add_argument("--draws", type=int, default=5, help="draws of each number (default 5)")
    parser.add_argument("--cleanlab", action="store_true", help="compare with cleanlab's default at equal length")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    arguments = parser.parse_args()
    for text in arguments.sources:
        feature_ND, label_N, group_N = read(text, "" if text == "digits" else arguments.weights)
        for size in arguments.images.split(","):
            num = len(label_N) if size == "all" else min(int(size), len(label_N))
            for kind in KINDS:
                share = 0.0 if kind == "none" else arguments.share
                draws = [
                    check(feature_ND, label_N, group_N, num, share, kind, seed, arguments.cleanlab)
                    for seed in range(1 if kind == "none" and size == "all" else arguments.draws)
                ]
                row = {"source": text, "images": num, "changed": kind, **summary(draws)}
                print(json.dumps(row) if arguments.json else text_of(row), flush=True)


def read(text: str, weights: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """feature_ND, label_N and group numbers of at most 4,000 images of a source."""
    source = open_source(text)
    scan = scan_source(source, 2, "skip")
    index_N = np.sort(np.random.default_rng(0).permutation(scan.good_N)[:MOST_IMAGES])
    label_N = np.array([source.record(int(index)).label for index in index_N])
    group_N = group_numbers(source, scan, index_N)
    items = list(items_of_source(source, index_N))
    if not weights:
        pixels = [decode_image(source.read(int(index)), str(index), None).image_HWC[..., 0] for index in index_N]
        return np.stack(pixels).reshape(len(pixels), -1).astype(np.float64), label_N, group_N
    member = open_backbone(network_of_weights(weights), weights, start(RuntimeConfig()))[0]
    return features_of(member, items).astype(np.float64), label_N, group_N


def check(
    feature_ND: np.ndarray,
    label_N: np.ndarray,
    group_N: np.ndarray,
    num: int,
    share: float,
    kind: str,
    seed: int,
    with_cleanlab: bool = False,
) -> dict[str, float]:
    """One draw of `num` images with changed labels, and what is said of them."""
    draw = np.random.default_rng(seed)
    kept_N = np.sort(draw.permutation(len(label_N))[:num])
    feature_ND = feature_ND[kept_N]
    group_N = np.unique(group_N[kept_N], return_inverse=True)[1].reshape(-1)
    true_N = np.unique(label_N[kept_N], return_inverse=True)[1].reshape(-1)
    num_classes = int(true_N.max()) + 1
    changed_M = np.sort(draw.permutation(num)[: round(share * num)])
    said_N = true_N.copy()
    if kind == "random":
        said_N[changed_M] = (said_N[changed_M] + draw.integers(1, num_classes, len(changed_M))) % num_classes
    elif kind == "alike":
        said_N[changed_M] = nearest_classes(feature_ND, true_N)[true_N[changed_M]]
    probability_NK = cross_validated_probabilities(feature_ND, said_N, num_classes, group_N=group_N)
    is_changed_N = np.isin(np.arange(num), changed_M)
    named, found = probability_NK.argmax(axis=1) != said_N, suspect_labels(probability_NK, said_N, group_N)
    more = beside_cleanlab(probability_NK, said_N, found.order_N, is_changed_N) if with_cleanlab else {}
    return more | {
        "accuracy": float((probability_NK.argmax(axis=1) == true_N).mean()),
        "changed_labels": len(changed_M),
        "named": int(named.sum()),
        "named_wrong": int(is_changed_N[named].sum()),
        "suspected": len(found.position_S),
        "suspected_wrong": int(is_changed_N[found.position_S].sum()),
        "expected_wrong": float(found.wrong_S.sum()),
        "share": found.errors.share,
        "quiet": float(not len(found.position_S)),
    }


def beside_cleanlab(
    probability_NK: np.ndarray, said_N: np.ndarray, order_N: np.ndarray, is_changed_N: np.ndarray
) -> dict[str, float]:
    """What cleanlab lists by default, and as many labels that are most probably wrong by ours."""
    find_label_issues = importlib.import_module("cleanlab.filter").find_label_issues
    is_listed_N = find_label_issues(said_N, probability_NK)
    own = order_N[: int(is_listed_N.sum())]
    return {
        "cleanlab": int(is_listed_N.sum()),
        "cleanlab_wrong": int((is_listed_N & is_changed_N).sum()),
        "as_many_wrong": int(is_changed_N[own].sum()),
    }


def nearest_classes(feature_ND: np.ndarray, label_N: np.ndarray) -> np.ndarray:
    """int64 (K,): for each class the one whose mean feature is nearest."""
    mean_KD = np.stack([feature_ND[label_N == k].mean(axis=0) for k in np.unique(label_N)])
    distance_KK = ((mean_KD[:, None] - mean_KD[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance_KK, np.inf)
    nearest_K: np.ndarray = distance_KK.argmin(axis=1)
    return nearest_K


def summary(draws: list[dict[str, float]]) -> dict[str, Any]:
    """All draws together."""
    total = {name: sum(draw[name] for draw in draws) for name in draws[0]}

    def ratio(part: str, whole: str) -> float | None:
        return round(total[part] / total[whole], 3) if total[whole] else None

    beside: dict[str, Any] = {}
    if "cleanlab" in total:
        beside = {
            "cleanlab": round(total["cleanlab"] / len(draws), 1),
            "cleanlab_wrong": ratio("cleanlab_wrong", "cleanlab"),
            "as_many_wrong": ratio("as_many_wrong", "cleanlab"),
            "cleanlab_found": ratio("cleanlab_wrong", "changed_labels"),
            "as_many_found": ratio("as_many_wrong", "changed_labels"),
            **gains(draws),
        }
    return beside | {
        "draws": len(draws),
        "accuracy": round(total["accuracy"] / len(draws), 3),
        "named": round(total["named"] / len(draws), 1),
        "named_wrong": ratio("named_wrong", "named"),
        "estimated_share": round(total["share"] / len(draws), 4),
        "suspected": round(total["suspected"] / len(draws), 1),
        "suspected_wrong": ratio("suspected_wrong", "suspected"),
        "expected_wrong": ratio("expected_wrong", "suspected"),
        "found": ratio("suspected_wrong", "changed_labels"),
        "quiet": round(total["quiet"] / len(draws), 2),
    }


def gains(draws: list[dict[str, float]]) -> dict[str, float | None]:
    """By how much a larger share of our list was changed than of cleanlab's, of equal length in each draw: mean and
    standard deviation over the draws, and in how many of them ours has more, and fewer."""
    listed = [draw for draw in draws if draw["cleanlab"]]
    gain_D = np.array([(draw["as_many_wrong"] - draw["cleanlab_wrong"]) / draw["cleanlab"] for draw in listed])
    return {
        "gain": round(float(gain_D.mean()), 4) if len(gain_D) else None,
        "gain_deviation": round(float(gain_D.std(ddof=1)), 4) if len(gain_D) > 1 else None,
        "more": int((gain_D > 0).sum()),
        "fewer": int((gain_D < 0).sum()),
    }


def text_of(row: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value}" for name, value in row.items())


if __name__ == "__main__":
    main()
