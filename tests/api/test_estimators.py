"""SaccadeClassifier and SaccadeFeatures keep scikit-learn's rules, and answer as the verbs of `api` do."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks
from torch import nn

import saccade
from saccade import SaccadeClassifier, SaccadeFeatures, api
from saccade.core.errors import CheckpointError, DataError, SaccadeError
from saccade.models.architecture import ModelSpec, build_model

SETTINGS = {
    "batch_size": 32,
    "optimizer": {"learning_rate": 0.01},
    "runtime": {"num_threads": 1, "precision": "float32"},
}
RUNTIME = api.RuntimeConfig(num_threads=1, precision="float32")
Drawn = tuple[np.ndarray, np.ndarray]

# What `check_estimator` cannot ask, since its X are rows of random numbers in float64 and ours are images in uint8:
# check_fit_score_takes_y, check_estimators_overwrite_params, check_dont_overwrite_parameters,
# check_estimators_fit_returns_self, check_readonly_memmap_input, check_n_features_in_after_fitting (images differ in
# size, so there is no n_features_in_), check_positive_only_tag_during_fit, and all of _yield_checks,
# _yield_classifier_checks and _yield_transformer_checks. Those of them that say something of images are tests below.
CHECKS = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_valid_tag_types,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_mixin_order,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
    estimator_checks.check_estimators_unfitted,
]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """(image_NHW, label_N): 90 noisy pictures with a bright bar, "across" or "down", or none, "empty"."""
    generator = np.random.default_rng(0)
    label_N = np.array(["empty", "across", "down"] * 30)
    image_NHW = generator.integers(0, 60, (90, 16, 16)).astype(np.uint8)
    image_NHW[label_N == "across", 6:9, 2:14] += 180
    image_NHW[label_N == "down", 2:14, 6:9] += 180
    return image_NHW, label_N


@pytest.fixture(scope="module")
def fitted(drawn: Drawn) -> SaccadeClassifier:
    return SaccadeClassifier(epochs=6, settings=SETTINGS).fit(*drawn)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """resnet20 with weights as they begin, and a card, as arguments of an estimator."""
    folder = tmp_path_factory.mktemp("weights")
    save_file(
        build_model("resnet20", ModelSpec(num_classes=10, input_CHW=(3, 32, 32))).state_dict(), folder / "w.safetensors"
    )
    card = api.Preprocessing(input_height_px=32, input_width_px=32)
    (folder / "card.json").write_text(card.model_dump_json(), encoding="utf-8")
    return {"backbone": "resnet20", "weights": folder / "w.safetensors", "preprocessing": folder / "card.json"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", [SaccadeClassifier, SaccadeFeatures])
def test_scikit_learn_s_checks_that_need_no_rows_of_numbers(kind: type, check: Any):
    check(kind.__name__, kind())


@pytest.mark.parametrize("kind", [SaccadeClassifier, SaccadeFeatures])
def test_scikit_learn_knows_that_x_is_not_a_table(kind: type):
    with pytest.warns(UserWarning, match="Can't test estimator"):
        estimator_checks.check_estimator(kind(), on_skip="warn")


def test_it_answers_as_a_run_of_the_command_line_does(drawn: Drawn, tmp_path: Path):
    image_NHW, label_N = drawn
    own = SaccadeClassifier(epochs=2, settings=SETTINGS, out=tmp_path / "own").fit(image_NHW, label_N)
    names = sorted(set(label_N))
    source = api.ArraySource(image_NHW, label_N, classes=names, name="X")
    settings = SETTINGS | {"split": {"test_fraction": 0}}
    api.train(api.TrainRequest(source=source, epochs=2, settings=settings, out=tmp_path / "run"))
    expected = [answer.probabilities for answer in api.predict(tmp_path / "run", image_NHW, runtime=RUNTIME)]
    assert own.predict_proba(image_NHW) == pytest.approx(np.array(expected), abs=1e-6)
    kept = saccade.load(tmp_path / "own", runtime=RUNTIME)
    assert [tuple(row) for row in own.predict_proba(image_NHW)] == [a.probabilities for a in kept(image_NHW)]
    with pytest.raises(CheckpointError) as error:
        clone(own).fit(image_NHW, label_N)
    assert error.value.message.splitlines()[0] == f"{tmp_path / 'own'} already holds a run."


def test_its_answers_and_its_score_are_those_of_its_probabilities(fitted: SaccadeClassifier, drawn: Drawn):
    image_NHW, label_N = drawn
    assert fitted.classes_.tolist() == ["across", "down", "empty"]
    probability_NK = fitted.predict_proba(image_NHW)
    assert (probability_NK.shape, probability_NK.dtype) == ((90, 3), np.float64)
    assert probability_NK.sum(axis=1) == pytest.approx(np.ones(90))
    said_N = fitted.predict(image_NHW)
    assert np.array_equal(said_N, np.array(["across", "down", "empty"])[probability_NK.argmax(axis=1)])
    assert fitted.score(image_NHW, label_N) == accuracy_score(label_N, said_N) > 0.9
    assert fitted.fitted_model().classes == ("across", "down", "empty")
    assert re.fullmatch(r"[0-9.]+ % of \d+ held-out images correct \(.*", fitted.verdict_)
    assert fitted.caveats_[0] == "These images also chose the epoch kept: the figure flatters a little."


def test_all_of_x_is_for_training_and_none_is_left_on_disk(
    drawn: Drawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    none_held_out = SETTINGS | {"split.validation_fraction": 0}
    fitted = SaccadeClassifier(epochs=1, settings=none_held_out).fit(*drawn)
    assert re.fullmatch(r"[0-9.]+ % of 90 training images correct.*", fitted.verdict_)
    a_tenth = SaccadeClassifier(epochs=1, settings=SETTINGS).fit(*drawn)
    assert re.fullmatch(r"[0-9.]+ % of 9 held-out images correct.*", a_tenth.verdict_)
    a_third = SaccadeClassifier(epochs=1, settings=["batch_size=32", "split.test_fraction=0.3"]).fit(*drawn)
    assert re.fullmatch(r"[0-9.]+ % of 27 held-out images correct.*", a_third.verdict_)
    fitted.predict(drawn[0][:2])
    assert list((tmp_path / "own").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        (lambda label_N: np.unique(label_N, return_inverse=True)[1] * 10 - 5, [-5, 5, 15]),
        (lambda label_N: label_N == "empty", [False, True]),
        (lambda label_N: label_N.tolist(), ["across", "down", "empty"]),
        (lambda label_N: (label_N == "down").astype(float), [0.0, 1.0]),
    ],
    ids=["numbers", "truths", "a list", "whole floats"],
)
def test_labels_come_back_as_they_were(drawn: Drawn, kind: Any, classes: list[Any]):
    image_NHW, label_N = drawn
    fitted = SaccadeClassifier(epochs=6, settings=SETTINGS).fit(image_NHW, kind(label_N))
    assert fitted.classes_.tolist() == classes
    assert fitted.score(image_NHW, kind(label_N)) > 0.8


def test_paths_images_of_pillow_and_arrays_train_one_network(drawn: Drawn, tmp_path: Path):
    image_NHW, label_N = drawn
    paths = [tmp_path / f"{number:02}.png" for number in range(90)]
    for path, image in zip(paths, image_NHW):
        Image.fromarray(image).save(path)
    opened = [Image.open(path) for path in paths]
    coloured = np.repeat(image_NHW[..., None], 3, axis=3)
    expected = SaccadeClassifier(epochs=1, settings=SETTINGS).fit(image_NHW, label_N).predict_proba(image_NHW)
    for X in (paths, np.array([str(path) for path in paths]), opened, list(image_NHW), image_NHW[..., None]):
        fitted = SaccadeClassifier(epochs=1, settings=SETTINGS).fit(X, label_N)
        assert np.array_equal(fitted.predict_proba(X), expected)
    grey = SETTINGS | {"input": {"channels": "grey"}}
    fitted = SaccadeClassifier(epochs=1, settings=grey).fit(coloured, label_N)
    assert fitted.predict_proba(coloured[:3]).shape == (3, 3)
    for image in opened:
        image.close()


def test_a_sample_drawn_with_replacement_can_be_fitted(drawn: Drawn, tmp_path: Path):
    image_NHW, label_N = drawn
    paths = [tmp_path / f"{number:02}.png" for number in range(30)]
    for path, image in zip(paths, image_NHW):
        Image.fromarray(image).save(path)
    index_N = np.random.default_rng(1).integers(0, 30, 60)
    fitted = SaccadeClassifier(epochs=1, settings=SETTINGS).fit([paths[i] for i in index_N], label_N[index_N])
    assert fitted.predict_proba(paths).shape == (30, 3)


def test_same_seed_same_answers_and_fitting_again_forgets(drawn: Drawn, fitted: SaccadeClassifier):
    image_NHW, label_N = drawn
    again = clone(fitted)
    assert not hasattr(again, "classes_")
    assert np.array_equal(again.fit(image_NHW, label_N).predict_proba(image_NHW), fitted.predict_proba(image_NHW))
    keep_N = label_N != "empty"
    assert again.fit(image_NHW[keep_N], label_N[keep_N]).predict_proba(image_NHW[:4]).shape == (4, 2)


def test_a_fitted_estimator_can_be_sent_to_another_process(drawn: Drawn, fitted: SaccadeClassifier):
    image_NHW, _ = drawn
    fitted.predict(image_NHW[:1])
    sent = pickle.dumps(fitted)
    assert b"_rebuild_tensor" not in sent  # the files of the checkpoint, not a network
    assert np.array_equal(pickle.loads(sent).predict_proba(image_NHW), fitted.predict_proba(image_NHW))  # noqa: S301


def test_it_works_in_cross_validation_a_pipeline_and_a_search(drawn: Drawn):
    image_NHW, label_N = drawn
    estimator = SaccadeClassifier(epochs=6, settings=SETTINGS)
    scores = cross_val_score(estimator, image_NHW, label_N, cv=3, error_score="raise")
    assert scores.shape == (3,)
    assert scores.mean() > 0.8
    pipeline = Pipeline([("invert", FunctionTransformer(lambda X: 255 - X)), ("classify", estimator)])
    assert pipeline.fit(image_NHW, label_N).score(image_NHW, label_N) > 0.8
    search = GridSearchCV(estimator, {"epochs": [1, 6]}, cv=2, error_score="raise").fit(image_NHW, label_N)
    assert search.best_params_ == {"epochs": 6}
    assert search.score(image_NHW, label_N) > 0.8


def test_cross_validation_may_use_several_processes(drawn: Drawn):
    image_NHW, label_N = drawn
    estimator = SaccadeClassifier(epochs=2, settings=SETTINGS)
    scores = cross_val_score(estimator, list(image_NHW), label_N, cv=2, n_jobs=2, error_score="raise")
    assert scores.tolist() == cross_val_score(estimator, list(image_NHW), label_N, cv=2).tolist()


def test_with_a_backbone_and_weights_it_is_a_transfer(drawn: Drawn, weights: dict[str, Any], tmp_path: Path):
    image_NHW, label_N = drawn
    estimator = SaccadeClassifier(**weights, freeze="all", cache="none", settings=SETTINGS, out=tmp_path / "run")
    fitted = estimator.fit(image_NHW, label_N)
    assert type(fitted.fitted_model().module).__name__ == "SmallResNet"
    assert (tmp_path / "run" / "transfer.json").is_file()
    expected = [answer.probabilities for answer in api.predict(tmp_path / "run", image_NHW, runtime=RUNTIME)]
    assert np.array_equal(fitted.predict_proba(image_NHW), np.array(expected))


def test_a_network_from_python_is_trained(drawn: Drawn):
    image_NHW, label_N = drawn
    network = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16, 3))
    settings = SETTINGS | {"input": {"size_px": 16}}
    fitted = SaccadeClassifier(model=network, epochs=2, settings=settings).fit(image_NHW, label_N)
    expected = fitted.predict_proba(image_NHW[:2])
    sent = pickle.loads(pickle.dumps(fitted.set_params(model="")))  # noqa: S301  # of the next fit
    assert np.array_equal(sent.predict_proba(image_NHW[:2]), expected)


def test_features_of_a_run_serve_a_linear_model(drawn: Drawn, fitted: SaccadeClassifier, tmp_path: Path):
    image_NHW, label_N = drawn
    SaccadeClassifier(epochs=6, settings=SETTINGS, out=tmp_path / "run").fit(image_NHW, label_N)
    features = SaccadeFeatures(tmp_path / "run", runtime=RUNTIME)
    feature_ND = features.fit_transform(image_NHW, label_N)
    assert np.array_equal(feature_ND, saccade.load(tmp_path / "run", runtime=RUNTIME).features(image_NHW))
    assert features.get_feature_names_out()[:2].tolist() == ["saccadefeatures0", "saccadefeatures1"]
    assert len(features.get_feature_names_out()) == feature_ND.shape[1]
    pipeline = make_pipeline(features, LogisticRegression(max_iter=1000))
    scores = cross_val_score(pipeline, image_NHW, label_N, cv=3, error_score="raise")
    direct = cross_val_score(LogisticRegression(max_iter=1000), feature_ND, label_N, cv=3)
    assert scores == pytest.approx(direct)
    sent = pickle.loads(pickle.dumps(features))  # noqa: S301
    assert np.array_equal(sent.transform(image_NHW), feature_ND)


def test_features_of_public_weights_are_those_of_the_network(drawn: Drawn, weights: dict[str, Any]):
    features = SaccadeFeatures(**weights, runtime=RUNTIME).fit()
    network = build_model("resnet20", ModelSpec(num_classes=10, input_CHW=(3, 32, 32)))
    network.load_state_dict(load_file(weights["weights"]))
    image = Image.fromarray(drawn[0][1]).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    input_HWC = (np.asarray(image) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        expected = network.eval().forward_features(
            torch.tensor(input_HWC.transpose(2, 0, 1)[None], dtype=torch.float32)
        )
    expected = expected.mean(dim=(2, 3)) if expected.ndim == 4 else expected
    assert features.transform([drawn[0][1]]) == pytest.approx(expected.numpy(), abs=1e-4)
    assert len(features.notes_) == 1  # the weights do not say under which licence they may be used


ROWS = (
    "X has the shape (4, 256); images are (number, height, width), or (number, height, width, 3).\n"
    "Rows of pixels become images by X.reshape(-1, height, width)."
)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((4, 256), np.uint8), ROWS),
        ("a.png", "X is a single image.\nPut it into a list."),
        (Image.new("L", (4, 4)), "X is a single image.\nPut it into a list."),
        ([], "X holds no image."),
        (np.array([["a.png"], ["b.png"]]), "X has the shape (2, 1); give paths or images as one list."),
        (
            np.zeros((4, 8, 8)),
            "image 0 holds float64 values; pixels are uint8, 0 to 255, or uint16.\n"
            "Turn values in 0 to 1 into them by (images * 255).round().astype('uint8').",
        ),
    ],
    ids=["rows", "a path", "an image", "nothing", "a table", "floats"],
)
def test_what_is_not_images_is_refused_in_words(fitted: SaccadeClassifier, X: Any, message: str):
    for call in (fitted.predict, lambda X: SaccadeClassifier(epochs=1).fit(X, [0, 1, 0, 1])):
        with pytest.raises(DataError) as error:
            call(X)
        assert error.value.message == message


def test_labels_that_are_none_are_refused_as_scikit_learn_does(drawn: Drawn):
    image_NHW, label_N = drawn
    for y, words in (
        (label_N[:5], "inconsistent numbers of samples"),
        (np.linspace(0, 1, 90), "Unknown label type: continuous"),
        (None, "y should be a 1d array"),
        (
            np.array(["a", 1] * 45, dtype=object),
            r"^y has labels of several types \(int, str\), which have no order: write all as text\.$",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            SaccadeClassifier(epochs=1).fit(image_NHW, y)
    with pytest.raises(DataError):
        SaccadeClassifier(epochs=1).fit(image_NHW, ["one"] * 90)
    with pytest.raises(NotFittedError):
        SaccadeClassifier().predict(image_NHW)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (
            SaccadeClassifier(freeze="all"),
            "SaccadeClassifier: 'freeze' is for a transfer; give backbone and weights too.",
        ),
        (
            SaccadeClassifier(model="lenet5", backbone="resnet20", weights="w"),
            "SaccadeClassifier: 'model' is not for a transfer; leave it out, or leave backbone and weights out.",
        ),
        (
            SaccadeClassifier(backbone="resnet20"),
            "The table has no weights of resnet20 that are free for any use.\n"
            "Give some with --weights FILE, or take another network: 'saccade weights' lists those with weights.",
        ),
        (SaccadeFeatures(), "SaccadeFeatures needs one network: a run, or a backbone and its weights."),
        (
            SaccadeFeatures("runs/x", backbone="resnet20", weights="w"),
            "SaccadeFeatures needs one network: a run, or a backbone and its weights.",
        ),
        (
            SaccadeFeatures("runs/x", preprocessing="p.json"),
            "SaccadeFeatures: a run knows its preprocessing; leave 'preprocessing' out.",
        ),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_together_are_refused(drawn: Drawn, estimator: Any, message: str):
    with pytest.raises(SaccadeError) as error:
        estimator.fit(*drawn)
    assert error.value.message == message
