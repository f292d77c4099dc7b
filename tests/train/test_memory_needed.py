"""A network that no batch fits is refused before it is made; where smaller parts of a batch fit, they are told."""

from pathlib import Path

import pytest

from saccade import api
from saccade.core.errors import ModelError
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model
from saccade.train import dry_run, memory_needed
from saccade.train.config import RunConfig
from saccade.train.memory_needed import fixed_bytes, parts_that_fit

HUGE = "fc 1000000 | fc 1000000"  # and a last layer of ten classes


@pytest.mark.parametrize("begin", [api.plan, api.train])
def test_a_network_that_never_fits_is_refused_before_it_is_made(begin: object, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(memory_needed, "free_memory_bytes", lambda: 8 * 10**9)
    request = api.TrainRequest(source="digits", model=HUGE, out=tmp_path / "run", settings=["input.size_px=8"])
    with pytest.raises(ModelError) as error:
        begin(request)
    num_parameters = (64 + 1) * 10**6 + (10**6 + 1) * 10**6 + (10**6 + 1) * 10
    needed_gb = 4 * 3 * num_parameters / 1e9  # weights, gradients, and what nesterov keeps
    assert error.value.message == (
        f"'{HUGE}' has {num_parameters:,} parameters. To train it takes at least {needed_gb:,.0f} GB of memory, for "
        f"weights, gradients and the state of nesterov; 8 GB are free.\n"
        f"Make its layers smaller: a smaller batch takes no less of that. 'saccade table' shows the parameters of each."
    )
    assert not (tmp_path / "run" / "checkpoint-last").exists()


def test_a_batch_that_does_not_fit_whole_is_told_with_the_parts_that_do(monkeypatch):
    request = api.TrainRequest(source="digits", model="conv 64 f3 | gap | fc 10", settings=["input.size_px=32"])
    whole = api.plan(request)
    assert whole.cost.short == ""
    assert whole.cost.left is not None
    free_bytes = whole.cost.training_bytes // 3
    monkeypatch.setattr(dry_run, "free_on", lambda device: free_bytes)
    told = api.plan(request)
    assert told.cost.left is None
    line = (
        f"memory  {dry_run.size(free_bytes)} are free here, less than a step takes, so none was measured; "
        "--set accumulate=4 computes each batch in 4 parts, which fit"
    )
    assert line in told.display_lines()
    monkeypatch.setattr(dry_run, "free_on", lambda device: 1000)
    assert api.plan(request).cost.short.endswith("; take smaller images, or a network with smaller maps")


def test_what_a_step_always_needs_is_counted_by_hand():
    spec = ModelSpec(num_classes=10, input_CHW=(1, 8, 8))
    model = resolve_model("fc 20", spec)
    weights = 65 * 20 + 21 * 10
    config = RunConfig().with_overrides(["optimizer.name=adamw"])
    assert fixed_bytes(model, config) == 4 * 4 * weights  # weights, gradients, and two moments
    averaged = config.with_overrides(["average.decay=0.9"])
    assert fixed_bytes(model, averaged) == 4 * 5 * weights
    step_bytes = fixed_bytes(model, config) + 64_000
    one_batch = config.with_overrides(["batch_size=64"])
    free = [fixed_bytes(model, config) + more for more in (40_000, 16_000, 2_000, 1_000)]
    assert [parts_that_fit(model, one_batch, step_bytes, free_bytes) for free_bytes in free] == [2, 4, 32, 0]
