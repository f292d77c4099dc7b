"""Does it pay to choose which images to label next where an image has several labels, or a number?

    python -m experiments.what_to_label_kinds [--seeds 20]      seconds

On scikit-learn's digits, seen through fixed random weights (features as `suggest` gets them from a network). For each
seed, half of the images are the pool and half judge; 50 images of the pool, drawn at random, are labelled. Then 50 more
are chosen, three times, as `saccade suggest` does and at random, from the same first images; the last layer is fitted
and judged. The mean difference from random choice and its 95 % interval (Student's t over the seeds):

    pairs   two digits side by side, both labels: mean average precision, in points
    ink, tilt, digit    a number of one digit (sum of its pixels, centre of its ink, which digit it is): mean absolute
                        error, in per cent of that of random choice
"""

import argparse
import json
from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import average_precision_score, mean_absolute_error

from saccade.core.task import SEVERAL_LABELS
from saccade.evaluate.novelty import unit_rows
from saccade.survey.label_next import choose_badge, choose_spread

COUNT, ROUNDS = 50, 3
NUM_FEATURES = 300
Choose = Callable[[list[int], np.ndarray, int], np.ndarray]  # (labelled, free_M, seed) -> places in free_M
Judge = Callable[[list[int], np.ndarray], float]  # (labelled, test_M) -> figure


def random_features(pixel_NP: np.ndarray) -> np.ndarray:
    draw = np.random.default_rng(0)
    weight_PD = draw.normal(size=(pixel_NP.shape[1], NUM_FEATURES)) / np.sqrt(pixel_NP.shape[1])
    feature_ND: np.ndarray = np.maximum(pixel_NP @ weight_PD + 0.3 * draw.normal(size=NUM_FEATURES), 0)
    return feature_ND.astype(np.float32)


def figures(num_images: int, seed: int, choose: Choose | None, judge: Judge) -> list[float]:
    """The figure after each round; None chooses at random."""
    order_N = np.random.default_rng(seed).permutation(num_images)
    pool_M, test_M = order_N[: num_images // 2], order_N[num_images // 2 :]
    labelled, found = pool_M[:COUNT].tolist(), []
    for number in range(ROUNDS):
        free_M = np.setdiff1d(pool_M, labelled)
        if choose is None:
            labelled += np.random.default_rng([seed, number]).permutation(free_M)[:COUNT].tolist()
        else:
            labelled += free_M[choose(labelled, free_M, seed)].tolist()
        found.append(judge(labelled, test_M))
    return found


def of_numbers(feature_ND: np.ndarray, value_N: np.ndarray) -> tuple[Choose, Judge]:
    def choose(labelled: list[int], free_M: np.ndarray, seed: int) -> np.ndarray:
        return choose_spread(feature_ND[free_M], unit_rows(feature_ND[labelled]), COUNT, seed)

    def judge(labelled: list[int], test_M: np.ndarray) -> float:
        model = RidgeCV(alphas=np.logspace(-4, 2, 13)).fit(feature_ND[labelled], value_N[labelled])
        return float(mean_absolute_error(value_N[test_M], model.predict(feature_ND[test_M])))

    return choose, judge


def of_several(feature_ND: np.ndarray, label_NK: np.ndarray) -> tuple[Choose, Judge]:
    def probabilities(labelled: list[int], index_M: np.ndarray) -> np.ndarray:
        probability_MK = np.zeros((len(index_M), label_NK.shape[1]))
        for k, label_N in enumerate(label_NK[labelled].T):
            probability_MK[:, k] = label_N.mean()
            if 0 < label_N.sum() < len(label_N):
                model = LogisticRegression(C=0.3, max_iter=500).fit(feature_ND[labelled], label_N)
                probability_MK[:, k] = model.predict_proba(feature_ND[index_M])[:, 1]
        return probability_MK

    def choose(labelled: list[int], free_M: np.ndarray, seed: int) -> np.ndarray:
        return choose_badge(feature_ND[free_M], probabilities(labelled, free_M), COUNT, seed, SEVERAL_LABELS)

    def judge(labelled: list[int], test_M: np.ndarray) -> float:
        return 100 * float(average_precision_score(label_NK[test_M], probabilities(labelled, test_M), average="macro"))

    return choose, judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    digits = load_digits()
    pixel_NP, order_N = digits.images.reshape(-1, 64) / 16, np.random.default_rng(5).permutation(1797)
    left, right = order_N[:1796:2], order_N[1:1796:2]
    label_NK = np.zeros((len(left), 10), int)
    label_NK[np.arange(len(left)), digits.target[left]] = label_NK[np.arange(len(left)), digits.target[right]] = 1
    feature_ND = random_features(pixel_NP)
    tilt_N = (pixel_NP.reshape(-1, 8, 8) * np.arange(8)).sum(axis=(1, 2)) / pixel_NP.sum(axis=1)
    asked = {
        "pairs": of_several(random_features(np.concatenate([pixel_NP[left], pixel_NP[right]], axis=1)), label_NK),
        "ink": of_numbers(feature_ND, pixel_NP.sum(axis=1)),
        "tilt": of_numbers(feature_ND, tilt_N),
        "digit": of_numbers(feature_ND, digits.target.astype(float)),
    }
    rows = []
    for name, (choose, judge) in asked.items():
        num = len(left) if name == "pairs" else len(feature_ND)
        random_SR, chosen_SR = (
            np.array([figures(num, seed, each, judge) for seed in range(arguments.seeds)]) for each in (None, choose)
        )
        gain_SR = chosen_SR - random_SR if name == "pairs" else 100 * (chosen_SR - random_SR) / random_SR.mean(axis=0)
        half_R = stats.sem(gain_SR) * stats.t.ppf(0.975, arguments.seeds - 1)
        rows.append(
            {"set": name, "random": random_SR.mean(axis=0).tolist(), "difference": gain_SR.mean(axis=0).tolist()}
        )
        rows[-1] |= {"half_width": half_R.tolist()}
        if not arguments.json:
            ends = [f"{mean:+.1f} (+-{half:.1f})" for mean, half in zip(gain_SR.mean(axis=0), half_R, strict=True)]
            print(f"{name:8}", "  ".join(ends))
    if arguments.json:
        print(json.dumps({"seeds": arguments.seeds, "results": rows}))


if __name__ == "__main__":
    main()
