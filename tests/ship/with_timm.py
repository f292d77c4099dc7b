"""What the real timm and transformers make of our exports, in a process of its own, since they change much at import.

python tests/ship/with_timm.py names            timm's tensors by name, of every network that is exported
python tests/ship/with_timm.py photos DIR...    what they answer about whole photos, which are PHOTOS
"""

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from benchmarks.torchvision_stub import import_torchvision
from PIL import Image

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    import_torchvision()
    import timm


def names() -> dict[str, dict[str, list[int]]]:
    """By our name, timm's tensors with their shapes for seven classes."""
    from saccade.ship.timm_names import NETWORKS

    found = {}
    for ours, network in NETWORKS.items():
        with torch.device("meta"):
            model = timm.create_model(network.name, num_classes=7, **network.model_args)
        found[ours] = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    return found


def exported(run: str, photos: list[Path]) -> dict[str, Any]:
    """How the export was read again, and the probabilities of whole photos by ourselves, timm and transformers."""
    from saccade import api

    written = api.export(run, formats=["hub"])
    classes, folder = written.bundle.classes, written.folder
    ours = [list(answer.probabilities) for answer in api.predict(run, photos)]
    return {
        "read_by": written.bundle.read_by,
        "difference": written.differences["hub"].logits,
        "ours": ours,
        "timm": by_timm(folder, photos, written.bundle.task.is_several),
        "transformers": by_transformers(folder, photos, classes),
        **distances(run, folder, photos),
    }


def distances(run: str, folder: Path, photos: list[Path]) -> dict[str, list[float]]:
    """How far photos lie from those of training, by the code of the card and by the run, if it keeps any."""
    import numpy

    from saccade import load
    from saccade.classify.classifier import open_member
    from saccade.core.runtime import RuntimeConfig

    card = (folder / "README.md").read_text()
    if not (folder / "unlike_training.safetensors").exists():
        return {}
    code = card.split("## Unlike anything seen in training")[1].split("```python\n")[1].split("```")[0]
    code = code.replace('"unlike_training.safetensors"', repr(str(folder / "unlike_training.safetensors")))
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    prepare = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    found = []
    for path in photos:
        names: dict[str, Any] = {"model": model, "prepare": prepare, "image": Image.open(path).convert("RGB")}
        exec(code, names)
        found.append(float(names["distance"][0]))
    novelty = open_member(Path(run), RuntimeConfig(device="cpu")).novelty
    assert novelty is not None
    own: list[float] = novelty.distance(numpy.asarray(load(run).features(photos))).tolist()
    return {"distances": found, "own_distances": own}


def by_timm(folder: Path, photos: list[Path], is_several: bool) -> list[list[float]]:
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    prepare = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    with torch.inference_mode():
        logits_BK = torch.cat([model(prepare(Image.open(path).convert("RGB"))[None]) for path in photos])
    probability_BK: torch.Tensor = logits_BK.sigmoid() if is_several else logits_BK.softmax(dim=1)
    found: list[list[float]] = probability_BK.tolist()
    return found


def by_transformers(folder: Path, photos: list[Path], classes: tuple[str, ...]) -> list[list[float]]:
    """Of the pipeline as anybody calls it: nothing but the folder is given."""
    from transformers import pipeline

    classify = pipeline("image-classification", model=str(folder))
    answers = [{each["label"]: each["score"] for each in classify(str(path), top_k=len(classes))} for path in photos]
    return [[answer[name] for name in classes] for answer in answers]


def main() -> None:
    what, *arguments = sys.argv[1:]
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        if what == "names":
            found: Any = names()
        else:
            photos, runs = (json.loads(text) for text in arguments)
            found = [exported(run, [Path(path) for path in photos]) for run in runs]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
