"""A trained classifier as one object: `saccade.load("runs/x")`, called with an image or with several."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, final, overload

import numpy as np
from PIL import Image
from torch import nn

from .classify.classifier import Classifier, Member, open_classifier
from .classify.crops import looks
from .classify.features import features_of
from .classify.given_network import network_of_runs
from .classify.items import NO_IMAGES, GivenImage, is_single, item_of
from .classify.predict import predict
from .core.display import Displayed
from .core.errors import DataError, ImageError, UsageError, printable
from .core.given import listed
from .core.host_process import scoped_runtime
from .core.runtime import RuntimeConfig, start
from .core.types import AnyPath, Prediction, Preprocessing
from .data.sources.in_memory import HeldImage
from .runs.ensemble_folder import expand_runs

GivenMany = Sequence[GivenImage] | Iterable[GivenImage]


@scoped_runtime()
def load(
    *runs: AnyPath | Sequence[AnyPath],
    crops: int = 1,
    scales: float | Sequence[float] = (1.0,),
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
) -> "Model":
    """The classifier of a run, or of several together: the mean of their probabilities.

    With `crops` (5, 10, or a grid) and `scales` the mean is over several looks at an image too. `model` is the network
    of a run that was trained with a `torch.nn.Module` from Python. Raises SaccadeError.
    """
    folders = expand_runs([Path(path) for given in runs for path in listed(given, "the path of a run")])
    if not folders:
        raise UsageError('Say which run to load, for example saccade.load("runs/digits-lenet5-1").')
    wanted = looks(crops, scales)
    with network_of_runs(model, folders):
        return Model(open_classifier(folders, runtime, wanted), runtime or RuntimeConfig())


@final
class Model(Displayed):
    """A trained classifier. `model(image)` is a `Prediction`; of a list, a list of them.

    An image is the path of a file, an image of Pillow, or a uint8 or uint16 array (height, width[, channels]): grey,
    RGB, or as many bands as the network takes. An array of four sizes, or of three of which the last is not 1, 3, 4 or
    the number of the network's bands, is a list of images.
    """

    def __init__(self, classifier: Classifier, runtime: RuntimeConfig) -> None:
        self._classifier, self._runtime = classifier, runtime

    @overload
    def __call__(self, images: AnyPath | Image.Image) -> Prediction: ...
    @overload
    def __call__(self, images: np.ndarray) -> Any: ...
    @overload
    def __call__(self, images: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...

    @scoped_runtime()
    def __call__(self, images: GivenImage | GivenMany) -> Prediction | list[Prediction]:
        """What the classifier says of one image, or of each of several, in order.

        Raises ImageError naming the first that cannot be used; `api.predict` goes on behind it.
        """
        start(self._runtime)  # threads and arithmetic, as every verb has them
        answers: list[Prediction] = []
        with closing(predict(self._classifier, _items(images, self._num_channels))) as stream:
            for answer in stream:
                if isinstance(answer, ImageError):
                    raise answer
                answers.append(answer)
        return answers[0] if is_single(images, self._num_channels) else answers

    @scoped_runtime()
    def features(self, images: GivenImage | GivenMany) -> np.ndarray:
        """feature_ND float32: what the head of the network sees of each image; a single image is one row.

        Of several networks, their features side by side. Raises ImageError naming the first image that cannot be used,
        and ModelError for a network that does not name its parts.
        """
        start(self._runtime)
        items = list(_items(images, self._num_channels))
        found = [features_of(member, items or [_blank(member)]) for member in self._classifier.members]
        return np.concatenate(found, axis=1)[: len(items)]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of a prediction's probabilities."""
        return self._classifier.classes

    @property
    def preprocessing(self) -> Preprocessing:
        """How pixels become inputs. Raises UsageError where several networks differ in it."""
        found = self._classifier.preprocessings
        if len(found) > 1:
            raise UsageError(
                f"These {len(self.modules)} networks see an image in {len(found)} ways.\nLoad one of their runs alone."
            )
        return found[0]

    @property
    def module(self) -> nn.Module:
        """The network, in evaluation mode: normalised images in, logits out. Raises UsageError where it has several."""
        if len(self.modules) > 1:
            raise UsageError(f"This model has {len(self.modules)} networks.\nTake one of model.modules.")
        return self.modules[0]

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The networks of all runs, in evaluation mode."""
        return tuple(member.model for member in self._classifier.members)

    @property
    def _num_channels(self) -> int:
        return self._classifier.preprocessings[0].num_channels

    def display_lines(self) -> list[str]:
        """The runs, what they know, and how they answer."""
        members, runtime = self._classifier.members, self._classifier.runtime
        names = ", ".join(printable(f"{member.architecture} of {member.name}") for member in members[:3])
        more = f" and {len(members) - 3} more" if len(members) > 3 else ""
        shown = printable(", ".join(self.classes[:8])) + (", ..." if len(self.classes) > 8 else ".")
        num_looks = len(self._classifier.looks)
        looks_each = f", {num_looks} looks at each image" if num_looks > 1 else ""
        return [f"{names}{more}; {len(self.classes)} classes{looks_each}; on {runtime.device}.", f"Classes: {shown}"]


def _items(images: Any, num_channels: int) -> Iterator[HeldImage]:
    """One item for every image: a folder is none, so that answers stand where their images do."""
    if is_single(images, num_channels):
        yield item_of(images, "the image")
        return
    if not isinstance(images, Iterable) or isinstance(images, NO_IMAGES):
        item_of(images, "The image")
    for number, image in enumerate(images):
        if isinstance(image, tuple | list):
            raise DataError(
                f"image {number} is a {type(image).__name__}.\n"
                f"Give a list of single images; labels are not needed here (api.evaluate takes them)."
            )
        yield item_of(image, f"image {number}")


def _blank(member: Member) -> HeldImage:
    """An image that says how many features there are."""
    shape = (32, 32, member.preprocessing.num_channels) if member.preprocessing.has_bands else (32, 32)
    return HeldImage("blank", lambda: np.zeros(shape, np.uint8))
