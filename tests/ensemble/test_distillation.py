"""Distillation: the loss against the paper's formula, teachers that answer together, refusals, and an exact resume."""

import re
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from saccade import api
from saccade.classify.classifier import open_member
from saccade.core.errors import CheckpointError, ConfigError, DataError, UsageError
from saccade.core.runtime import start
from saccade.core.types import Batch, Preprocessing
from saccade.ensemble.distillation import Teachers, _refuse_other_inputs, load_teachers, soft_loss
from saccade.evaluate.forward import forward
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs.checkpoint import find_checkpoint, save_checkpoint
from saccade.train.config import RunConfig
from saccade.train.prepare import prepare_images
from saccade.train.step import TrainingStep

SETTINGS = [
    "runtime.num_threads=1",
    "runtime.precision=float32",
    "loader.threads=1",
    "split.test_fraction=0.6",
    "batch_size=128",
]


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teachers") / "e"
    request = api.TrainRequest(source="digits", epochs=1, out=folder, ensemble=2, settings=SETTINGS)
    return api.train_ensemble(request).path


def student(out: Path, ensemble: Path, *settings: str) -> api.TrainRequest:
    return api.TrainRequest(source="digits", epochs=2, out=out, teachers=(ensemble,), settings=[*SETTINGS, *settings])


def softmax(logits: np.ndarray) -> np.ndarray:
    power = np.exp(logits - logits.max(axis=1, keepdims=True))
    return power / power.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 20.0])
def test_the_soft_loss_and_its_gradient_are_those_of_the_paper(temperature: float):
    draw = np.random.default_rng(0)
    student_BK, teacher_BK = draw.normal(0, 3, (2, 7, 5))
    p, q = softmax(teacher_BK / temperature), softmax(student_BK / temperature)
    logits = torch.tensor(student_BK, dtype=torch.float32, requires_grad=True)
    loss = soft_loss(logits, torch.tensor(p, dtype=torch.float32), temperature)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(temperature**2 * (p * (np.log(p) - np.log(q))).sum() / 7, rel=1e-4)
    np.testing.assert_allclose(logits.grad, temperature * (q - p) / 7, atol=1e-6)  # T^2 times equation (2)


def teachers_for(ensemble: Path, **distill: float) -> Teachers:
    values = {"teachers": [str(ensemble)], "weight": 0.5, "temperature": 2.0} | distill
    config = RunConfig.parse({"source": "digits", "distill": values}).with_overrides(SETTINGS)
    runtime = start(config.runtime)
    _, teachers = load_teachers(config, prepare_images(config, runtime, print), runtime)
    assert teachers is not None
    return teachers


def some_batch(num: int) -> Batch:
    draw = torch.Generator().manual_seed(0)
    image_BCHW = torch.randint(0, 256, (num, 1, 32, 32), dtype=torch.uint8, generator=draw)
    target = torch.randint(0, 10, (num,), generator=draw)
    return Batch(image_BCHW=image_BCHW, target=target, index_B=np.arange(num))


def test_teachers_say_the_mean_of_their_softened_probabilities(ensemble: Path):
    batch = some_batch(6)
    said = teachers_for(ensemble, temperature=3.0).probabilities(batch.image_BCHW)
    logits = [open_member(ensemble / name).logits(batch.image_BCHW).numpy() for name in ("member-1", "member-2")]
    np.testing.assert_allclose(said, np.mean([softmax(each / 3.0) for each in logits], axis=0), atol=1e-5)


def one_step(ensemble: Path, batch: Batch, weight: float, accumulate: int) -> tuple[float, dict[str, torch.Tensor]]:
    values = {"distill": {"teachers": ["x"], "weight": weight}, "accumulate": accumulate}
    config = RunConfig.parse(values).with_overrides(SETTINGS)
    torch.manual_seed(0)
    model = build_model("lenet5", ModelSpec(num_classes=10, input_CHW=(1, 32, 32)))
    preprocessing = open_member(ensemble / "member-1").preprocessing
    training = TrainingStep(model, config, preprocessing, start(config.runtime))
    training.extra_loss = teachers_for(ensemble, weight=weight)
    assert training.run(batch, 0, 1.0)
    return training.totals.means()[0], training.model.state_dict()


def test_the_two_parts_of_the_loss_are_blended_by_the_weight(ensemble: Path):
    batch = some_batch(10)
    soft, _ = one_step(ensemble, batch, 1.0, 1)
    mixed, _ = one_step(ensemble, batch, 0.25, 1)
    torch.manual_seed(0)
    model = build_model("lenet5", ModelSpec(num_classes=10, input_CHW=(1, 32, 32)))
    predictor = open_member(ensemble / "member-1")
    logits_BK = forward(model, batch.image_BCHW, predictor.preprocessing, predictor.runtime, torch.float32)
    hard = float(torch.nn.functional.cross_entropy(logits_BK, batch.target).detach())
    assert mixed == pytest.approx(0.75 * hard + 0.25 * soft, rel=1e-5)


def test_parts_of_a_batch_teach_as_the_whole_does(ensemble: Path):
    (loss, whole), (loss_of_parts, parts) = (one_step(ensemble, some_batch(10), 0.5, n) for n in (1, 3))
    assert loss == pytest.approx(loss_of_parts, rel=1e-5)
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=1e-4, atol=1e-6)


def test_at_weight_one_the_labels_say_nothing(ensemble: Path):
    batch = some_batch(10)
    other = Batch(image_BCHW=batch.image_BCHW, target=(batch.target + 1) % 10, index_B=batch.index_B)
    first, second = (one_step(ensemble, b, 1.0, 1)[1] for b in (batch, other))
    assert all((first[name] == second[name]).all() for name in first)


class Killed(BaseException):
    """Ends a training as abruptly as a test can without ending the process."""


class Killer(api.Silent):
    def step(self, epoch: int, batch: int, num_batches: int, means: object) -> None:
        if (epoch, batch) == (1, 2):
            raise Killed


def test_a_killed_student_goes_on_to_the_same_bits(ensemble: Path, tmp_path: Path):
    undisturbed = api.train(student(tmp_path / "a", ensemble))
    assert undisturbed.config.recipe == "distill"
    assert undisturbed.config.distill.weight == 0.5
    with pytest.raises(Killed):
        api.train(student(tmp_path / "b", ensemble), Killer())
    api.train(api.TrainRequest(out=tmp_path / "b", resume=True))
    first, second = (load_file(tmp_path / name / "checkpoint-last" / "weights.safetensors") for name in ("a", "b"))
    assert all((first[name] == second[name]).all() for name in first)


def test_a_resumed_student_keeps_its_teachers(ensemble: Path, tmp_path: Path):
    teacher = api.train(api.TrainRequest(source="digits", epochs=1, out=tmp_path / "t", settings=SETTINGS)).run_dir
    api.train(student(tmp_path / "s", teacher))
    api.train(
        api.TrainRequest(source="digits", epochs=1, seed=0, out=tmp_path / "u", settings=[*SETTINGS, "batch_size=64"])
    )
    for file in (tmp_path / "u" / "checkpoint-best").iterdir():
        (teacher / "checkpoint-best" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError) as error:
        api.train(api.TrainRequest(out=tmp_path / "s", resume=True))
    assert str(error.value) == (
        f"The teachers in {teacher} are not those this run began with.\n"
        f"Put them back as they were, or start a new run with another --out."
    )


def test_a_teacher_that_learned_the_test_images_is_refused(ensemble: Path, tmp_path: Path):
    with pytest.raises(UsageError) as error:
        api.train(student(tmp_path / "s", ensemble, "split.seed=9"))
    assert str(error.value).endswith(
        "of the 1,078 images held out were used to train the teacher "
        f"{ensemble}/member-1: the verdict would flatter.\n"
        "Deal the images out as that run did: --set split.seed=N, where N is its seed."
    )


def test_a_teacher_that_does_not_say_what_it_saw_is_told_with_the_figure(ensemble: Path, tmp_path: Path):
    teacher = Path(shutil.copytree(ensemble / "member-1", tmp_path / "t"))
    (teacher / "seen.safetensors").unlink()
    said = (
        f"Nothing says which images the teacher {teacher} was trained on (seen.safetensors is not there): if some of "
        "these are among them, the figure flatters."
    )
    assert said in api.train(student(tmp_path / "s", teacher)).judgement.caveats
    assert not any("Nothing says" in text for text in api.train(student(tmp_path / "r", ensemble)).judgement.caveats)


def noise(folder: Path, seed: int) -> Path:
    """Twelve images of noise in each of two classes."""
    numbers = np.random.default_rng(seed)
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            pixels_HW = numbers.integers(0, 256, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels_HW).save(folder / label / f"{number}.png")
    return folder


def test_a_student_is_not_judged_on_what_its_teacher_was_trained_on_as_held_out(tmp_path: Path):
    theirs, own = noise(tmp_path / "theirs", 1), noise(tmp_path / "own", 2)
    settings = [setting for setting in SETTINGS if "split" not in setting]
    teacher = api.train(api.TrainRequest(source=str(theirs), epochs=1, out=tmp_path / "t", settings=settings)).run_dir
    request = api.TrainRequest(
        source=str(own), epochs=1, out=tmp_path / "s", teachers=(teacher,), settings=settings, model="lenet5"
    )
    run = api.train(request).run_dir
    learned = load_file(teacher / "seen.safetensors")
    learned_by_teacher = {row.tobytes() for row in learned["pixels_NB"][learned["part_N"] != 2]}
    record = load_file(run / "seen.safetensors")
    assert {row.tobytes() for row in record["pixels_NB"][record["part_N"] == 3]} == learned_by_teacher
    assert len(api.evaluate(run, theirs).label_N) == 24 - len(learned_by_teacher)


def test_a_teacher_of_another_input_or_class_is_refused(ensemble: Path, tmp_path: Path):
    with pytest.raises(UsageError) as error:
        api.train(student(tmp_path / "s", ensemble, "input.size_px=28"))
    assert str(error.value) == (
        f"The teacher {ensemble}/member-1 takes inputs of 32x32x1, the student of 28x28x1: they must see the same "
        "image.\nSet input.size_px=32 for the student, or take another teacher."
    )
    folder = tmp_path / "e"
    run = api.train(api.TrainRequest(source="digits", epochs=1, out=folder, settings=SETTINGS)).run_dir
    checkpoint = find_checkpoint(run)
    manifest = checkpoint.manifest.model_copy(update={"classes": (*checkpoint.manifest.classes[:9], "nine")})
    save_checkpoint(run / "checkpoint-best", manifest, checkpoint.load_weights())
    with pytest.raises(DataError) as data:
        api.train(student(tmp_path / "s", run))
    assert str(data.value) == (
        "The images have a class '9' that the other side does not.\n"
        "A student learns from teachers of its own classes: train them on the same set."
    )


def test_a_weight_without_teachers_and_the_reverse_are_refused():
    with pytest.raises(ConfigError, match="there is nobody to learn from; name a run: --teacher RUN"):
        RunConfig().with_overrides(["distill.weight=0.5"])
    with pytest.raises(ConfigError, match="the teachers would say nothing"):
        RunConfig.parse({"distill": {"teachers": ["runs/a"]}})


BANDS = {"channels": "bands", "mean": [0.5] * 5, "std": [0.2] * 5}


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        (
            {"fit": "pad"},
            {"resize_px": 256},
            "The teacher t sees pictures with fit pad, the student with fit crop: they must see the same image.\n"
            "Set input.fit=pad for the student, or take another teacher.",
        ),
        (
            {"fit": "cover", "resize_px": 110, "input_height_px": 96, "input_width_px": 160},
            {"fit": "squash", "input_height_px": 96, "input_width_px": 160},
            "The teacher t sees pictures with fit crop, the student with fit squash: they must see the same image.\n"
            "Set input.fit=crop for the student, or take another teacher.",
        ),
        (
            {"input_height_px": 96, "input_width_px": 160},
            {},
            "The teacher t takes inputs of 160x96x3, the student of 224x224x3: they must see the same image.\n"
            "Set input.size_px=96 and input.width_px=160 for the student, or take another teacher.",
        ),
        (
            BANDS,
            BANDS | {"depth_bits": 16, "white_16_bit": 4095},
            "The teacher t takes bands of 8 bits, 0 to 255, the student bands of 16 bits, 0 to 4,095: they must see "
            "the same image.\nTrain both on the same set, or take another teacher.",
        ),
        ({"resize_px": 256}, {"resize_px": 232}, ""),
        ({}, {"resize_px": 256}, ""),
    ],
)
def test_a_teacher_that_sees_another_part_of_a_picture_is_refused(teacher: dict, student: dict, message: str):
    member = SimpleNamespace(name="t", preprocessing=Preprocessing.parse(teacher))
    images = SimpleNamespace(preprocessing=Preprocessing.parse(student))
    expected = pytest.raises(UsageError, match=f"^{re.escape(message)}$") if message else nullcontext()
    with expected:
        _refuse_other_inputs(SimpleNamespace(members=[member]), images)  # type: ignore[arg-type]
