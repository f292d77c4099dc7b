"""8 bits of numbers, grades and bands, and of images unlike those of training: OpenVINO's answers beside the run's."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, mean_absolute_error

for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf"):
    pytest.importorskip(package, reason="the extras 'export' and 'int8' are not installed")

from tests.angles import write_angles  # noqa: E402

from saccade import api  # noqa: E402
from saccade.core.errors import ExportError  # noqa: E402
from saccade.core.task import NUMBER, Task, median_grade  # noqa: E402
from saccade.evaluate.number_metrics import conformal_half_width  # noqa: E402
from saccade.runs.checkpoint import find_checkpoint  # noqa: E402
from saccade.runs.validation_file import read_validation  # noqa: E402
from saccade.ship.bundle import Int8, Int8Number  # noqa: E402
from saccade.ship.engine import Network, join_networks  # noqa: E402
from saccade.ship.quantize import number_figures, require_small_loss  # noqa: E402

NETWORK = "conv 8 f3 s2 bn | conv 16 f3 s2 bn | gap | softmax"
SETTINGS = ["input.size_px=16", "batch_size=32", "split.validation_fraction=0.3", "runtime.num_threads=1"]
GRADES = ("0", "1", "2")


def trained(source: object, out: Path) -> Path:
    api.train(api.TrainRequest(source=source, model=NETWORK, epochs=3, out=out, settings=SETTINGS))
    return out


def in_8_bits(run: Path, max_drop: float = 30.0) -> Path:
    asked = api.AskedInt8(max_drop=max_drop)
    return api.export(run, run.parent / "out", formats=["openvino"], int8=asked).folder


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(a run of numbers, its export in 8 bits)."""
    folder = tmp_path_factory.mktemp("aged")
    run = trained(f"{write_angles(folder / 'angles', 200)}?target=number", folder / "run")
    return run, in_8_bits(run)


def test_a_number_in_8_bits_is_judged_by_its_error_and_served_with_its_own_interval(aged: tuple[Path, Path]):
    run, folder = aged
    network = Network(folder, 1)
    network.self_test(folder)
    figures = network.bundle.int8
    assert isinstance(figures, Int8Number)
    held_back = read_validation(find_checkpoint(run))
    task = find_checkpoint(run).manifest.task
    if held_back is not None:  # runs of numbers keep no such file today
        said_N = task.probabilities_of(held_back.logits_NK)[:, 0]
        assert figures.float32_mae == pytest.approx(mean_absolute_error(held_back.label_N, said_N))
    assert figures.num_validation >= 40
    assert 0 < figures.largest_change < task.deviation
    assert abs(figures.difference) <= figures.largest_change
    assert figures.max_drop == pytest.approx(0.3 * task.deviation)
    served = join_networks("it", [network])
    assert served.task.half_width == figures.half_width > 0
    assert f"| int8 | {figures.int8_mae:.4g} |" in (folder / "README.md").read_text()


def test_a_distance_in_8_bits_has_a_threshold_of_its_own(aged: tuple[Path, Path]):
    _, folder = aged
    network = Network(folder, 1)
    unlike = network.unlike_training
    assert unlike is not None
    assert network.bundle.unlike_training is None  # no other graph is there
    assert unlike.same_verdicts is not None
    assert unlike.same_verdicts > 0.9
    draw = np.random.default_rng(3)
    shape = (20, *network.bundle.preprocessing.input_CHW[1:], network.bundle.preprocessing.num_channels)
    flat = np.broadcast_to(np.array([0, 255], np.uint8)[draw.integers(0, 2, 20)][:, None, None, None], shape)
    said = network.answer(np.ascontiguousarray(flat))
    assert said.unlike_N is not None
    assert said.unlike_N.mean() > 0.5
    assert "Above" in (folder / "README.md").read_text()


def test_a_grade_in_8_bits_is_judged_by_the_median(tmp_path: Path):
    path = write_angles(tmp_path / "angles", 200)
    lines = path.read_text().splitlines()
    graded = [
        f"{name},{int(np.digitize(float(angle), (-20, 20)))}" for name, angle in (row.split(",") for row in lines[1:])
    ]
    path.write_text("\n".join(["file,grade", *graded]) + "\n")
    run = trained(f"{path}?target=grade", tmp_path / "run")
    network = Network(in_8_bits(run), 1)
    network.self_test(tmp_path / "out")
    figures = network.bundle.int8
    assert isinstance(figures, Int8)
    held_back = read_validation(find_checkpoint(run))
    assert held_back is not None
    assert figures.num_validation == len(held_back.label_N)
    power_NK = np.exp(held_back.logits_NK.astype(np.float64))
    said_N = median_grade(power_NK / power_NK.sum(axis=1, keepdims=True))
    assert figures.float32_top1 == pytest.approx(accuracy_score(held_back.label_N, said_N))
    assert figures.float32_mae == pytest.approx(mean_absolute_error(held_back.label_N, said_N))
    assert figures.temperature == 1
    assert "grades on average." in (tmp_path / "out" / "README.md").read_text()


def test_bands_of_16_bits_leave_in_8(tmp_path: Path):
    draw = np.random.default_rng(0)
    label_N = np.arange(160) % 2
    image_NHWC = draw.integers(0, 1500, (160, 16, 16, 5)).astype(np.uint16)
    image_NHWC[label_N == 0, ..., 4] += 2500
    for name in ("bright", "dark"):
        (tmp_path / "fields" / name).mkdir(parents=True)
    for number, (image_HWC, label) in enumerate(zip(image_NHWC, label_N, strict=True)):
        np.save(tmp_path / "fields" / ("bright", "dark")[label] / f"{number}.npy", image_HWC)
    run = trained(str(tmp_path / "fields"), tmp_path / "run")
    network = Network(in_8_bits(run), 1)
    network.self_test(tmp_path / "out")
    pixels = network.bundle.preprocessing
    assert (pixels.depth_bits, pixels.num_channels) == (16, 5)
    said = network.answer(image_NHWC[:20]).probability_NK
    wanted = [answer.probabilities for answer in api.predict(run, image_NHWC[:20])]
    np.testing.assert_allclose(said, wanted, atol=0.1)
    assert (said.argmax(axis=1) == np.argmax(wanted, axis=1)).all()


def numbers(num: int, wrong_by: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, Task]:
    draw = np.random.default_rng(5)
    value_N = draw.normal(50, 10, num)
    task = NUMBER.of_numbers(value_N)
    float_N1 = task.standard(value_N + draw.normal(0, 2, num))[:, None]
    return float_N1, float_N1 + np.float32(wrong_by / task.deviation), value_N, task


def test_the_error_of_numbers_in_8_bits_is_that_of_their_differences():
    float_N1, small_N1, value_N, task = numbers(200, wrong_by=0.3)
    figures = number_figures(float_N1, small_N1, value_N, task, 300, 0.05)
    said_N = float_N1[:, 0].astype(np.float64) * task.deviation + task.mean
    assert figures.float32_mae == pytest.approx(mean_absolute_error(value_N, said_N), rel=1e-5)
    assert figures.int8_mae == pytest.approx(mean_absolute_error(value_N, said_N + 0.3), rel=1e-5)
    assert figures.difference_low <= figures.difference <= figures.difference_high
    assert figures.largest_change == pytest.approx(0.3, rel=1e-4)
    assert figures.half_width == 0  # float32 has none either
    with_width = task.model_copy(update={"half_width": 3.0, "half_width_images": 200})
    wide = number_figures(float_N1, small_N1, value_N, with_width, 300, 0.05)
    assert wide.half_width == pytest.approx(conformal_half_width(np.abs(said_N + 0.3 - value_N)), rel=1e-4)
    require_small_loss(figures)


def test_numbers_that_lose_too_much_or_are_too_few_are_refused():
    with pytest.raises(
        ExportError, match=r"That the mean absolute error of int8 is at most .* larger cannot be shown: on"
    ):
        require_small_loss(number_figures(*numbers(200, wrong_by=3.0), 300, 0.005))
    with pytest.raises(ExportError) as few:
        number_figures(*numbers(29, wrong_by=0.1), 300, 0.05)
    assert few.value.message == (
        "int8 is judged on the run's validation images: that takes 30, and there are 29.\n"
        "Train with more (split.validation_fraction), or export without --int8."
    )
