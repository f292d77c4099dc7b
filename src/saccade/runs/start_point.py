"""`transfer.json`: where the fine-tuning of a run starts, and what was measured to decide it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from ..models.surgery import ALL
from .files import Count, Finite, Rate, RunFile, Seconds, Text, Texts, read_json_file
from .names import TRANSFER

NO_BETTER_EPOCH = "No epoch was better than the fitted layer, which is kept."


class Rung(RunFile):
    """What was measured at one depth: `num_correct` of `num_judged` images left out, after fits on `num_images`."""

    depth: Text
    trained: Text = Field(description="linear: a dense layer; hidden: one of 256 units before it; tail: all behind")
    num_images: Count
    num_judged: Annotated[Count, Field(ge=1)]
    num_correct: Count
    low: Rate
    high: Rate
    num_parameters: Count
    seconds: Seconds
    p_better: Rate = Field(1.0, description="one-sided p-value against the best depth until then")

    @property
    def accuracy(self) -> float:
        return self.num_correct / self.num_judged

    @model_validator(mode="after")
    def _is_a_share(self) -> "Rung":
        if self.num_correct > self.num_judged:
            raise ValueError(f"num_correct {self.num_correct} is more than num_judged {self.num_judged}")
        return self


class Backbone(RunFile):
    """A network that was compared with others: `accuracy` on `num_judged` training images left out of the fit (0: it
    was not within the budget), milliseconds of an answer for one image here, and what its weights take."""

    name: Text
    weights: Text
    num_judged: Count
    accuracy: Rate
    low: Rate
    high: Rate
    ms: Seconds = Field(description="milliseconds of one answer on the machine of the run")
    megabytes: Seconds = Field(description="of the weight file")
    features_s: Seconds = Field(description="seconds of features and fits")
    chosen: bool


class StartPoint(RunFile):
    """`transfer.json`: the depth, why, what was measured, and how good the start is. Accuracies are fractions."""

    frozen: Text = Field(description="everything up to this part stays as it came")
    sentence: Text = Field(description="why, for a person")
    rungs: Annotated[tuple[Rung, ...], Field(strict=False, max_length=10_000)] = Field(
        (), description="what the ladder measured; empty where the depth was given"
    )  # of several labels, an image is right where every label is, of numbers where the answer is near; also below
    held_out_accuracy: Rate = Field(description="of the fitted last layer, on training images left out in turn")
    penalty: Finite = Field(description="of the fitted last layer, chosen by cross-validation")
    validation_accuracy: float = Field(
        -1.0, ge=-1, le=1, description="of the start, on the validation images; -1: none there"
    )
    validation_loss: Finite = Field(0.0, description="of the start, on the validation images")
    validation_map: float = Field(-1.0, ge=-1, le=1, description="the same of several labels; -1: none, or one label")
    held_out_mae: float = Field(-1.0, ge=-1, le=1e30, description="of numbers: mean absolute error; -1: no numbers")
    validation_mae: float = Field(-1.0, ge=-1, le=1e30, description="the same on the validation images; -1: none")
    features_s: Seconds = Field(description="seconds spent in features")
    heads_s: Seconds = Field(description="seconds spent in fits: choosing the depth, then the last layer")
    depth_s: Seconds = Field(0.0, description="seconds of these spent in choosing the depth")
    num_computed: Count = Field(description="images that passed through the frozen part")
    num_found: Count = Field(description="images whose features lay in the cache")
    backbones: Annotated[tuple[Backbone, ...], Field(strict=False, max_length=1_000)] = Field(
        (), description="the networks that were compared; empty where one was given"
    )
    backbone_sentence: Text = Field("", description="why that network, for a person; empty as above")
    epochs: Count = Field(
        0, description="of fine-tuning, where fewer than configured are enough or fit the time; 0: those"
    )
    judging_s: Seconds = Field(0.0, description="seconds that judging at the end was expected to take")
    expected_s: Annotated[dict[Text, Seconds], Field(max_length=100)] = Field(
        {}, description="seconds of each part of the command as they were expected; empty: too short to ask"
    )
    notes: Texts = Field((), description="what a person was told on the way")
    data_digest: Text = Field(description="digest of the training images and their labels")


def read_start(run_dir: Path) -> StartPoint | None:
    """What `find_start` wrote into the run, None where it has not finished. Raises CheckpointError."""
    return read_json_file(StartPoint, run_dir / TRANSFER, "Remove the file; --resume then measures again.")


def validation_use(start: StartPoint, num_fitted: int, has_folds: bool = False) -> str:
    """What the validation images were for where only a last layer was fitted, so that no epoch was chosen; `num_fitted`
    of them fitted the temperature, or of several labels what is in its place; runs of folds learned from them. Empty
    where an epoch was chosen, or there are none."""
    if start.frozen != ALL or start.validation_accuracy < 0:
        return ""
    if num_fitted:
        images = "validation image" if num_fitted == 1 else "validation images"
        what = "temperature of the confidences" if start.validation_map < 0 else "calibration and the thresholds"
        what = "width of the intervals" if start.held_out_mae >= 0 else what
        used = "this run learned nothing else from them" if has_folds else "were used for nothing else"
        return f"The {num_fitted:,} {images} fitted the {what}, and {used}."
    return "No epoch was chosen by the validation images, and no temperature was fitted to them."
