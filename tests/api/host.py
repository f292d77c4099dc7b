"""A process that is not ours: it has settings of its own, calls every verb, and tells what was changed in it.

python tests/api/host.py FOLDER     every verb with paths as text, with an error inside too, in FOLDER/str; then every
                                    verb with paths that are neither text nor `Path`, in FOLDER/pathlike
"""

import json
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import torch


def on_signal(number: int, frame: object) -> None:
    """The host's own handler."""


def settle() -> None:
    """Choose otherwise than Saccade does, wherever there is a choice."""
    torch.set_num_threads(3)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("medium")
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_autocast_dtype("cpu", torch.bfloat16)
    torch.set_autocast_enabled("cpu", True)
    np.seterr(all="raise")
    torch.set_grad_enabled(False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    warnings.filterwarnings("default", message="a filter of the host")
    torch.manual_seed(11)
    np.random.seed(12)
    random.seed(13)


def state() -> dict[str, Any]:
    """Everything that a guest should leave as it is."""
    backends = torch.backends
    found = {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "cudnn": [backends.cudnn.benchmark, backends.cudnn.deterministic, backends.cudnn.enabled],
        "tf32": [backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision()],
        "precision": [backends.fp32_precision, backends.cudnn.conv.fp32_precision, backends.cudnn.rnn.fp32_precision],
        "products": [products.fp32_precision for products in (backends.cuda.matmul, backends.mkldnn.matmul)],
        "device": str(torch.get_default_device()),
        "numpy errors": np.geterr(),
        "mkldnn": [backends.mkldnn.enabled, backends.mha.get_fastpath_enabled()],
        "dtype": str(torch.get_default_dtype()),
        "modes": [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")],
        "environment": dict(os.environ),
        "filters": [repr(entry) for entry in warnings.filters],
        "signals": [repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "torch random": torch.get_rng_state().tolist(),
        "numpy random": repr(np.random.get_state()),
        "python random": repr(random.getstate()),
        "folder": os.getcwd(),
        "logging": [repr(logging.root.handlers), logging.root.level, logging.root.manager.disable],
        "recursion": sys.getrecursionlimit(),
        "path": list(sys.path),
        "hooks": [repr(sys.excepthook), repr(threading.excepthook), repr(warnings.showwarning)],
    }
    if "cv2" in sys.modules:
        found["opencv threads"] = sys.modules["cv2"].getNumThreads()
    if torch.cuda.is_initialized():
        found["gpu random"] = [generator.tolist() for generator in torch.cuda.get_rng_state_all()]
    return found


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{key}: {str(before[key])[:200]} -> {str(after.get(key))[:200]}"
        for key in before
        if before[key] != after.get(key)
    ]


class PlainPath(os.PathLike):
    """A path that is neither text nor a `Path`."""

    def __init__(self, path: object) -> None:
        self.path = str(path)

    def __fspath__(self) -> str:
        return self.path


def judged_by_a_server() -> object:
    """Six plain pictures, judged by the test server's model of three colours."""
    from saccade import api

    served = run_path(str(Path(__file__).parents[1] / "audit" / "v2_server.py"))
    image_NHWC = np.zeros((6, 5, 7, 3), np.uint8)
    image_NHWC[:3, :, :, 0] = image_NHWC[3:, :, :, 1] = 255
    with served["v2_server"](served["Habits"]()) as url:
        return api.evaluate_endpoint(url, "colours", (image_NHWC, ["red"] * 3 + ["green"] * 3))


@cache
def judged(run: Path) -> Any:
    """The run on the digits, as `api.evaluate` gives it."""
    from saccade import api

    return api.evaluate(run, "digits")


def verbs(folder: Path, as_path: Callable[[object], Any]) -> dict[str, list[tuple[Callable[[], object], bool]]]:
    """For each verb its calls, and whether each of them fails."""
    from saccade import api
    from saccade.data.sources.digits import Digits

    digits = Digits()
    pixels_NHW = np.stack([digits.read(index) for index in range(300)])
    label_N = np.array([digits.record(index).label for index in range(300)])
    small = (pixels_NHW, label_N)
    photo, photos, eleven = folder / "photos" / "3" / "0.png", folder / "photos", folder / "eleven"
    unseen = [255 - pixels_HW for pixels_HW in pixels_NHW[:40]]
    write_images(folder, small)
    run, out = as_path(folder / "run"), lambda name: as_path(folder / name)
    settings = {"batch_size": 64, "runtime": {"num_threads": 1, "precision": "float32"}}
    common = {"source": as_path(photos), "epochs": 1, "settings": settings}
    backbone = {"backbone": "lenet5", "weights": as_path(folder), "preprocessing": as_path(folder / "pixels.json")}
    one_class = np.zeros((30, 8, 8), np.uint8), ["elephant", "mouse"] * 15

    class Falling(api.Silent):
        """Who watches and fails in the middle of a training."""

        def epoch(self, result: object) -> None:
            raise ZeroDivisionError

    class Stopping(api.Silent):
        """Who watches and asks for the end."""

        def step(self, epoch: int, batch: int, num_batches: int, means: object) -> None:
            api.request_stop()

    def request(name: str, **changes: object) -> api.TrainRequest:
        return api.TrainRequest(**(common | {"out": out(name)} | changes))

    def transfer_request(name: str, **changes: object) -> api.TransferRequest:
        return api.TransferRequest(**(common | backbone | {"out": out(name), "cache": out("cache"), **changes}))

    # Of paths, neither the depth nor a second form of an export says anything.
    freeze, formats = ("auto", ["onnx", "openvino"]) if as_path is str else ("all", ["openvino"])

    too_small = request("none", model="alexnet", settings=["input.size_px=20"])

    def one_answer() -> None:
        answers = api.predict(run, [as_path(photo)] * 40)
        before = state()
        next(answers)
        told = changed(before, state())
        if told:
            raise AssertionError(told)

    return {
        "train": [
            (lambda: api.train(request("run")), False),
            (lambda: api.train(request("falls"), Falling()), True),
            (lambda: api.train(request("stops"), Stopping()), True),
            (lambda: api.train(api.TrainRequest(out=out("stops"), resume=True)), False),
            (lambda: api.train(request("memory", source=small)), False),
        ],
        "transfer": [
            (lambda: api.transfer(transfer_request("transferred", freeze=freeze)), False),
            (lambda: api.transfer(transfer_request("t-falls", freeze="none"), Falling()), True),
        ],
        "plan": [
            (lambda: api.plan(request("planned")), False),
            (lambda: api.plan(transfer_request("planned", freeze="all")), False),
            (lambda: api.plan(request("run", resume=True)), True),
        ],
        "add_class": [
            (lambda: api.add_class(run, as_path(eleven), out("grown"), as_path(photos), out("cache")), False),
            (lambda: api.add_class(run, as_path(photos), out("none")), True),
        ],
        "train_ensemble": [
            (lambda: api.train_ensemble(request("pair", ensemble=2)), False),
            (lambda: api.train_ensemble(request("p-falls", ensemble=2), Falling()), True),
        ],
        "find_learning_rate": [
            (lambda: api.find_learning_rate(request("none"), out("rates.svg")), False),
            (lambda: api.find_learning_rate(too_small, out("rates.svg")), True),
        ],
        "evaluate_endpoint": [
            (judged_by_a_server, False),
            (lambda: api.evaluate_endpoint("http://127.0.0.1:1", "m", small), True),
        ],
        "evaluate": [
            (lambda: api.evaluate(run, as_path(photos)), False),
            (lambda: api.evaluate([run], "digits", crops=2), False),
            (lambda: api.evaluate(out("pair"), small), False),
            (lambda: api.evaluate([run], one_class), True),
        ],
        "check_labels": [
            (lambda: api.check_labels(run, as_path(photos), out("labels.csv")), False),
            (lambda: api.check_labels(run, (pixels_NHW[:12], label_N[:12])), True),
        ],
        "write_mistakes": [
            (lambda: api.write_mistakes(judged(folder / "run"), out("mistakes.csv")), False),
            (lambda: api.write_mistakes(judged(folder / "run"), out("photos")), True),
        ],
        "write_evaluated_answers": [
            (lambda: api.write_evaluated_answers(judged(folder / "run"), out("judged.csv")), False),
            (lambda: api.write_evaluated_answers(judged(folder / "run"), out("photos")), True),
        ],
        "write_curves": [
            (lambda: api.write_curves(judged(folder / "run"), out("curves.csv")), False),
            (lambda: api.write_curves(judged(folder / "run"), out("curves.txt")), True),
        ],
        "write_evaluation_report": [
            (lambda: api.write_evaluation_report(judged(folder / "run"), out("evaluation.html")), False),
            (lambda: api.write_evaluation_report(judged(folder / "run"), out("photos")), True),
        ],
        "confidence_for": [
            (lambda: api.confidence_for(run, 0.5), False),
            (lambda: api.confidence_for(out("absent"), 0.9), True),
        ],
        "predict": [
            (lambda: list(api.predict(run, as_path(photos))), False),
            (lambda: list(api.predict([run, out("pair")], [as_path(photo), pixels_NHW[0]])), False),
            (one_answer, False),
            (lambda: next(api.predict(run, small)), False),
            (lambda: api.predict(out("absent"), small), True),
        ],
        "predict_to_csv": [
            (lambda: list(api.predict_to_csv(run, as_path(photos), out("answers.csv"))[1]), False),
            (lambda: api.predict_to_csv(run, as_path(photos), out("photos")), True),
        ],
        "predict_to_folder": [
            (lambda: api.predict_to_folder(run, as_path(photos), out("answers")), False),
            (lambda: api.predict_to_folder(run, as_path(photos), out("answers"), unit_of="1/1"), True),
        ],
        "predict_to_label_studio": [
            (lambda: api.predict_to_label_studio(run, as_path(photos), out("tasks.json")), False),
            (lambda: api.predict_to_label_studio(run, small, out("tasks.json")), True),
        ],
        "predict_to_fiftyone": [
            (lambda: api.predict_to_fiftyone(run, as_path(photos), out("export")), False),
            (lambda: api.predict_to_fiftyone(run, as_path(photos), out("export")), True),
        ],
        "features": [
            (lambda: api.features(run, as_path(photos), out("features.npz")), False),
            (lambda: api.features(run, [*unseen, folder / "pixels.json"], out("features.csv")), True),
        ],
        "features_to_folder": [
            (lambda: api.features_to_folder(run, as_path(photos), out("parts"), half=True), False),
            (lambda: api.features_to_folder(run, as_path(photos), out("answers")), True),
        ],
        "similar": [
            (lambda: api.similar(run, as_path(photo), as_path(photos), sheet=out("near.svg")), False),
            (lambda: api.similar(run, unseen[0], unseen, count=0), True),
        ],
        "suggest": [
            (lambda: api.suggest(run, as_path(eleven), 3, out=out("next.csv")), False),
            (lambda: api.suggest(run, as_path(eleven), 0), True),
        ],
        "drift": [
            (lambda: api.drift(run, as_path(eleven), as_path(photos)), False),
            (lambda: api.drift(run, unseen[:5]), True),
        ],
        "explain": [
            (lambda: api.explain(run, as_path(photo), out("why.svg"), source=as_path(photos)), False),
            (lambda: api.explain(run, pixels_NHW[0], class_name="elephant"), True),
        ],
        "export": [
            (lambda: api.export(run, out("exported"), formats=formats), False),
            (lambda: api.export(run, formats=["onix"]), True),
        ],
        "serve": [
            (lambda: api.serve(out("exported"), threads=1).stop(), False),
            (lambda: api.serve(out("absent")), True),
        ],
        "studio": [
            (lambda: api.studio(out("")).stop(), False),
            (lambda: api.studio(out("absent")), True),
        ],
        "push": [
            (lambda: api.push(out("hub"), "somebody/clothes", dry_run=True), False),
            (lambda: api.push(run, "somebody/clothes", dry_run=True), True),
        ],
        "inspect": [
            (lambda: api.inspect(as_path(photos)), False),
            (lambda: api.inspect(small), False),
            (lambda: api.inspect(out("absent")), True),
        ],
        "shard": [
            (lambda: api.shard(as_path(photos), out("shards")), False),
            (lambda: api.shard(as_path(photos), out("shards"), api.ShardSettings(images_per_shard=2)), True),
        ],
        "preview": [
            (lambda: api.preview(api.PreviewRequest(source=as_path(photos)), out("drawn.png")), False),
            (lambda: api.preview(api.PreviewRequest(source=out("absent")), out("drawn.png")), True),
        ],
        "table": [(lambda: api.table(run), False), (lambda: api.table(out("absent")), True)],
        "compare": [(lambda: api.compare([run, "resnet20"]), False), (lambda: api.compare(["lenet", "lenet5"]), True)],
        "compare_verdicts": [
            (lambda: api.compare_verdicts([out("pair/member-1"), out("pair/member-2")]), False),
            (lambda: api.compare_verdicts([run]), True),
        ],
        "report": [
            (lambda: api.report(run, out("report.html")), False),
            (lambda: api.report(out("pair")), True),
        ],
        "runs": [(lambda: api.runs(as_path(folder)), False), (lambda: api.runs(out("absent")), True)],
        "is_run": [(lambda: api.is_run(run), False), (lambda: api.is_run(3), True)],
        "is_ensemble": [(lambda: api.is_ensemble(run), False), (lambda: api.is_ensemble(3), True)],
        "request_stop": [(lambda: api.request_stop(), False)],
    }  # fmt: skip


def write_images(folder: Path, small: tuple[np.ndarray, np.ndarray]) -> None:
    """A folder of images, one of another class, and the weights of a network for other classes."""
    from PIL import Image
    from safetensors.torch import save_file

    from saccade.models.architecture import ModelSpec, build_model

    for index, (pixels_HW, label) in enumerate(zip(*small)):
        place = folder / "photos" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_HW).save(place / f"{np.flatnonzero(small[1] == label).tolist().index(index)}.png")
    (folder / "eleven").mkdir(exist_ok=True)
    for index, pixels_HW in enumerate(small[0][:40]):
        Image.fromarray(255 - pixels_HW).save(folder / "eleven" / f"{index}.png")
    with torch.device("cpu"):
        network = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    weights = {name: tensor.float().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    write_for_hub(folder / "hub")
    pixels = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}
    (folder / "pixels.json").write_text(json.dumps(pixels))


def write_for_hub(run: Path) -> None:
    """A run whose network the hub's libraries know."""
    from saccade.core.types import Preprocessing
    from saccade.models.architecture import build_model
    from saccade.runs.checkpoint import save_checkpoint
    from saccade.runs.manifest import Manifest

    pixels = Preprocessing(input_height_px=32, input_width_px=32)
    manifest = Manifest(model="mobilenetv3-small", preprocessing=pixels, classes=("a", "b"))
    with torch.device("cpu"):
        weights = build_model("mobilenetv3-small", manifest.spec).state_dict()
    save_checkpoint(
        run / "checkpoint-best",
        manifest,
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()},
    )


def main() -> None:
    settle()
    before = state()
    import saccade
    import saccade.api  # noqa: F401

    told: dict[str, dict[str, list[str]]] = {"import": {"import": changed(before, state())}}
    for kind, as_path in (("str", str), ("pathlike", PlainPath)):
        folder = Path(sys.argv[1]) / kind
        folder.mkdir()
        os.chdir(folder)
        told[kind] = {
            verb: [
                text
                for number, (call, fails) in enumerate(cases if kind == "str" else cases[:1])
                for text in called(call, fails, number)
            ]
            for verb, cases in verbs(folder, as_path).items()
        }
    print(json.dumps(told))


def called(call: Callable[[], object], fails: bool, number: int) -> list[str]:
    """What `call`, case `number` of its verb, has changed in this process; and where it does not end as it should."""
    from saccade.api import SaccadeError

    before = state()
    try:
        call()
        failed = ""
    except (SaccadeError, ZeroDivisionError, TypeError) as error:
        failed = f"{type(error).__name__}: {error}"
    told = changed(before, state())
    if bool(failed) != fails:
        told.append(failed or "did not fail")
    return [f"case {number} {text}" for text in told]


if __name__ == "__main__":
    main()
