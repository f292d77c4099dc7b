"""What a person asks of `train`, and the configuration that comes of it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from torch import nn

from ..core.config import COMMAND_LINE, Settings, assigned_keys, assignments, where_set
from ..core.errors import UsageError
from ..core.given import listed, settle_fields
from ..core.types import AnyPath
from ..data.augmentation_policy import get_policy
from ..data.sources.in_memory import GivenImages, known_source
from ..models.build import registered_name
from ..models.network_in_memory import known_network
from .config import RunConfig, TransferConfig
from .recipes import find_recipe, recipe_for


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What a person asks of `train`. Empty values leave the choice to the recipe.

    `source` is a path, a built-in set, (images, labels) as arrays, [(path, label), ...] or a `DataSource`; `model` is a
    name, a line of notation, or a network of the caller's own, a copy of which is trained. `policy` names the
    augmentation instead of the recipe's. `settings` are `a.b=value` texts, or a table such as
    {"optimizer": {"learning_rate": 0.1}}. `ensemble` is how many members to train, for `train_ensemble`; 0: one run.
    With `folds` the run is judged by cross-validation, by so many runs besides. With `teachers` it learns from them, by
    the recipe `distill` unless another is named. `log` names trackers that hear of the run too: tensorboard, mlflow,
    wandb, trackio.
    """

    source: GivenImages = ""
    model: str | nn.Module = ""
    recipe: str = ""
    policy: str = ""
    epochs: int | None = None
    seed: int | None = None
    out: AnyPath | None = None
    resume: bool = False
    ensemble: int = 0
    folds: int = 0
    teachers: Sequence[AnyPath] = ()
    log: Sequence[str] = ()
    settings: Settings = field(default_factory=list)

    def __post_init__(self) -> None:
        settle_fields(self)
        object.__setattr__(self, "teachers", tuple(listed(self.teachers, "the path of a run")))
        object.__setattr__(self, "log", tuple(listed(self.log, "the name of a tracker")))

    def config(self) -> RunConfig:
        """The complete configuration. Raises UnknownNameError or ConfigError."""
        source, model = as_text(self.source), registered_name(as_text(self.model))
        if not source:
            raise UsageError("Say what to train on: saccade train SOURCE, for example saccade train digits.")
        refuse_other_ways(self.settings)
        name = self.recipe or ("distill" if self.teachers else "")
        recipe = find_recipe(name) if name else recipe_for(model or "lenet5")
        taught = {"distill": {"teachers": [os.fspath(run) for run in self.teachers]}} if self.teachers else {}
        config = with_policy(recipe.config(source, model or None, taught), self.policy).with_overrides(self.settings)
        registered_name(config.model)  # the recipe's own
        if config.transfer != TransferConfig():
            raise UsageError(
                "'saccade train' begins without weights; values under 'transfer.' are for 'saccade transfer'."
            )
        changes = {"epochs": self.epochs, "seed": self.seed}
        values = config.model_dump(mode="json") | {key: value for key, value in changes.items() if value is not None}
        return RunConfig.parse(values, COMMAND_LINE)


def with_policy(config: RunConfig, policy: str) -> RunConfig:
    """`config` with the augmentation of the policy called so; empty: its own. Raises UnknownNameError."""
    return config.model_copy(update={"augment": get_policy(policy).config}) if policy else config


def refuse_policy(policy: str) -> None:
    """Raise UsageError for a policy that a resumed run is given."""
    if policy:
        raise UsageError(
            "A resumed run keeps its augmentation.\nLeave --policy out, or start a new run with another --out."
        )


def refuse_other_ways(settings: Settings) -> None:
    """Raise UsageError where a setting would go past the option that chooses more than that value."""
    for key in assigned_keys(settings):
        if key in RunConfig.elsewhere:
            raise UsageError(f"'{key}' cannot be given by {where_set(settings, key)}: {RunConfig.elsewhere[key]}.")


def refuse_test_fraction(settings: Settings) -> None:
    """Raise UsageError where a part to be judged on is asked for beside folds."""
    if "split.test_fraction" in dict(assignments(settings)):
        raise UsageError(
            "With --folds no part is held out, so split.test_fraction would change nothing.\nLeave one of them out."
        )


def as_text(given: object) -> str:
    """A path or a name as the text that a configuration holds. Raises UsageError for what is held in memory, which has
    such a name only while a verb runs (`core/in_memory.py`)."""
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    raise UsageError(
        f"A {type(given).__name__} in memory has no name that a configuration could hold.\n"
        f"Give the request to a verb, such as api.train(request), which names it."
    )


@contextmanager
def named_train(request: TrainRequest) -> Iterator[TrainRequest]:
    """`request` with names in place of images and a network in memory, known by them in the enclosed work."""
    with known_source(request.source) as source, known_network(request.model) as model:
        yield replace(request, source=source, model=model)


def asked_for(request: TrainRequest, begun: RunConfig) -> RunConfig:
    """The configuration that `request` would have of a run that was `begun`."""
    refuse_policy(request.policy)
    wanted = begun.with_overrides(request.settings)
    if request.teachers:
        teachers = tuple(os.fspath(run) for run in request.teachers)
        wanted = wanted.model_copy(update={"distill": wanted.distill.model_copy(update={"teachers": teachers})})
    asked = {
        "source": as_text(request.source),
        "model": registered_name(as_text(request.model)),
        "recipe": request.recipe,
    }
    numbers = {"epochs": request.epochs, "seed": request.seed}
    changes: dict[str, str | int] = {key: value for key, value in asked.items() if value}
    changes |= {key: number for key, number in numbers.items() if number is not None}
    return wanted.model_copy(update=changes)
