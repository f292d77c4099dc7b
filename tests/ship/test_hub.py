"""The folder for the hub: what is in it, what is refused, and what the real timm and transformers answer by it."""

import importlib.util
import json
import math
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import PIL.Image
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.numpy import load_file
from tests.processes import run_python
from tests.ship.untrained import CLASSES, JUDGED, PIXELS, public_run, untrained_run, with_known_features

from saccade import api
from saccade.core.errors import ExportError, UsageError
from saccade.core.task import Task
from saccade.core.types import Preprocessing
from saccade.data.images.decode import decode_image
from saccade.data.images.normalize import normalize
from saccade.data.images.preprocess import prepare_image
from saccade.models.architecture import MODELS, ModelSpec
from saccade.runs.checkpoint import find_checkpoint
from saccade.ship import hub
from saccade.ship.bundle import read_bundle
from saccade.ship.hub import crop_share, timm_crop
from saccade.ship.timm_names import NETWORKS, expanded, own_shapes, theirs_by_ours, under_timm_names
from saccade.weights.public import find_weights, load_backbone
from saccade.weights.public_table import public_weights

REPOSITORY = Path(__file__).parents[2]
LIBRARIES = ("timm", "transformers", "torchvision")
ABSENT = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
with_libraries = pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {', '.join(ABSENT)}")
GRAPH = "Export a graph, which takes pixels that are prepared already: --format onnx."
SEVERAL = Task(
    kind="several labels",
    slopes=(1.5, 0.5, 2.0, 1.0),
    shifts=(0.1, -0.2, 0.3, 0.0),
    thresholds=(0.4, 0.5, 0.6, 0.5),
)


@pytest.fixture(scope="module", autouse=True)
def _without_timm() -> Iterator[None]:
    """Whether timm is here or not: it is asked in processes of its own."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(hub, "_timm", lambda: (None, "timm is not installed"))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV3 for four classes, with a temperature, from weights of the hub."""
    origin = {"weights": "hub:timm/mobilenetv3_small_100.lamb_in1k@0123", "weights_sha256": "ab", "licence": "MIT"}
    made = untrained_run(tmp_path_factory.mktemp("hub") / "run", origin=origin)
    counts = {"train": [10, 20, 30, 40], "validation": [1, 2, 3, 4], "test": [300, 300, 300, 334]}
    (made / "data.json").write_text(json.dumps({"classes": CLASSES, "counts": counts, "num_samples": 1344}))
    return made


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    """Not to be changed."""
    return api.export(run, formats=["hub"]).folder


def refusal(run: Path) -> str:
    with pytest.raises((ExportError, UsageError)) as caught:
        api.export(run, run.parent / "out", formats=["hub"])
    assert not (run.parent / "out").exists()
    return caught.value.message


def test_the_folder_is_timms_and_says_what_it_is(run: Path, exported: Path):
    bundle = read_bundle(exported)
    assert bundle.formats == ("hub",)
    assert bundle.read_by == "Saccade's own reader (timm is not installed)"
    images = {f"check/image-{number}.png" for number in (1, 2, 3)}
    assert set(bundle.files) == {"config.json", "model.safetensors", "README.md"} | images
    assert bundle.largest_difference["hub"] <= 1e-6 * 10
    config = json.loads((exported / "config.json").read_text())
    assert config["architecture"] == "mobilenetv3_small_100"
    assert (config["num_classes"], config["label_names"]) == (4, list(CLASSES))
    said = config["pretrained_cfg"]
    assert math.floor(64 / said["crop_pct"]) == 73
    assert (said["input_size"], said["crop_mode"], said["interpolation"]) == ([3, 64, 64], "center", "bicubic")
    assert (said["mean"], said["std"]) == ([0.48, 0.45, 0.4], [0.22, 0.23, 0.24])
    with safe_open(exported / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_temperature_is_folded_into_the_last_layer_and_nothing_else_is_changed(run: Path, exported: Path):
    before = find_checkpoint(run).load_weights()
    network = NETWORKS["mobilenetv3-small"]
    names = theirs_by_ours(network, dict.fromkeys(before, ()), MODELS.get("mobilenetv3-small").rename_key)
    with safe_open(exported / "model.safetensors", "pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}
    assert set(found) == set(names.values())
    for ours, theirs in names.items():
        factor = 1 / 1.25 if theirs.startswith("classifier.") else 1.0
        wanted = (before[ours].double() * factor).to(before[ours].dtype).reshape(found[theirs].shape)
        assert torch.equal(found[theirs], wanted), theirs


def test_our_own_weights_option_reads_the_folder_with_the_answers_of_the_run(run: Path, exported: Path):
    weights = find_weights(str(exported), "mobilenetv3-small")
    assert weights.preprocessing == PIXELS
    assert (weights.classes, weights.licence, weights.num_classes) == (CLASSES, "MIT", 4)
    image_BCHW = torch.randn((2, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs_BK = load_backbone(weights).eval()(image_BCHW)
        ours_BK = find_checkpoint(run).load_model()(image_BCHW) / 1.25
    torch.testing.assert_close(theirs_BK, ours_BK, rtol=0, atol=2e-6)


def test_a_second_export_has_the_same_bytes_and_nothing_of_the_machine(run: Path, exported: Path, tmp_path: Path):
    again = api.export(run, tmp_path / "again", formats=["hub"]).folder
    here = [str(tmp_path).encode(), b"/home/somebody", str(REPOSITORY).encode()]
    for path in exported.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(exported)).read_bytes(), path.name
            assert not [text for text in here if text in path.read_bytes()], path.name


def test_the_card_is_read_by_the_hubs_library_and_says_what_the_run_says(exported: Path):
    text = (exported / "README.md").read_text()
    card = huggingface_hub.ModelCard(text)
    assert card.data.license == "mit"
    assert card.data.base_model == "timm/mobilenetv3_small_100.lamb_in1k"
    assert (card.data.library_name, card.data.pipeline_tag) == ("timm", "image-classification")
    [judged] = card.data.eval_results
    assert (judged.metric_type, judged.metric_value) == ("accuracy", 0.8951)
    assert judged.dataset_name == "1,234 held-out images"
    for said in (
        "# mobilenetv3-small: 4 classes",
        "89.5 % of 1,234 held-out images correct (95 % interval 86.0 to 92.2).",
        "- Fewer than 20 held-out images of hat: wide intervals.",
        "short side to 73 px, centre 64x64 cut out (bicubic resampling",
        "The run's temperature, 1.25, is folded into the last layer",
        "Images of photos: 100 train, 10 validation, 1,234 test.",
        "| shoe&#124;boot | 20 | 2 | 300 |",
        "Training began with the weights hub:timm/mobilenetv3_small_100.lamb_in1k@0123, SHA-256 `ab`.",
        "Their licence: MIT.",
        "Saccade's own reader (timm is not installed) loaded this folder again",
        "## What was not measured",
    ):
        assert said in text, said


@pytest.mark.parametrize(
    ("licence", "weights", "said"),
    [
        ("", "", None),
        ("", "/a/b/file.safetensors", "unknown"),
        ("Apache-2.0", "x", "apache-2.0"),
        ("AMLR", "x", "other"),
    ],
)
def test_the_licence_of_the_front_matter_is_one_that_the_hub_knows(
    tmp_path: Path, licence: str, weights: str, said: str | None
):
    origin = {"weights": weights, "licence": licence}
    folder = api.export(untrained_run(tmp_path / "run", metrics={}, origin=origin), formats=["hub"]).folder
    text = (folder / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front.get("license") == said
    assert "model-index" not in front
    assert "base_model" not in front
    assert "Nothing is known of its accuracy." in text
    assert "/a/b/" not in text


def test_figures_of_training_images_are_not_in_the_model_index(tmp_path: Path):
    run = untrained_run(tmp_path / "run", metrics=JUDGED | {"kind": "training"})
    text = (api.export(run, formats=["hub"]).folder / "README.md").read_text()
    assert "model-index" not in text
    assert "89.5 % of 1,234 training images correct" in text


def test_features_of_training_images_are_beside_the_weights_and_the_card_says_how_they_tell(tmp_path: Path):
    run = with_known_features(untrained_run(tmp_path / "run"))
    made = api.export(run, formats=["hub"])
    unlike, folder = made.bundle.unlike_training, made.folder
    assert unlike is not None
    assert list(unlike.largest_difference) == ["hub"]
    assert unlike.largest_difference["hub"] < 1e-5
    known = load_file(folder / "unlike_training.safetensors")["unit_features"]
    assert (known.dtype, known.shape) == (np.float16, (40, unlike.num_features))
    text = (folder / "README.md").read_text()
    assert f"is_unlike = distance > {unlike.threshold!r}" in text
    assert "what the last layer sees of 40 training pictures" in text
    code = text.split("## Unlike anything seen in training")[1].split("```python\n")[1].split("```")[0]
    photos = [folder / "check" / f"image-{number}.png" for number in (1, 2, 3)]
    wanted = [answer.unlike_training for answer in api.predict(run, photos)]
    assert told_by(code, folder, photos) == wanted


def told_by(code: str, folder: Path, photos: list[Path]) -> list[bool]:
    """What the card's code says of photos, with our network in the place of timm's."""
    weights = find_weights(str(folder), "mobilenetv3-small")
    network = load_backbone(weights).eval()

    class AsTimm:
        def forward_features(self, image_BCHW: torch.Tensor) -> torch.Tensor:
            return network.stages(network.stem(image_BCHW))

        def forward_head(self, map_BCHW: torch.Tensor, pre_logits: bool) -> torch.Tensor:
            assert pre_logits
            return network.neck(map_BCHW).flatten(1)

    def prepare(path: Path) -> torch.Tensor:
        image_HWC = prepare_image(decode_image(path.read_bytes(), "photo").image_HWC, weights.preprocessing)
        return normalize(
            torch.from_numpy(image_HWC.copy()).permute(2, 0, 1)[None], weights.preprocessing, torch.float32
        )[0]

    found = []
    with pytest.MonkeyPatch.context() as changed:
        changed.chdir(folder)
        for photo in photos:
            names = {"model": AsTimm(), "prepare": prepare, "image": photo}
            exec(code, names)
            found.append(bool(names["is_unlike"][0]))
    return found


def test_a_run_that_keeps_no_features_says_so_on_its_card(exported: Path):
    text = (exported / "README.md").read_text()
    assert (
        "This folder does not tell such pictures (the run keeps no features of its training images): the network names "
        "a class for them, too."
    ) in text
    assert not (exported / "unlike_training.safetensors").exists()


def test_several_labels_carry_their_calibration_and_thresholds(tmp_path: Path):
    run = untrained_run(tmp_path / "run", temperature=1.0, task=SEVERAL)
    folder = api.export(run, formats=["hub"]).folder
    assert json.loads((folder / "config.json").read_text())["problem_type"] == "multi_label_classification"
    text = (folder / "README.md").read_text()
    assert "A class is said from this probability on: hat 0.4, shoe|boot 0.5, Kleid ü 0.6, t-shirt 0.5." in text
    assert "Calibration is folded into the last layer. The sigmoid of a logit is the probability" in text


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "squeezenet1.1",
            "timm has no network with the names and the arithmetic of squeezenet1.1, so nothing on the hub could load "
            "it.\nExport a graph, which holds any network: --format onnx.",
        ),
        (
            "conv 8 f3 | pool | fc 4 | softmax",
            "timm has no network with the names and the arithmetic of conv 8 f3 | pool | fc 4 | softmax, so nothing on "
            "the hub could load it.\nExport a graph, which holds any network: --format onnx.",
        ),
        (
            "mobilenetv2+loglinear",
            "mobilenetv2+loglinear ends in a head that timm's mobilenetv2_100 does not have, so timm could not load "
            "it.\nExport a graph, which holds any head: --format onnx. Or train mobilenetv2.",
        ),
        (
            "vgg11",
            "timm's vgg11 computes as ours for inputs of 224x224 px alone, and this run has 64x64.\n"
            "Export a graph: --format onnx.",
        ),
    ],
)
def test_a_network_that_timm_does_not_have_is_refused(tmp_path: Path, model: str, message: str):
    assert refusal(untrained_run(tmp_path / "run", model)) == message


def test_a_transfer_gets_a_plain_last_layer_by_the_command_that_the_refusal_prints(tmp_path: Path, saccade):
    run, images = tmp_path / "my run", tmp_path / "images"
    draw = np.random.default_rng(0)
    for name, level in (("bright", 150), ("dark", 0)):
        (images / name).mkdir(parents=True)
        for number in range(12):
            pixels = draw.integers(level, level + 100, (32, 32, 3), np.uint8)
            PIL.Image.fromarray(pixels).save(images / name / f"{number}.png")
    begun = untrained_run(tmp_path / "begun", "mobilenetv2")
    small = ["--set", "loader.threads=1", "--set", "runtime.num_threads=1", "--cache", "none", "--quiet"]
    assert saccade("transfer", images, "--weights", begun, "--freeze", "all", "--out", run, *small).status == 0
    refused = saccade("export", run, "--format", "hub")
    config, plain = (shlex.quote(str(path)) for path in (run / "config.toml", tmp_path / "my run-linear"))
    command = (
        f"saccade transfer --config {config} --weights {shlex.quote(str(run))} --freeze all --set transfer.head=linear "
        f"--out {plain}"
    )
    assert (refused.status, refused.errors.splitlines()) == (
        1,
        [
            "error: mobilenetv2+loglinear ends in a head that timm's mobilenetv2_100 does not have, so timm could not "
            "load it.",
            "Export a graph, which holds any head: --format onnx. Or fit a plain last layer to the same features, "
            "which is judged anew, and export that run:",
            command,
        ],
    )
    done = saccade(*shlex.split(command)[1:], *small)
    assert (done.status, done.errors) == (0, "")
    bodies = [find_checkpoint(folder).load_model().state_dict() for folder in (run, tmp_path / "my run-linear")]
    kept = [name for name in bodies[0] if not name.startswith("head.")]
    assert len(kept) > 100
    assert all(torch.equal(bodies[0][name], bodies[1][name]) for name in kept)
    folder = api.export(tmp_path / "my run-linear", formats=["hub"]).folder
    assert json.loads((folder / "config.json").read_text())["architecture"] == "mobilenetv2_100"


def test_a_new_head_that_is_timms_own_is_exported(tmp_path: Path):
    folder = api.export(untrained_run(tmp_path / "run", "resnet18+linear"), formats=["hub"]).folder
    assert json.loads((folder / "config.json").read_text())["architecture"] == "resnet18"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"channels": "grey", "mean": (0.5,), "std": (0.2,)}, "turn pictures grey"),
        ({"fast_decode": True}, "decode large JPEG files at a fraction of their size (fast_decode)"),
        ({"fit": "pad", "resize_px": None}, "round the sides of a picture that is fitted whole (fit pad) as we do"),
        ({"fit": "cover", "input_width_px": 96}, "cut an input of 96x64 px as we do, which is not square"),
    ],
)
def test_preprocessing_that_timm_does_not_have_is_refused(changes: dict[str, object], what: str):
    with pytest.raises(ExportError) as caught:
        timm_crop(Preprocessing.model_validate(PIXELS.model_dump() | changes))
    assert caught.value.message == f"timm cannot {what}, so whole pictures would get other answers there.\n{GRAPH}"


def test_a_picture_resized_whole_is_squashed():
    whole = PIXELS.model_copy(update={"resize_px": None, "input_width_px": 96})
    assert timm_crop(whole) == ("squash", 1.0)
    assert timm_crop(whole.model_copy(update={"fit": "squash"})) == ("squash", 1.0)


def test_the_share_that_is_cut_out_gives_every_size_back_by_timms_arithmetic():
    off = []
    for input_px in range(16, 513, 3):
        for resize_px in range(input_px, 2 * input_px + 1):
            share = json.loads(json.dumps(crop_share(input_px, resize_px)))
            assert math.floor(input_px / share) == resize_px
            off.append(abs(share - input_px / resize_px))
    assert 0 < max(off) < 1e-15  # some quotients do not give their size back, and a neighbour does


def test_an_answer_that_is_not_the_runs_is_refused_and_nothing_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def one_tensor_wrong(*given: object) -> dict[str, torch.Tensor]:
        weights = under_timm_names(*given)
        return weights | {"bn1.bias": weights["bn1.bias"] + 0.1}

    monkeypatch.setattr(hub, "under_timm_names", one_tensor_wrong)
    with pytest.raises(ExportError) as caught:
        api.export(run, tmp_path / "out", formats=["hub"])
    assert caught.value.message.startswith(
        "Saccade's own reader (timm is not installed) answers otherwise than the run: logits of generated images "
    )
    assert not (tmp_path / "out").exists()


def test_patterns_stand_for_names():
    assert list(expanded("b{1-2}.{conv|bn}")) == ["b1.conv", "b1.bn", "b2.conv", "b2.bn"]


def test_every_network_whose_spelling_by_timm_is_known_has_a_name_for_every_tensor():
    assert set(NETWORKS) == {line.network for line in public_weights()}
    for ours, network in NETWORKS.items():
        architecture = MODELS.get(ours)
        shapes = own_shapes(ours, ModelSpec(num_classes=7, input_CHW=architecture.default_spec.input_CHW))
        named = theirs_by_ours(network, dict.fromkeys(shapes, ()), architecture.rename_key)
        assert {name for name in shapes if not name.startswith("auxiliary.")} <= set(named), ours
        assert f"{network.last_layer}.weight" in named.values(), ours


def asked(*arguments: str) -> object:
    """What `with_timm.py` prints."""
    path = os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    script = str(REPOSITORY / "tests/ship/with_timm.py")
    done = run_python([script, *arguments], REPOSITORY, environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@with_libraries
def test_timm_has_just_the_names_and_shapes_that_are_written():
    theirs = asked("names")
    for ours, network in NETWORKS.items():
        architecture = MODELS.get(ours)
        spec = ModelSpec(num_classes=7, input_CHW=architecture.default_spec.input_CHW)
        empty = {name: torch.empty(shape, device="meta") for name, shape in own_shapes(ours, spec).items()}
        written = under_timm_names(ours, network, empty)
        assert {name: list(tensor.shape) for name, tensor in written.items()} == theirs[ours], ours


@with_libraries
def test_timm_and_transformers_answer_whole_photos_as_predict_does(shared, tmp_path: Path):
    photos = sorted((shared("data/clothing-small") / "test").rglob("*.jpg"))[::60][:6]
    squashed = PIXELS.model_copy(update={"resize_px": None, "interpolation": "bilinear"})
    runs = [
        public_run(tmp_path / "public", shared("weights/efficientnet_lite0"), "efficientnet-lite0"),
        with_known_features(untrained_run(tmp_path / "plain", "resnet18", temperature=1.0, head_scale=0.1)),
        with_known_features(untrained_run(tmp_path / "tempered", "mobilenetv3-small")),
        untrained_run(tmp_path / "squashed", "efficientnet-lite0", squashed),
        untrained_run(tmp_path / "several", "mobilenetv2", temperature=1.0, task=SEVERAL),
        untrained_run(tmp_path / "dense", "convnext-atto"),
        untrained_run(tmp_path / "growing", "regnety-400mf"),
    ]
    found = asked("photos", json.dumps([str(path) for path in photos]), json.dumps([str(run) for run in runs]))
    for run, each in zip(runs, found, strict=True):
        assert each["read_by"].startswith("timm 1."), run.name
        atol = 1e-6 if run.name == "public" else 5e-6  # networks without training make more of a pixel's last bit
        np.testing.assert_allclose(each["timm"], each["ours"], rtol=0, atol=atol, err_msg=run.name)
        np.testing.assert_allclose(each["transformers"], each["ours"], rtol=0, atol=atol, err_msg=run.name)
    for each in found[1:3]:
        np.testing.assert_allclose(each["distances"], each["own_distances"], rtol=0, atol=1e-4)
    assert [each["difference"] for each in found[:2]] == [0.0, 0.0]  # bit for bit, where nothing is folded
