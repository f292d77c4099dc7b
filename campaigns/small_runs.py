"""A training, two transfers and an ensemble of thirty small images, and every verb that reads one of them.

One of the transfers was stopped while it chose its depth.
"""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as tensor_bytes

from saccade import api
from saccade.core.errors import Stopped
from saccade.design.text import table_text
from saccade.models.architecture import ModelSpec, build_model
from saccade.train.progress import Silent
from saccade.train.request import TrainRequest
from saccade.transfer.request import TransferRequest

MODEL = "conv 3 f3 same | gap | fc 4"
SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "input.size_px=12", "batch_size=8", "split.test_fraction=0.4"]
IMAGES, WEIGHTS, VERBS_FILE = "images", "lenet5.safetensors", "verbs"
CHOOSING = "choosing"
MAX_STEPS = 50  # of a resumed training, whose damaged configuration may ask for very many


def make_runs(base: Path) -> dict[str, bytes]:
    """Content by path of `images/`, the four runs and the weights, made in the empty folder."""
    draw = np.random.default_rng(0)
    for number in range(30):
        folder = base / IMAGES / ("dark" if number % 2 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 120, (12, 12, 3), dtype=np.uint8) + np.uint8(0 if number % 2 else 100)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    torch.manual_seed(0)
    network = build_model("lenet5", ModelSpec(num_classes=4, input_CHW=(1, 32, 32)))
    (base / WEIGHTS).write_bytes(tensor_bytes(network.state_dict()))
    card = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}
    (base / "card.json").write_text(json.dumps(card))
    with working_in(base):
        plain = {"source": IMAGES, "model": MODEL, "epochs": 1, "settings": SETTINGS}
        api.train(TrainRequest(out=Path("train"), **plain))
        api.train_ensemble(TrainRequest(out=Path("ensemble"), ensemble=2, **plain))
        transfer = TransferRequest(
            source=IMAGES,
            backbone="lenet5",
            weights=WEIGHTS,
            preprocessing=Path("card.json"),
            freeze="stem",
            epochs=1,
            cache="none",
            out=Path("transfer"),
            settings=["runtime.num_threads=1", "loader.threads=1", "batch_size=8"],
        )
        api.transfer(transfer)
        choosing = replace(transfer, freeze="auto", out=Path(CHOOSING))
        with contextlib.suppress(Stopped):
            api.transfer(choosing, StopsWhenChosen())
    return {str(path.relative_to(base)): path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file()}


class StopsWhenChosen(Silent):
    """Stops a transfer when its measurements are there and its depth is not."""

    def working(self, text: str) -> None:
        if "stem" in text:
            raise Stopped("enough measured")


class FewSteps(Silent):
    """Stops a training that would go on for long."""

    def __init__(self) -> None:
        self.num_steps = 0

    def step(self, epoch: int, batch: int, num_batches: int, means: Callable[[], tuple[float, float]]) -> None:
        self.num_steps += 1
        if self.num_steps > MAX_STEPS:
            raise Stopped("enough steps")


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Paths are relative, so that nothing depends on where the campaign keeps its copies."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def run_report(run: Path) -> str:
    """The page, without a number that is none."""
    page = api.report(run, Path("out.html")).read_text(encoding="utf-8")
    if "nan %" in page.lower() or "inf %" in page.lower():
        raise AssertionError("the report shows a number that is none")
    return f"report of {len(page)} characters"


def run_predict(run: Path) -> str:
    """Probabilities that are some."""
    answers = list(api.predict(run, sorted(Path(IMAGES, "dark").iterdir())[:3]))
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
        if not (all(0 <= p <= 1 for p in answer.probabilities) and abs(sum(answer.probabilities) - 1) < 1e-6):
            raise AssertionError(f"probabilities {answer.probabilities}")
    return f"predict {len(answers)}"


def run_evaluate(run: Path) -> str:
    """Figures that are rates."""
    values = api.evaluate([run], IMAGES).as_json()
    if not (0 <= values["top1_low"] <= values["top1"] <= values["top1_high"] <= 1 and math.isfinite(values["loss"])):
        raise AssertionError(f"evaluate {values}")
    return f"evaluate {values['num_samples']}"


def run_labels(run: Path) -> str:
    """Suspected labels."""
    return f"labels {len(api.check_labels(run, IMAGES).suspects)}"


def run_explain(run: Path) -> str:
    """A sheet."""
    explanation = api.explain(run, sorted(Path(IMAGES, "dark").iterdir())[0], Path("sheet.svg"))
    if not math.isfinite(explanation.top(1)[0][1]):
        raise AssertionError("explain: a probability that is none")
    return "explain"


def run_table(run: Path) -> str:
    """The layers."""
    return f"table of {len(table_text(api.table(f'./{run}'), 0))} characters"


def run_resume(run: Path) -> str:
    """Go on with the run; the images are named again, as for any run that may be a stranger's."""
    if run.name == "ensemble":
        return f"resume {api.train_ensemble(TrainRequest(source=IMAGES, out=run, resume=True), FewSteps()).path}"
    if run.name in ("transfer", CHOOSING):
        request = TransferRequest(source=IMAGES, weights=WEIGHTS, out=run, resume=True, cache="none")
        return f"resume {api.transfer(request, FewSteps()).run.run_dir}"
    return f"resume {api.train(TrainRequest(source=IMAGES, out=run, resume=True), FewSteps()).run_dir}"


def run_teacher(run: Path) -> str:
    """Learn from the run."""
    settings = [*SETTINGS, "split.seed=0"]
    request = TrainRequest(
        source=IMAGES, model=MODEL, epochs=1, out=Path("student"), teachers=(run,), settings=settings
    )
    return f"teacher {api.train(request, FewSteps()).run_dir}"


VERBS: dict[str, Callable[[Path], str]] = {
    "report": run_report,
    "predict": run_predict,
    "evaluate": run_evaluate,
    "labels": run_labels,
    "explain": run_explain,
    "table": run_table,
    "resume": run_resume,
    "teacher": run_teacher,
}
