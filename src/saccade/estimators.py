"""Estimators for scikit-learn: a classifier of images, and a transformer from images to features.

X is many images: an array (N, H, W) or (N, H, W, C) of uint8 or uint16, or a list of paths, images of Pillow, or
single arrays, which may differ in size. They follow scikit-learn's rules: a constructor keeps its arguments and does
nothing else.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import nn

from . import api
from .classify.backbone import open_backbone
from .classify.classifier import join_members
from .classify.features import refuse_unnamed_parts
from .classify.items import GivenImage, item_of
from .core.config import Settings, assignments
from .core.errors import DataError, Stopped, UsageError
from .core.host_process import scoped_runtime
from .core.plain_files import open_plain_file
from .core.runtime import RuntimeConfig, start
from .core.types import AnyPath
from .data.sources.in_memory import HeldSource, array_of
from .loaded import Model, load
from .runs.checkpoint import find_checkpoint
from .runs.names import MANIFEST

ALL_FOR_TRAINING = {"split.test_fraction": 0}


class SaccadeClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A convolutional classifier of images. The arguments are those of `api.TrainRequest`, and with `backbone` and
    `weights` those of `api.TransferRequest`; what is left out, the recipe decides.

    All of X is for training: no test part is held out unless `settings` has split.test_fraction. A part of X, by
    default a tenth, chooses the epoch that is kept. With `out` the run stays there, in a folder that holds no other;
    else no file is left behind. Fitting never warns; what a person should know is in `caveats_`.

    After `fit`: `classes_`; `run_files_`, the files of the checkpoint; `verdict_`, what the held-out part says;
    `caveats_`, sentences that qualify it.
    """

    def __init__(
        self,
        *,
        model: str | nn.Module = "",
        recipe: str = "",
        epochs: int | None = None,
        seed: int | None = None,
        teachers: Sequence[AnyPath] = (),
        backbone: str = "",
        weights: AnyPath = "",
        freeze: str = "",
        views: int | None = None,
        cache: AnyPath = "",
        preprocessing: AnyPath | None = None,
        settings: Settings | None = None,
        out: AnyPath | None = None,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.epochs = epochs
        self.seed = seed
        self.teachers = teachers
        self.backbone = backbone
        self.weights = weights
        self.freeze = freeze
        self.views = views
        self.cache = cache
        self.preprocessing = preprocessing
        self.settings = settings
        self.out = out

    def fit(self, X: Any, y: Any) -> Self:
        """Train on the images X, whose labels y are numbers or texts. Raises SaccadeError; ValueError for y."""
        images = images_of(X)
        label_N = column_or_1d(y)
        check_consistent_length(images, label_N)
        try:
            check_classification_targets(label_N)
            classes, number_N = np.unique(label_N, return_inverse=True)
        except TypeError:
            kinds = ", ".join(sorted({type(label).__name__ for label in label_N.tolist()}))
            raise ValueError(
                f"y has labels of several types ({kinds}), which have no order: write all as text."
            ) from None
        source = HeldSource(
            [item_of(image, f"image {number}") for number, image in enumerate(images)],
            number_N.astype(np.int64),
            classes=[str(name) for name in classes],
            paths={number for number, image in enumerate(images) if isinstance(image, str | os.PathLike)},
            name="X",
        )
        with TemporaryDirectory(prefix="saccade-") as own:
            result = self._train(source, Path(own) / "run" if self.out is None else Path(self.out))
            self.run_files_ = _checkpoint_files(result.run_dir)
        self._network = self.model if isinstance(self.model, nn.Module) else None  # `model` may be set anew
        self.classes_ = classes
        self.runtime_ = result.config.runtime
        self.verdict_ = result.display_lines()[0]
        self.caveats_ = result.judgement.caveats
        self._opened: Model | None = None
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable of `classes_` for each image (N,). Raises ImageError naming one that cannot be used."""
        probability_NK = self.predict_proba(X)
        said_N: np.ndarray = self.classes_[probability_NK.argmax(axis=1)]
        return said_N

    def predict_proba(self, X: Any) -> np.ndarray:
        """probability_NK float64, its columns in the order of `classes_`. Raises what `predict` raises."""
        model = self.fitted_model()
        return np.array([prediction.probabilities for prediction in model(images_of(X))])

    def fitted_model(self) -> Model:
        """What `saccade.load` gives of the run: for features, the network and its preprocessing."""
        check_is_fitted(self, "run_files_")
        if self._opened is None:
            with TemporaryDirectory(prefix="saccade-") as folder:
                for name, content in self.run_files_.items():
                    Path(folder, name).write_bytes(content)
                self._opened = load(folder, runtime=self.runtime_, model=self._network)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and sent to other processes: the files of the checkpoint, not the opened network."""
        state: dict[str, Any] = dict(super().__getstate__())
        return state | ({"_opened": None} if "_opened" in state else {})

    def __sklearn_tags__(self) -> Any:
        return _of_images(super().__sklearn_tags__())

    def _train(self, source: HeldSource, out: Path) -> api.TrainResult:
        settings = ALL_FOR_TRAINING | dict(assignments(self.settings or {}))
        try:
            if self.backbone or self.weights:
                return api.transfer(self._transfer_request(source, out, settings)).run
            return api.train(self._train_request(source, out, settings))
        except Stopped as error:
            if self.out is not None:
                raise
            raise Stopped("Training was stopped, and nothing of it is kept.\nGive out=RUN to keep it.") from error

    def _train_request(self, source: HeldSource, out: Path, settings: dict[str, Any]) -> api.TrainRequest:
        self._refuse(("freeze", "views", "cache", "preprocessing"), "is for a transfer; give backbone and weights too")
        return api.TrainRequest(
            source=source,
            model=self.model,
            recipe=self.recipe,
            epochs=self.epochs,
            seed=self.seed,
            teachers=self.teachers,
            out=out,
            settings=settings,
        )

    def _transfer_request(self, source: HeldSource, out: Path, settings: dict[str, Any]) -> api.TransferRequest:
        self._refuse(("model", "teachers"), "is not for a transfer; leave it out, or leave backbone and weights out")
        usual = api.TransferRequest()
        return api.TransferRequest(
            source=source,
            backbone=self.backbone,
            weights=self.weights,
            freeze=self.freeze,
            views=self.views,
            recipe=self.recipe or usual.recipe,
            epochs=self.epochs,
            seed=self.seed,
            out=out,
            cache=self.cache,
            preprocessing=self.preprocessing,
            settings=settings,
        )

    def _refuse(self, names: Sequence[str], why: str) -> None:
        for name in names:
            value = getattr(self, name)
            if isinstance(value, nn.Module) or value not in ("", None, (), []):
                raise UsageError(f"SaccadeClassifier: '{name}' {why}.")


class SaccadeFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """From images to what the head of a network sees of them: float32 (N, D).

    The network is that of `run`, or `backbone` with public `weights`. Nothing is learned from X: `fit` opens the
    network and says what is wrong with it. After it, `notes_` has sentences a person should know of the weights.
    """

    def __init__(
        self,
        run: AnyPath | None = None,
        *,
        backbone: str = "",
        weights: AnyPath = "",
        preprocessing: AnyPath | None = None,
        runtime: RuntimeConfig | None = None,
    ) -> None:
        self.run = run
        self.backbone = backbone
        self.weights = weights
        self.preprocessing = preprocessing
        self.runtime = runtime

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Open the network; X and y are not looked at. Raises SaccadeError."""
        self._opened, self.notes_ = self._open()
        self._n_features_out = self._opened.features([]).shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """feature_ND float32 of the images X. Raises ImageError naming one that cannot be used."""
        check_is_fitted(self, "notes_")
        if self._opened is None:
            self._opened, _ = self._open()
        return self._opened.features(images_of(X))

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        return state | ({"_opened": None} if "_opened" in state else {})

    def __sklearn_tags__(self) -> Any:
        return _of_images(super().__sklearn_tags__())

    @scoped_runtime()
    def _open(self) -> tuple[Model, tuple[str, ...]]:
        is_public = bool(self.backbone and self.weights)
        if bool(self.run) == is_public or bool(self.backbone) != bool(self.weights):
            raise UsageError("SaccadeFeatures needs one network: a run, or a backbone and its weights.")
        runtime = self.runtime or RuntimeConfig()
        if self.run:
            if self.preprocessing is not None:
                raise UsageError("SaccadeFeatures: a run knows its preprocessing; leave 'preprocessing' out.")
            return load(self.run, runtime=runtime), ()
        preprocessing = None if self.preprocessing is None else Path(self.preprocessing)
        member, found = open_backbone(self.backbone, os.fspath(self.weights), start(runtime), preprocessing)
        refuse_unnamed_parts(member)
        return Model(join_members([member]), runtime), found.notes


def images_of(X: Any) -> list[GivenImage]:
    """Each of the images X. Raises DataError where X is one image, none, or no images at all."""
    if isinstance(X, str | os.PathLike | Image.Image):
        raise DataError("X is a single image.\nPut it into a list.")
    if hasattr(X, "__array__") and (pixels := array_of("X", X)).dtype.kind not in "OU":
        X = pixels
        if X.ndim not in (3, 4):
            raise DataError(
                f"X has the shape {X.shape}; images are (number, height, width), or (number, height, width, 3).\n"
                f"Rows of pixels become images by X.reshape(-1, height, width)."
            )
    elif hasattr(X, "__array__") and np.ndim(X) != 1:
        raise DataError(f"X has the shape {np.shape(X)}; give paths or images as one list.")
    images = list(X)
    if not images:
        raise DataError("X holds no image.")
    return images


def _checkpoint_files(run: Path) -> dict[str, bytes]:
    """The files of the kept checkpoint by their names."""
    checkpoint = find_checkpoint(run)
    contents = {}
    for name in (MANIFEST, *checkpoint.manifest.files):
        with open_plain_file(checkpoint.folder / name) as file:
            contents[name] = file.read()
    return contents


def _of_images(tags: Any) -> Any:
    """scikit-learn's tags of an estimator whose X is images, not rows of numbers."""
    tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
    return tags
