"""A step in lanes: the gradient of the whole batch, the statistics of the lanes, and nothing of a step that fails."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from saccade.core.errors import ConfigError, DataError, TrainingError, UsageError
from saccade.core.ranks import Ranks
from saccade.core.runtime import Runtime, mix_seeds
from saccade.core.task import ONE_LABEL, Task
from saccade.core.types import Batch, Preprocessing
from saccade.data.loading.loader import lane_share
from saccade.runs.settings import write_settings
from saccade.train.config import RunConfig
from saccade.train.reduce import laid_out_as
from saccade.train.run_directory import RunFolder
from saccade.train.scale import keep_lanes, refuse_more_processes, settle_lanes
from saccade.train.step import TrainingStep

GREY = Preprocessing(channels="grey", input_height_px=8, input_width_px=8, mean=(0.5,), std=(0.5,))
SEVERAL = Task(kind="several labels")
NUMBER = Task(kind="number", mean=0.5, deviation=2.0)
NUM_IMAGES, LANES = 22, 4
BRANCHED_WEIGHT = 0.3


class Branched(nn.Module):
    """Two heads, the second of which only training uses."""

    def __init__(self, num_outputs: int, norm: bool = False) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, 4, 3), *([nn.BatchNorm2d(4)] if norm else []), nn.ReLU(), nn.Flatten()]
        self.body = nn.Sequential(*layers)
        self.head, self.side = nn.Linear(144, num_outputs), nn.Linear(144, num_outputs)

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        logits_BK: torch.Tensor = self.head(self.body(image_BCHW))
        return logits_BK

    def forward_train(self, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, list[tuple[float, torch.Tensor]]]:
        feature_BD = self.body(image_BCHW)
        return self.head(feature_BD), [(BRANCHED_WEIGHT, self.side(feature_BD))]


class Teacher:
    weight, seen = 0.4, ()

    def of_step(self, image_BCHW: torch.Tensor, logits_BK: torch.Tensor) -> torch.Tensor:
        return (logits_BK - image_BCHW.double().mean(dim=(1, 2, 3), keepdim=True)[:, :, 0, 0] / 255).square().mean()


def make_step(
    settings: str = "", task: Task = ONE_LABEL, lanes: int = LANES, model: nn.Module | None = None
) -> TrainingStep:
    torch.manual_seed(0)
    network = model or Branched(1 if task.is_number else 3)
    runtime = Runtime(device=torch.device("cpu"), precision=torch.float64, num_threads=1)
    config = RunConfig().with_overrides(["batch_size=22", f"scale.lanes={lanes}", *settings.split()])
    return TrainingStep(network.double(), config, GREY, runtime, task)


def make_batch(task: Task = ONE_LABEL, mixed: bool = False, num: int = NUM_IMAGES) -> Batch:
    draw = np.random.default_rng(0)
    image_BCHW = torch.from_numpy(draw.integers(0, 256, (num, 1, 8, 8), dtype=np.uint8))
    target = torch.from_numpy(draw.choice(3, num, p=(0.2, 0.3, 0.5)))
    if mixed:
        target = torch.from_numpy(draw.dirichlet((1, 1, 1), num).astype(np.float32))
    if task.is_several:
        target = torch.from_numpy((draw.random((num, 3)) < 0.4).astype(np.float32))
    if task.is_number:
        target = torch.from_numpy(draw.normal(0.5, 2, num))
    return Batch(image_BCHW=image_BCHW, target=target, index_B=np.arange(num))


def everything(step: TrainingStep) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in step.model.state_dict().items()}


WEIGHTS = torch.tensor([5.0, 1.0, 0.5])


@pytest.mark.parametrize(
    ("settings", "task", "mixed", "weight_K", "teacher"),
    [
        ("optimizer.name=sgd", ONE_LABEL, False, None, False),
        ("loss.label_smoothing=0.1 optimizer.clip_norm=0.1", ONE_LABEL, True, None, False),
        ("optimizer.name=adamw", ONE_LABEL, False, WEIGHTS, False),
        ("loss.focal_gamma=2", ONE_LABEL, True, WEIGHTS, False),
        ("", ONE_LABEL, False, None, True),
        ("loss.focal_gamma=1 loss.negative_gamma=4 loss.negative_margin=0.05", SEVERAL, False, WEIGHTS, False),
        ("", NUMBER, False, None, False),
        ("accumulate=8", ONE_LABEL, False, WEIGHTS, False),
    ],
)
def test_lanes_together_take_the_step_of_the_whole_batch(
    settings: str, task: Task, mixed: bool, weight_K: torch.Tensor | None, teacher: bool
):
    """Without batch statistics and dropout only the order of the sums is another one."""
    steps = [make_step(settings, task, lanes) for lanes in (1, LANES)]
    for step in steps:
        step.class_weight_K = weight_K
        step.extra_loss = Teacher() if teacher else None
        for number in range(3):
            assert step.run(make_batch(task, mixed), number, 1.0)
    whole, parted = steps
    assert whole.reduction is None
    for name, value in everything(whole).items():
        torch.testing.assert_close(everything(parted)[name], value, rtol=1e-5, atol=1e-8)
    assert parted.totals.means() == pytest.approx(whole.totals.means(), rel=1e-6)
    assert int(parted.totals.num_seen) == 3 * NUM_IMAGES


@pytest.mark.parametrize("num_parts", [1, 2])
def test_running_statistics_move_once_towards_the_mean_of_the_lanes(num_parts: int):
    model = Branched(3, norm=True)
    step = make_step(f"accumulate={LANES * num_parts if num_parts > 1 else 1}", model=model)
    norm = model.body[1]
    norm.momentum = 0.3
    with torch.no_grad():
        input_BCHW = (make_batch().image_BCHW.double() / 255 - 0.5) / 0.5
        map_BCHW = model.body[0](input_BCHW).numpy()
    means, variances = [], []
    for lane in range(LANES):
        start, stop = lane_share(NUM_IMAGES, lane, LANES)
        parts = np.array_split(map_BCHW[start:stop], num_parts)
        means.append(np.mean([part.mean(axis=(0, 2, 3)) for part in parts], axis=0))
        variances.append(np.mean([part.var(axis=(0, 2, 3), ddof=0) * _unbiased(part) for part in parts], axis=0))
    assert step.run(make_batch(), 0, 1.0)
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.3 * np.mean(means, axis=0), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.numpy(), 0.7 + 0.3 * np.mean(variances, axis=0), rtol=1e-5)
    assert (int(norm.num_batches_tracked), norm.momentum) == (1, 0.3)


def _unbiased(part_BCHW: np.ndarray) -> float:
    count = part_BCHW.size / part_BCHW.shape[1]
    return count / (count - 1)


def test_every_lane_draws_by_its_own_number(monkeypatch: pytest.MonkeyPatch):
    step, seeds = make_step(), []
    real: Callable = step._loss

    def loss(*arguments: Any) -> Any:
        seeds.append(torch.initial_seed())
        return real(*arguments)

    monkeypatch.setattr(step, "_loss", loss)
    assert step.run(make_batch(), 5, 1.0)
    assert seeds == [mix_seeds(step.config.seed, 5, lane) for lane in range(LANES)]


def test_a_lane_whose_loss_is_not_finite_lets_no_lane_take_the_step(monkeypatch: pytest.MonkeyPatch):
    step = make_step("optimizer.name=adamw average.decay=0.9", model=Branched(3, norm=True))
    assert step.run(make_batch(), 0, 1.0)
    before, real = everything(step), step._inputs
    calls = iter(range(100))
    factors = [1.0, float("inf"), 1.0, 1.0]
    monkeypatch.setattr(step, "_inputs", lambda image_BCHW: real(image_BCHW) * factors[next(calls)])
    assert not step.run(make_batch(), 1, 1.0)
    assert all(torch.equal(value, before[name]) for name, value in everything(step).items())
    assert all(parameter.grad is None for parameter in step.model.parameters())
    assert int(step.totals.num_seen) == NUM_IMAGES
    monkeypatch.undo()
    assert step.run(make_batch(), 1, 1.0)
    assert all(torch.isfinite(value).all() for value in everything(step).values())


def test_where_memory_runs_out_in_a_lane_every_lane_is_computed_in_more_parts(monkeypatch: pytest.MonkeyPatch):
    step = make_step(model=Branched(3, norm=True))
    real: Callable = step._loss
    sizes: list[int] = []

    def loss(image_BCHW: torch.Tensor, *others: Any) -> Any:
        found = real(image_BCHW, *others)
        sizes.append(len(image_BCHW))
        if len(image_BCHW) > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return found

    monkeypatch.setattr(step, "_loss", loss)
    limit = 5
    assert step.run(make_batch(), 0, 1.0)
    assert step.num_micro_batches == 2 * LANES
    assert sizes == [4, 6, 2, 2, 3, 3, 3, 3, 3, 3]
    assert int(step.model.body[1].num_batches_tracked) == 1
    limit = 1
    before = everything(step)
    with pytest.raises(TrainingError) as error:
        step.run(make_batch(), 1, 1.0)
    assert error.value.message == (
        "Memory ran out in a step of 2 to 3 images of 8x8 pixels at a time: DefaultCPUAllocator: can't allocate "
        "memory.\n"
        "What was saved is intact. Free memory and run again with --resume, or start a new run with a smaller network "
        "or --set input.size_px=32."
    )
    assert all(torch.equal(value, before[name]) for name, value in everything(step).items())


def test_what_fails_in_a_lane_leaves_no_trace_and_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch):
    step = make_step(model=Branched(3, norm=True))
    before, real = everything(step), step._inputs
    calls = iter(range(100))

    def fail(image_BCHW: torch.Tensor) -> torch.Tensor:
        if next(calls) == 2:
            raise ZeroDivisionError("in lane 2")
        return real(image_BCHW)

    monkeypatch.setattr(step, "_inputs", fail)
    with pytest.raises(ZeroDivisionError, match="^in lane 2$"):
        step.run(make_batch(), 0, 1.0)
    assert all(torch.equal(value, before[name]) for name, value in everything(step).items())
    assert all(parameter.grad is None for parameter in step.model.parameters())
    with pytest.raises(DataError, match="^gone$"):
        step.give_up(DataError("gone"))


def refusal(model: nn.Module, **runtime: Any) -> str:
    machine = Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=1, **runtime)
    config = RunConfig().with_overrides(["batch_size=22", "scale.lanes=4"])
    try:
        step = TrainingStep(model, config, GREY, machine)
        step.class_weight_K, step.extra_loss = torch.ones(3), Teacher()
        step.run(make_batch(), 0, 1.0)
    except ConfigError as error:
        return error.message
    return "nothing"


def test_what_lanes_cannot_compute_is_refused_in_words():
    assert refusal(Branched(3), cuda_graphs=True) == (
        "runtime.cuda_graphs records whole batches, and with scale.lanes above 1 each is computed in lanes.\n"
        "Leave one of them out."
    )
    synchronised = nn.Sequential(nn.SyncBatchNorm(1), nn.Flatten(), nn.Linear(64, 3))
    assert refusal(synchronised) == (
        "The layer '0' (SyncBatchNorm) waits for every process in the middle of a lane, and lanes are computed one "
        "after the other.\nTake BatchNorm, which sees a lane at a time."
    )
    assert refusal(Branched(3)) == (
        "Teachers and loss.class_weights divide by different sums, and with scale.lanes above 1 a step divides once.\n"
        "Leave one of them out, or train in one process with --set scale.lanes=1."
    )
    remembers = nn.Sequential(nn.InstanceNorm2d(1, track_running_stats=True), nn.Flatten(), nn.Linear(64, 3))
    step = make_step(model=remembers)
    before = everything(step)
    with pytest.raises(ConfigError) as error:
        step.run(make_batch(), 0, 1.0)
    assert error.value.message == (
        "The network changes '0.running_mean' while it computes, which is not batch normalisation, and lanes that are "
        "computed apart could not agree on it.\nTrain it in one process with --set scale.lanes=1."
    )
    assert all(torch.equal(value, before[name]) for name, value in everything(step).items())


def test_a_gradient_lies_in_memory_as_its_parameter_does():
    for value in (
        torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
        torch.randn(4, 1, 3, 3),
        torch.randn(7, 2).T,
        torch.randn(()),
        torch.randn(4, 6)[:, ::2],
    ):
        vector = torch.zeros(value.numel())
        view = laid_out_as(value, vector)
        view.copy_(value)
        assert torch.equal(view, value)
        assert vector.sum() == pytest.approx(float(value.sum()), abs=1e-5)
        if value.stride() != (6, 2):
            assert view.stride() == value.stride()


def of_group(world_size: int) -> Runtime:
    ranks = Ranks(rank=0, world_size=world_size)
    return Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=3, ranks=ranks)


def test_lanes_are_settled_when_a_run_begins():
    config = RunConfig()
    assert settle_lanes(config, of_group(1)) == config  # one process, as ever
    settled = settle_lanes(config, of_group(3))
    assert (settled.scale.lanes, settled.runtime.num_threads) == (8, 3)
    asked = RunConfig().with_overrides(["scale.lanes=5"])
    assert settle_lanes(asked, of_group(1)).runtime.num_threads == 3
    assert settle_lanes(asked, of_group(2)).scale.lanes == 5
    fast = RunConfig().with_overrides(["scale.exact=false"])
    assert [settle_lanes(fast, of_group(number)).scale.lanes for number in (1, 3)] == [0, 3]
    with pytest.raises(ConfigError) as error:
        settle_lanes(RunConfig(batch_size=4), of_group(3))
    assert error.value.message == (
        "3 processes share every batch in 4 lanes of two images or more, and batch_size is 4.\n"
        "Take --set batch_size=8, or fewer processes."
    )


def test_a_run_goes_on_in_the_lanes_and_threads_it_began_with_whatever_a_plan_says(tmp_path: Path):
    begun = settle_lanes(RunConfig(source="digits"), of_group(3))
    write_settings(tmp_path / "config.toml", begun, begun)
    kept = keep_lanes(RunConfig(source="digits"), RunFolder(path=tmp_path, resume=True))
    assert kept == begun
    of_one = RunConfig(source="digits")
    write_settings(tmp_path / "config.toml", of_one, of_one)
    planned = of_one.with_overrides(["runtime.num_threads=2", "scale.lanes=4"])
    kept = keep_lanes(planned, RunFolder(path=tmp_path, resume=True))
    assert (kept.num_lanes, kept.runtime.num_threads) == (1, 2)


def test_more_processes_than_lanes_are_refused():
    refuse_more_processes(settle_lanes(RunConfig(), of_group(8)), of_group(8).ranks)
    with pytest.raises(UsageError) as error:
        refuse_more_processes(RunConfig(), of_group(2).ranks)
    assert error.value.message == (
        "The run computes every batch in 1 lane, and 2 processes cannot share that: each needs a lane.\n"
        "Start 1 at most, or begin a new run with another --out."
    )
    assert re.match("The run computes every batch in 8 lanes, and 9 ", _more(9))
    with pytest.raises(UsageError, match="^The run computes every batch in 1 lane, and 2 processes cannot share that"):
        TrainingStep(Branched(3), RunConfig(), GREY, of_group(2))  # or each would train a run of its own


def _more(world_size: int) -> str:
    with pytest.raises(UsageError) as error:
        refuse_more_processes(RunConfig().with_overrides(["scale.lanes=8"]), of_group(world_size).ranks)
    return error.value.message
