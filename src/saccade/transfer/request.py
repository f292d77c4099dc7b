"""What a person asks of `transfer`, and the configuration that comes of it."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.config import COMMAND_LINE, Settings, assignments
from ..core.errors import UsageError
from ..core.given import listed, settle_fields
from ..core.types import AnyPath
from ..data.sources.in_memory import GivenImages, known_source
from ..models.architecture import MODELS
from ..train.config import DistillConfig, RunConfig
from ..train.recipes import find_recipe
from ..train.request import as_text, refuse_other_ways, refuse_policy, with_policy
from ..weights.of_run import network_of
from .run import FeatureStore

DEFAULT_LIMIT_GB = 10.0
DEFAULT_RECIPE = "transfer"
AUTO_BACKBONE = "auto"


@dataclass(frozen=True, kw_only=True)
class TransferRequest:
    """What a person asks of `transfer`. Empty values leave the choice to the recipe; `source`, `log` and `settings` are
    those of `TrainRequest`.

    `weights` is a .safetensors file, a folder with one, a run, hub:OWNER/NAME or a name of the table of public weights.
    Without `backbone` it is the network of the weights; without `weights` they are the best public ones of the network;
    without both, both are chosen (`choose_backbone.py`). Several networks ("a,b"), several weights, or "auto" are
    compared on the training images; `budget_ms` and `budget_mb` bound the milliseconds of an answer and the megabytes
    of the weights. `freeze` is `auto`, `all`, `none` or a part of the network; `minutes` bounds the time from start to
    verdict. With `folds` the run is judged by cross-validation, by so many runs besides. `cache` is where features are
    kept ("": in `$XDG_CACHE_HOME/saccade`; "none": nowhere).
    """

    source: GivenImages = ""
    backbone: str = ""
    weights: AnyPath | Sequence[AnyPath] = ""
    budget_ms: float = 0.0
    budget_mb: float = 0.0
    freeze: str = ""
    minutes: float | None = None
    views: int | None = None
    recipe: str = DEFAULT_RECIPE
    policy: str = ""
    epochs: int | None = None
    seed: int | None = None
    out: AnyPath | None = None
    resume: bool = False
    folds: int = 0
    cache: AnyPath = ""
    cache_limit_gb: float = DEFAULT_LIMIT_GB
    preprocessing: AnyPath | None = None
    log: Sequence[str] = ()
    settings: Settings = field(default_factory=list)

    def __post_init__(self) -> None:
        settle_fields(self)
        object.__setattr__(self, "log", tuple(listed(self.log, "the name of a tracker")))

    def config(self) -> RunConfig:
        """The complete configuration. Raises UsageError, UnknownNameError or ConfigError."""
        source, weights = as_text(self.source), self.one_weights()
        backbone = self.registered_backbone() or network_of(weights)
        if not source:
            raise UsageError(
                "Say which images to adapt a network to: saccade transfer SOURCE, such as saccade transfer photos."
            )
        if not backbone or not weights:
            raise UsageError("A transfer's configuration needs backbone and weights; api.transfer chooses them.")
        refuse_other_ways(self.settings)
        recipe = find_recipe(self.recipe)
        asked = {
            "backbone": backbone,
            "weights": weights,
            "freeze": self.freeze,
            "minutes": self.minutes,
            "views": self.views,
        }
        table = {key: value for key, value in asked.items() if value not in ("", None)}
        if self.epochs is not None or "epochs" in dict(assignments(self.settings)):  # a person's own number is kept
            table["enough_images"] = 0
        config = recipe.config(source, backbone, {"transfer": table})
        config = with_policy(config, self.policy).with_overrides(self.settings)
        if config.distill != DistillConfig():
            raise UsageError("'saccade transfer' has no teachers; values under 'distill.' are for 'saccade train'.")
        changes = {"epochs": self.epochs, "seed": self.seed}
        values = config.model_dump(mode="json") | {key: value for key, value in changes.items() if value is not None}
        return RunConfig.parse(values, COMMAND_LINE)

    def all_weights(self) -> list[str]:
        """The texts of `weights`."""
        given = [self.weights] if isinstance(self.weights, str | os.PathLike) else self.weights
        return [os.fspath(text) for text in given if os.fspath(text)]

    def one_weights(self) -> str:
        """The text of `weights` where no more than one is given, and "" where none is."""
        return next(iter(self.all_weights()), "")

    def registered_backbone(self) -> str:
        """`backbone`, one network, as it is registered; "" where none is given. Raises UnknownNameError."""
        return MODELS.get(self.backbone).name if self.backbone else ""

    def names_several(self) -> bool:
        """Whether networks are to be compared."""
        return len(self.all_weights()) > 1 or "," in self.backbone or self.backbone == AUTO_BACKBONE

    def device(self) -> str:
        """`runtime.device` as it is asked for. Raises UsageError, UnknownNameError or ConfigError."""
        refuse_other_ways(self.settings)
        return RunConfig().with_overrides(self.settings).runtime.device

    def store(self) -> FeatureStore:
        """Where features are kept."""
        if not 0 < self.cache_limit_gb < math.inf:
            raise UsageError(
                f"--cache-limit is a number of GB above 0, got {self.cache_limit_gb:g}; --cache none keeps nothing."
            )
        limit_bytes = round(self.cache_limit_gb * 1e9)
        if self.cache == "none":
            return FeatureStore(folder=None, limit_bytes=limit_bytes)
        return FeatureStore(folder=Path(self.cache) if self.cache else _usual_cache(), limit_bytes=limit_bytes)


@contextmanager
def named_transfer(request: TransferRequest) -> Iterator[TransferRequest]:
    """`request` with a name in place of images in memory, known by it in the enclosed work."""
    with known_source(request.source) as source:
        yield replace(request, source=source)


def _usual_cache() -> Path:
    """Where features are kept unless somebody says otherwise. Raises UsageError for a user without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "saccade"
    except RuntimeError:
        raise UsageError(
            "You have no home folder that features could be kept in.\n"
            "Say where with --cache DIR, or keep none with --cache none."
        ) from None


def asked_of_transfer(request: TransferRequest, begun: RunConfig) -> RunConfig:
    """The configuration that `request` would have of a transfer that was `begun`."""
    refuse_policy(request.policy)
    if request.names_several():
        raise UsageError(
            "A resumed transfer goes on with the network that it chose.\n"
            "Leave --backbone and --weights out, or start a new run with another --out."
        )
    wanted = begun.with_overrides(request.settings)
    if request.preprocessing is not None:
        raise UsageError(
            "A resumed transfer reads pixels as it began to.\n"
            "Leave --preprocessing out, or start a new run with another --out."
        )
    backbone = request.registered_backbone()
    asked = {
        "backbone": backbone,
        "freeze": request.freeze,
        "minutes": request.minutes,
        "views": request.views,
    }  # weights: their digest decides
    table: dict[str, Any] = {key: value for key, value in asked.items() if value not in ("", None)}
    changes: dict[str, Any] = {"transfer": wanted.transfer.model_copy(update=table)}
    numbers = {"source": as_text(request.source), "epochs": request.epochs, "seed": request.seed}
    changes |= {key: value for key, value in numbers.items() if value not in ("", None)}
    if request.recipe != DEFAULT_RECIPE:
        changes["recipe"] = request.recipe
    return wanted.model_copy(update=changes)


def refuse_with_folds(request: TransferRequest) -> None:
    """Raise UsageError for what a transfer with folds cannot be asked for."""
    if request.names_several():
        raise UsageError(
            "Several networks are compared on all training images, and with --folds each of these is to be judged by a "
            "model that has not seen it.\nName one network and its weights."
        )
    if request.minutes or "transfer.minutes" in dict(assignments(request.settings)):
        raise UsageError(
            "--minutes bounds one run, and with --folds there is one for each fold and one for use.\n"
            "Leave it out; fewer epochs, or --freeze all, make all of them shorter."
        )


def where_weights_lie(request: TransferRequest, begun: RunConfig) -> RunConfig:
    """`begun` with the place of its weights that `request` names, if any: they may have been moved since."""
    given = request.one_weights()
    transfer = begun.transfer.model_copy(update={"weights": given}) if given else begun.transfer
    return begun.model_copy(update={"transfer": transfer})
