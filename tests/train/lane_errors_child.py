"""One of the processes of `test_lane_errors.py`: what goes wrong in one of them, and what it and the others say."""

import json
from typing import Any

import numpy as np
import torch
from torch import nn

from saccade.core.errors import DataError, SaccadeError
from saccade.core.ranks import Ranks, joined_group
from saccade.core.runtime import Runtime
from saccade.core.types import Batch, Preprocessing
from saccade.train.config import RunConfig
from saccade.train.step import TrainingStep

GREY = Preprocessing(channels="grey", input_height_px=8, input_width_px=8, mean=(0.5,), std=(0.5,))


def make_step(ranks: Ranks, settings: str = "") -> TrainingStep:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    runtime = Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=1, ranks=ranks)
    config = RunConfig().with_overrides(["batch_size=24", "scale.lanes=6", *settings.split()])
    return TrainingStep(network, config, GREY, runtime)


def make_batch(rank: int) -> Batch:
    draw = np.random.default_rng(rank)
    image_BCHW = torch.from_numpy(draw.integers(0, 256, (8, 1, 8, 8), dtype=np.uint8))
    return Batch(image_BCHW=image_BCHW, target=torch.arange(8) % 3, index_B=np.arange(8), lane_sizes=(4, 4))


def weights_after(ranks: Ranks, settings: str) -> list[float]:
    """All weights and statistics after three steps."""
    step = make_step(ranks, settings)
    for number in range(3):
        assert step.run(make_batch(ranks.rank), number, 1.0)
    return torch.cat([value.double().flatten() for value in step.model.state_dict().values()]).tolist()


def said(work: Any) -> list[object]:
    try:
        return ["done", work()]
    except SaccadeError as error:
        return [type(error).__name__, error.message]
    except ArithmeticError as error:
        return [type(error).__name__, str(error)]


def main() -> None:
    torch.set_num_threads(1)
    with joined_group(30.0) as ranks:
        step, batch = make_step(ranks), make_batch(ranks.rank)
        real = step._loss
        begun = {name: value.clone() for name, value in step.model.state_dict().items()}

        def disturbed(kind: str) -> list[object]:
            def loss(image_BCHW: torch.Tensor, *others: Any) -> Any:
                if ranks.rank == 1 and kind == "error":
                    raise ZeroDivisionError("no\nreason")
                if ranks.rank == 2 and kind == "memory" and len(image_BCHW) > 2:
                    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
                if ranks.rank == 2 and kind == "no memory at all":
                    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
                return real(image_BCHW, *others)

            step._loss = loss  # type: ignore[method-assign]
            return said(lambda: step.run(batch, 0, 1.0))

        def reading() -> None:
            if ranks.rank == 2:
                step.give_up(DataError("'a.png' is cut off.\nRepair it."))
            step.run(batch, 0, 1.0)

        heard: dict[str, object] = {
            "error": disturbed("error"),
            "no memory at all": disturbed("no memory at all"),
            "reading": said(reading),
        }
        heard["untouched"] = all(torch.equal(value, begun[name]) for name, value in step.model.state_dict().items())
        step.signals = (143 if ranks.rank == 1 else 0, int(ranks.rank == 2))
        heard["signals"] = [disturbed("nothing"), list(step.signals)]
        step.signals, step.num_micro_batches = (0, 0), 1
        heard["memory"] = [disturbed("memory"), step.num_micro_batches, list(step.signals)]
        heard["fast"] = weights_after(ranks, "scale.exact=false")
        heard["exact"] = weights_after(ranks, "")
        print(json.dumps(heard), flush=True)


if __name__ == "__main__":
    main()
