"""Does it pay to choose which images to label next, and by which rule?

    python -m experiments.what_to_label SOURCE --backbone squeezenet1.1 --weights FOLDER      minutes, mostly features

Features of a pretrained network are computed once. For each seed, half of the images are the pool and half judge;
`--first` images of the pool, drawn at random, are labelled. Then each rule chooses `--count` more, `--rounds` times,
the last layer is fitted as `transfer --freeze all` fits it, and judged. The same seed begins with the same images for
each rule, so rules are compared with random choice in pairs: the mean difference in points and its 95 % interval
(Student's t over the seeds).

    random      uniformly
    margin      least difference of the two largest probabilities (Scheffer et al. 2001)
    coreset     farthest from all that are labelled, greedily (Sener and Savarese 2018, arXiv:1708.00489)
    badge       `saccade suggest` (Ash et al. 2020, arXiv:1906.03671)
    typiclust   the most typical image of each unlabelled cluster (Hacohen et al. 2022, arXiv:2202.02794)
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from sklearn.cluster import MiniBatchKMeans

from saccade import SaccadeFeatures
from saccade.data.source import open_source
from saccade.survey.label_next import choose_badge
from saccade.transfer.probe import fit_probe, stratified_folds

FOLDS = 3
NEIGHBOURS = 20  # of TypiClust's typicality


class State:
    """What a rule may look at: features of the pool, probabilities, and which images are labelled."""

    def __init__(self, feature_ND: np.ndarray, probability_NK: np.ndarray, labelled: np.ndarray, seed: int) -> None:
        self.feature_ND, self.probability_NK, self.labelled, self.seed = feature_ND, probability_NK, labelled, seed
        self.free_M = np.setdiff1d(np.arange(len(feature_ND)), labelled)


def by_random(state: State, count: int) -> np.ndarray:
    return np.random.default_rng(1000 + state.seed).permutation(state.free_M)[:count]


def by_margin(state: State, count: int) -> np.ndarray:
    top_M2 = np.sort(state.probability_NK[state.free_M], axis=1)[:, -2:]
    return state.free_M[np.argsort(top_M2[:, 1] - top_M2[:, 0], kind="stable")[:count]]


def by_coreset(state: State, count: int) -> np.ndarray:
    feature_ND = state.feature_ND
    square_N = (feature_ND**2).sum(1)

    def squared(place: int) -> np.ndarray:
        return square_N + square_N[place] - 2 * feature_ND @ feature_ND[place]

    distance_N = np.min([squared(place) for place in state.labelled], axis=0)
    chosen = []
    for _ in range(count):
        distance_N[[*state.labelled, *chosen]] = -1
        chosen.append(int(distance_N.argmax()))
        distance_N = np.minimum(distance_N, squared(chosen[-1]))
    return np.array(chosen)


def by_badge(state: State, count: int) -> np.ndarray:
    free_M = state.free_M
    return free_M[choose_badge(state.feature_ND[free_M], state.probability_NK[free_M], count, state.seed)]


def by_typiclust(state: State, count: int) -> np.ndarray:
    feature_ND = state.feature_ND / np.linalg.norm(state.feature_ND, axis=1, keepdims=True)
    num = min(len(state.labelled) + count, len(feature_ND) // 5)
    cluster_N = MiniBatchKMeans(num, n_init=1, random_state=state.seed).fit_predict(feature_ND)
    labelled = set(state.labelled.tolist())
    chosen: list[int] = []
    while len(chosen) < count:
        count_C = np.bincount(cluster_N[sorted(labelled)], minlength=num)
        size_C = np.bincount(cluster_N, minlength=num)
        has_free_C = np.bincount(cluster_N[sorted(set(range(len(cluster_N))) - labelled)], minlength=num) > 0
        best = min(np.flatnonzero(has_free_C), key=lambda c: (count_C[c], -size_C[c]))
        member_M = np.flatnonzero(cluster_N == best)
        similar_MM = feature_ND[member_M] @ feature_ND[member_M].T
        distance_MM = np.sqrt(np.maximum(2 - 2 * similar_MM, 0))
        near_M = np.sort(distance_MM, axis=1)[:, 1 : NEIGHBOURS + 1].mean(1) if len(member_M) > 1 else np.zeros(1)
        free_M = np.array([place not in labelled for place in member_M])
        place = int(member_M[free_M][near_M[free_M].argmin()])
        chosen.append(place)
        labelled.add(place)
    return np.array(chosen)


RULES: dict[str, Callable[[State, int], np.ndarray]] = {
    "random": by_random,
    "margin": by_margin,
    "coreset": by_coreset,
    "badge": by_badge,
    "typiclust": by_typiclust,
}


def features_of(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """(feature_ND, label_N) of `--images` images of the source, evenly thinned; kept in `--cache`."""
    kept = arguments.cache
    if kept is not None and kept.is_file():
        arrays = np.load(kept)
        return arrays["feature_ND"], arrays["label_N"]
    source = open_source(arguments.source)
    index_N = np.linspace(0, len(source) - 1, min(arguments.images, len(source))).astype(int)
    looking = SaccadeFeatures(backbone=arguments.backbone, weights=arguments.weights).fit()
    features = [
        looking.transform([source[int(index)].image_HWC for index in part_M])
        for part_M in np.array_split(index_N, -(-len(index_N) // 256))
    ]
    feature_ND = np.log1p(np.abs(np.concatenate(features)))  # as the new last layer of a transfer sees them
    label_N = np.array([source.record(int(index)).label for index in index_N])
    if kept is not None:
        np.savez(kept, feature_ND=feature_ND, label_N=label_N)
    return feature_ND, label_N


def accuracies(
    rule: str, feature_ND: np.ndarray, label_N: np.ndarray, seed: int, arguments: argparse.Namespace
) -> list[float]:
    """The accuracy on the other half of the images after the first images and after each round."""
    order_N = np.random.default_rng(seed).permutation(len(label_N))
    pool_N, judged_N = np.array_split(order_N, 2)
    num_classes = int(label_N.max()) + 1
    labelled = np.arange(arguments.first)  # of the pool, whose order is drawn
    found = []
    for number in range(arguments.rounds + 1):
        own_N = pool_N[labelled]
        folds = stratified_folds(label_N[own_N], np.arange(len(own_N)), FOLDS, seed)
        probe = fit_probe(torch.from_numpy(feature_ND[own_N]), torch.from_numpy(label_N[own_N]), num_classes, folds)
        weight_KD, bias_K = probe.weight_KD.numpy(), probe.bias_K.numpy()
        said_N = (feature_ND[judged_N] @ weight_KD.T + bias_K).argmax(1)
        found.append(float((said_N == label_N[judged_N]).mean()))
        if number < arguments.rounds:
            logits_NK = torch.from_numpy(feature_ND[pool_N] @ weight_KD.T + bias_K).double()
            state = State(feature_ND[pool_N], torch.softmax(logits_NK, 1).numpy(), labelled, seed + 7919 * number)
            labelled = np.concatenate([labelled, RULES[rule](state, arguments.count)])
    return found


def compared(accuracy_SR: np.ndarray, random_SR: np.ndarray) -> list[dict[str, float]]:
    """For each round: the mean accuracy, and the paired difference from random choice with its 95 % interval."""
    rows = []
    for number in range(1, accuracy_SR.shape[1]):
        gain_S = 100 * (accuracy_SR[:, number] - random_SR[:, number])
        half = 0.0
        if len(gain_S) > 1:
            half = float(stats.t.ppf(0.975, len(gain_S) - 1) * gain_S.std(ddof=1) / np.sqrt(len(gain_S)))
        mean = float(gain_S.mean())
        rows.append(
            {"accuracy": float(accuracy_SR[:, number].mean()), "gain": mean, "low": mean - half, "high": mean + half}
        )
    return rows


def main() -> None:
    """Compare the rules and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--images", type=int, default=6000, help="of the source, evenly thinned (default 6000)")
    parser.add_argument("--first", type=int, default=50)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rules", default=",".join(RULES))
    parser.add_argument("--cache", type=Path, help="keep the features in this .npz file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    feature_ND, label_N = features_of(arguments)
    results = {}
    rules = list(dict.fromkeys(["random", *arguments.rules.split(",")]))
    for rule in rules:
        results[rule] = np.array(
            [accuracies(rule, feature_ND, label_N, seed, arguments) for seed in range(arguments.seeds)]
        )
        if not arguments.json:
            for number, row in enumerate(compared(results[rule], results["random"]), start=1):
                labels = arguments.first + number * arguments.count
                print(
                    f"{rule:10} {labels:5} labels  {100 * row['accuracy']:5.1f} %  {row['gain']:+.2f} points "
                    f"({row['low']:+.2f} to {row['high']:+.2f})",
                    flush=True,
                )
    if arguments.json:
        rows = {rule: compared(found, results["random"]) for rule, found in results.items()}
        print(json.dumps({"images": len(label_N), "seeds": arguments.seeds, "results": rows}))


if __name__ == "__main__":
    main()
