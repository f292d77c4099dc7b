"""What a run is made of: every value a recipe sets and a person can override, with its unit."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ..core.config import FrozenConfig
from ..core.errors import brief, printable
from ..core.ranks import ALONE, Ranks
from ..core.runtime import RuntimeConfig
from ..core.types import Preprocessing
from ..data.augmentation_policy import AugmentConfig
from ..data.folds import MAX_FOLDS
from ..data.loading.loader import MAX_LANES, LoaderConfig
from .lanes import lanes_of

Fraction = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]

UNWEIGHTED, BALANCED = "none", "balanced"
MAX_CLASS_WEIGHT = 1_000_000


class InputConfig(FrozenConfig):
    """How the images are brought to the network."""

    size_px: int = Field(0, ge=0, le=2048, description="height and width of the input; 0: as the data suggest")
    width_px: int = Field(0, ge=0, le=2048, description="width of an input that is not square; 0: as high as wide")
    fit: Literal["auto", "crop", "pad", "squash"] = Field(
        "auto",
        description="how pictures of another shape are brought to the input: crop cuts out the centre, pad keeps all "
        "of a picture and puts the mean colour around it, squash changes its shape; auto: as weights say, else crop",
    )
    start_fraction: float = Field(
        1.0, gt=0, le=1, description="side of the first epoch's images over the full one: training on growing images"
    )
    full_from_fraction: Fraction = Field(0.8, description="part of the run from which images have their full side")
    channels: Literal["auto", "rgb", "grey", "bands"] = Field(
        "auto",
        description="auto: grey where every image is grey, bands where they have channels that are not colours; bands: "
        "every channel as it is, with its 16 bits where files have them; rgb and grey: what is shown of such images",
    )
    normalisation: Literal["auto", "measured", "imagenet"] = Field(
        "auto",
        description="mean and deviation of the training images, or ImageNet's; auto: measured, of weights their own",
    )

    @model_validator(mode="after")
    def _width_has_a_height(self) -> "InputConfig":
        if self.width_px and not self.size_px:
            raise ValueError(f"width_px {self.width_px} needs size_px beside it, which is then the height")
        return self

    @property
    def size_HW(self) -> tuple[int, int] | None:
        """Height and width in pixels that are asked for; None: as the data suggest."""
        return (self.size_px, self.width_px or self.size_px) if self.size_px else None


class SplitConfig(FrozenConfig):
    """How images without given splits are divided. Given splits always win."""

    test_fraction: float = Field(0.2, ge=0, le=0.9, description="part held out to judge the result")
    validation_fraction: float = Field(0.1, ge=0, le=0.9, description="part of the rest that chooses the epoch kept")
    seed: int = Field(-1, ge=-1, lt=2**31, description="how images are dealt out; -1: by the seed of the run")
    folds: int = Field(
        0, ge=0, le=MAX_FOLDS, description="folds that judge in place of a part that is held out; 0: none (--folds)"
    )
    fold: int = Field(0, ge=0, le=MAX_FOLDS, description="the fold that is held out; 0: none, of the run for use")

    @model_validator(mode="after")
    def _fold_is_one_of_the_folds(self) -> "SplitConfig":
        if self.folds == 1 or self.fold > self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds} folds cannot be held out")
        return self


class OptimizerConfig(FrozenConfig):
    """How gradients become steps. Biases and normalisation are never decayed."""

    name: Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "muon"] = Field(
        "nesterov", description="update rule; muon serves matrices and filters, Nesterov the rest"
    )
    learning_rate: float = Field(0.05, gt=0, description="peak learning rate")
    momentum: Momentum = Field(0.9, description="momentum; the first beta of the Adam family")
    second_momentum: Momentum = Field(0.999, description="decay of squared gradients in the Adam family")
    rmsprop_decay: Momentum = Field(0.99, description="decay of squared gradients in RMSProp, which starts from zero")
    weight_decay: float = Field(5e-4, ge=0, description="decay of weights (decoupled in adamw and muon)")
    other_learning_rate: float = Field(0.05, gt=0, description="peak rate of what muon does not serve")
    other_momentum: Momentum = Field(0.9, description="momentum of what muon does not serve")
    other_weight_decay: float = Field(5e-4, ge=0, description="decay of the matrices that muon does not serve")
    muon_iterations: int = Field(5, ge=1, le=20, description="Newton-Schulz iterations of muon's orthogonalisation")
    unit_filters: bool = Field(
        False, description="muon: give every filter bank the norm of orthonormal rows before each step (airbench)"
    )
    stem_fraction: Fraction = Field(1.0, description="part of the run, in whole epochs, that trains the first layers")
    layer_rate_factor: float = Field(
        1.0, gt=0, le=1, description="rate of each part of the network over that of the part after it"
    )
    clip_norm: float = Field(0.0, ge=0, description="gradients are scaled down to this norm; 0: never")


class ScheduleConfig(FrozenConfig):
    """How the learning rate moves, as a factor of its peak over the whole run."""

    name: Literal["constant", "step", "cosine", "triangular"] = Field("cosine", description="shape after the warm-up")
    warmup_fraction: Fraction = Field(0.05, description="part of the run that rises linearly to the peak")
    final_factor: Fraction = Field(0.0, description="factor at the end (cosine, triangular)")
    step_fractions: tuple[Fraction, ...] = Field((0.5, 0.75), description="where the step schedule drops")
    step_factor: Fraction = Field(0.1, description="what each drop multiplies by")


class LossConfig(FrozenConfig):
    """Softmax cross-entropy, of several labels binary cross-entropy of each class, and their softenings."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="probability spread evenly over all classes")
    class_weights: Literal["none", "balanced"] | dict[str, float] = Field(
        "none",
        description="balanced: weigh images by the inverse of how often their class occurs; or weights by class name, "
        "such as {crack = 5}, 1 for those that are not named. Of several labels, images that have the class weigh so",
    )
    focal_gamma: float = Field(
        0.0, ge=0, le=20, description="focal loss: each term times (1 - p)^gamma; 0: cross-entropy; 2 is usual"
    )
    negative_gamma: float = Field(
        -1.0,
        ge=-1,
        le=20,
        description="several labels: gamma of the labels an image has not, beside focal_gamma of those it has "
        "(asymmetric loss; 4 is usual); -1: focal_gamma for both",
    )
    negative_margin: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="several labels: taken off the probability of a label that an image has not, so that easy ones "
        "count nothing (asymmetric loss; 0.05 is usual)",
    )

    @field_validator("class_weights", mode="before")
    @classmethod
    def _is_a_word_or_a_table(cls, value: object) -> object:
        if value in (UNWEIGHTED, BALANCED):
            return value
        if not isinstance(value, dict) or not value:
            raise ValueError("it must be none, balanced, or a table of weights by class name, such as {crack = 5}")
        for name, weight in value.items():
            is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not is_number or not 0 < weight <= MAX_CLASS_WEIGHT:
                raise ValueError(f"the weight of '{brief(name)}' is a number above 0, at most {MAX_CLASS_WEIGHT:,}")
        return value


class LabelsConfig(FrozenConfig):
    """Several labels an image: from which probability on a class is said. Chosen on the validation images."""

    threshold_for: Literal["f1", "precision", "recall"] = Field(
        "f1", description="what each class's threshold is chosen for: the best F1, or a wanted precision or recall"
    )
    wanted: Fraction = Field(0.9, description="the precision or recall that is wanted, a fraction")


class DistillConfig(FrozenConfig):
    """Learning from what other runs say (Hinton et al. 2015, arXiv:1503.02531)."""

    teachers: tuple[str, ...] = Field((), description="runs, or the folder of an ensemble, to learn from")
    weight: Fraction = Field(0.0, description="part of the loss that is the teachers'; the labels have the rest")
    temperature: float = Field(2.0, gt=0, le=100, description="logits of both sides are divided by it")
    teacher_digest: str = Field("", description="of the teachers' weights; found when the run begins")

    @model_validator(mode="after")
    def _weight_and_teachers_go_together(self) -> "DistillConfig":
        if self.weight > 0 and not self.teachers:
            raise ValueError("there is nobody to learn from; name a run: --teacher RUN")
        if self.teachers and self.weight == 0:
            raise ValueError("weight is 0, so the teachers would say nothing; 0.5 is usual")
        return self


class AverageConfig(FrozenConfig):
    """A running average of the weights, which is then what is judged and shipped."""

    decay: Momentum = Field(0.0, description="per update; 0: no average")
    every_steps: int = Field(5, ge=1, description="steps between updates")
    lookahead: bool = Field(
        False, description="give the average back to the network at each update (Zhang et al. 2019, arXiv:1907.08610)"
    )


class StopConfig(FrozenConfig):
    """When training ends or saves other than by the number of epochs."""

    patience_epochs: int = Field(0, ge=0, description="end after this many epochs without a better one; 0: never")
    save_every_s: float = Field(60.0, gt=0, description="longest time between checkpoints, in seconds")
    max_bad_steps: int = Field(3, ge=0, description="steps with a loss that is not finite, in a row, before the end")


class TransferConfig(FrozenConfig):
    """A network that begins with the weights of another. `saccade transfer` fills in what is found."""

    backbone: str = Field("", description="registered network the weights belong to; empty: nothing is transferred")
    weights: str = Field("", description="a .safetensors file, a folder with one, or hub:OWNER/NAME@COMMIT")
    weights_sha256: str = Field("", description="of the weight file; found when the run begins")
    preprocessing: Preprocessing | None = Field(None, description="how the weights expect their pixels")
    freeze: str = Field("auto", description="auto, all, none, or the part up to which nothing is trained")
    frozen: str = Field("", description="the depth that was chosen; found by the run")
    head: Literal["loglinear", "linear"] = Field(
        "loglinear", description="last layer: a dense one, on log(1 + x) of the means or on the means themselves"
    )
    features: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="type of the features kept on disk; auto: that of the machine's fast matrix products"
    )
    views: int = Field(1, ge=1, le=100, description="fixed augmented views of each training image for frozen features")
    ladder_images: int = Field(4000, ge=20, description="at most this many images choose the depth")
    ladder_panels: bool = Field(
        False,
        description="for the picture alone: also a last layer behind each depth, and depths on a quarter and a "
        "sixteenth of the images",
    )
    enough_images: int = Field(
        0,
        ge=0,
        description="images that a fine-tuning shows over all its epochs: where these show more, there are fewer of "
        "them, but three at least; 0: as many epochs as asked",
    )
    minutes: float = Field(
        0.0, ge=0, le=100_000, description="minutes from the start to the verdict; 0: as long as it takes"
    )
    thaw_fraction: Fraction = Field(
        0.0, description="part of the run over which parts are released one by one, the last first (gradual unfreezing)"
    )


class ScaleConfig(FrozenConfig):
    """How several processes compute one run together."""

    lanes: int = Field(
        0,
        ge=0,
        le=MAX_LANES,
        description="fixed parts of every batch, which as many processes at most can share; 0: 1 in a run that begins "
        "on one process, else the smallest power of two with one for each, at least 8 where a batch is large enough",
    )
    exact: bool = Field(
        True,
        description="add gradients up in one order, so that any number of processes gives the same bits; false: in the "
        "fastest order",
    )
    timeout_s: float = Field(
        15.0,
        gt=0,
        le=86_400,
        description="a process that says nothing for so long, or is waited for so long in a step, does not answer, in "
        "seconds",
    )
    max_restarts: int = Field(
        3, ge=0, le=1000, description="how often --processes starts its processes again after one was killed"
    )


class RunConfig(FrozenConfig):
    """One run, complete: the same configuration, data and machine give the same bits."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "source": "the images are the first argument, SOURCE",
        "model": "a network is chosen with --model, and its recipe with it",
        "recipe": "a recipe is chosen with --recipe",
        "augment.policy": "a policy is chosen with --policy; 'saccade augmentations' lists them",
        "split.folds": "folds are asked for with --folds",
        "split.fold": "folds are asked for with --folds",
        "policy": "a policy is chosen with --policy; 'saccade augmentations' lists them",
        "split.on_bad_image": "what a bad image does is loader.on_bad_image, or --on-bad-image",
        "loader.batch_size": "the images of a step are batch_size",
        "loader.lanes": "the parts of a batch are scale.lanes",
        "loader.first_lane": "each process makes its own parts of a batch",
        "loader.last_lane": "each process makes its own parts of a batch",
        "transfer.backbone": "a pretrained network is chosen with --backbone",
        "transfer.weights": "weights are chosen with --weights",
        "transfer.weights_sha256": "the digest of the weights is found when the run begins",
        "transfer.frozen": "how deep a network is frozen is chosen with --freeze",
    }

    usual_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("lr", "lr0", "base_lr"), "optimizer.learning_rate"),
        **dict.fromkeys(("wd", "decay"), "optimizer.weight_decay"),
        **dict.fromkeys(("optim", "optimizer", "optimiser"), "optimizer.name"),
        **dict.fromkeys(("grad_clip", "clip_grad", "clip", "max_grad_norm"), "optimizer.clip_norm"),
        **dict.fromkeys(("scheduler", "lr_scheduler", "schedule", "sched"), "schedule.name"),
        **dict.fromkeys(("warmup", "warmup_epochs", "warmup_steps"), "schedule.warmup_fraction"),
        **dict.fromkeys(("bs", "batch", "samples_per_gpu"), "batch_size"),
        **dict.fromkeys(("accum", "gradient_accumulation", "gradient_accumulation_steps"), "accumulate"),
        **dict.fromkeys(("size", "img_size", "image_size", "imgsz", "input_size", "resolution"), "input.size_px"),
        **dict.fromkeys(("height", "height_px"), "input.size_px"),
        **dict.fromkeys(("workers", "num_workers"), "loader.threads"),
        **dict.fromkeys(("amp", "fp16", "bf16", "half", "mixed_precision", "dtype"), "runtime.precision"),
        **dict.fromkeys(("gpu", "gpus", "cuda"), "runtime.device"),
        **dict.fromkeys(("early_stopping", "early_stop"), "stop.patience_epochs"),
        **dict.fromkeys(("ema", "model_ema", "swa"), "average.decay"),
        **dict.fromkeys(("val_split", "val_fraction", "validation_split"), "split.validation_fraction"),
        **dict.fromkeys(("test_split", "test_size"), "split.test_fraction"),
        **dict.fromkeys(("flip", "hflip", "fliplr", "horizontal_flip"), "augment.mirror.probability"),
        **dict.fromkeys(("vflip", "flipud", "vertical_flip"), "augment.vertical_mirror.probability"),
        **dict.fromkeys(("degrees", "rotate"), "augment.rotation.max_degrees"),
        **dict.fromkeys(("random_seed", "random_state"), "seed"),
        **dict.fromkeys(("arch", "architecture", "network"), elsewhere["model"]),
        **dict.fromkeys(("augmentation", "augmentations", "aug"), elsewhere["policy"]),
        **dict.fromkeys(("dropout", "drop_rate"), "dropout is a part of the network, which --model names or writes"),
        **dict.fromkeys(("pretrained", "finetune"), "a pretrained network is adapted by: saccade transfer SOURCE"),
        **dict.fromkeys(("num_classes", "classes"), "the classes are those of the images, SOURCE"),
        **dict.fromkeys(("out", "output", "output_dir", "project"), "the folder of the run is chosen with --out"),
        "resume": "a run goes on with --resume",
    }

    source: str = Field("", description="the images: a folder, a file or a built-in set")
    model: str = Field("lenet5", description="a network's name, or its one-line notation")
    recipe: str = Field("default", description="the recipe these values started from")
    epochs: int = Field(10, ge=1, le=100_000, description="passes over the training images")
    seed: int = Field(0, ge=0, lt=2**31, description="everything random derives from it")
    batch_size: int = Field(128, ge=1, le=65_536, description="images a step")
    accumulate: int = Field(
        1, ge=1, le=4096, description="parts a step is computed in: the same step, but for batch statistics"
    )
    stochastic_depth: float = Field(
        -1.0,
        ge=-1,
        lt=1,
        description="probability that a step leaves out the branch of the last residual block, rising from 0 at the "
        "first; -1: as the network has it",
    )
    input: InputConfig = InputConfig()
    split: SplitConfig = SplitConfig()
    augment: AugmentConfig = AugmentConfig()
    loader: LoaderConfig = LoaderConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loss: LossConfig = LossConfig()
    labels: LabelsConfig = LabelsConfig()
    distill: DistillConfig = DistillConfig()
    average: AverageConfig = AverageConfig()
    transfer: TransferConfig = TransferConfig()
    stop: StopConfig = StopConfig()
    scale: ScaleConfig = ScaleConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @property
    def num_lanes(self) -> int:
        """The parts that every batch is computed in: 1 where none were asked for and none were settled."""
        return self.scale.lanes or 1

    def loader_of(self, ranks: Ranks = ALONE) -> LoaderConfig:
        """How one of the processes that train makes its lanes of every batch."""
        lanes = lanes_of(ranks.rank, ranks.world_size, self.num_lanes)
        own = {"lanes": self.num_lanes, "first_lane": lanes.start, "last_lane": lanes.stop - 1}
        return self.loader.model_copy(update={"batch_size": self.batch_size, **own})

    @property
    def verb(self) -> str:
        """The command that begins and resumes such a run."""
        return "transfer" if self.transfer.backbone else "train"

    @model_validator(mode="after")
    def _names_can_be_written(self) -> "RunConfig":
        for name in (self.source, self.transfer.weights):
            if not name.isascii() and name != name.encode("utf-8", "ignore").decode():
                raise ValueError(
                    f"the name {printable(name)} is not UTF-8 text, which the files of a run are: rename it, or give "
                    f"it through a link"
                )
        return self

    @model_validator(mode="after")
    def _classes_are_balanced_once(self) -> "RunConfig":
        if self.loss.class_weights == BALANCED and self.loader.sampling == "balanced":
            raise ValueError(
                "loader.sampling=balanced and loss.class_weights=balanced each make rare classes count as much as "
                "common ones, and both together make them count for more: leave one out"
            )
        return self

    @model_validator(mode="after")
    def _batches_can_be_cut(self) -> "RunConfig":
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate {self.accumulate} is more than the batch size {self.batch_size}")
        return self

    @model_validator(mode="after")
    def _lanes_fit_the_batch(self) -> "RunConfig":
        if self.scale.lanes > 1 and self.batch_size < 2 * self.scale.lanes:
            raise ValueError(
                f"scale.lanes {self.scale.lanes} needs a batch_size of {2 * self.scale.lanes} or more, two images a "
                f"lane, and it is {self.batch_size}"
            )
        return self
