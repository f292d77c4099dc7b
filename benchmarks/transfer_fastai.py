"""fastai's way from a folder of photos to a judged classifier, as its tutorials show it: `transfer_peer.py` runs it.

    python -m benchmarks.transfer_fastai FOLDER WEIGHTS.safetensors EPOCHS WORKERS

Needs fastai with torch and torchvision, in an environment of its own; it shares no code with the product. FOLDER has
train/, validation/ and test/ with a folder a class. Prints one JSON object.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.torchvision_stub import import_torchvision

BATCH_SIZE, RESIZED_PX, CROP_PX = 32, 256, 224
PUBLIC_FILE = "squeezenet1_1-b8a52dc0.pth"  # where torchvision looks for its weights before it fetches them


def main() -> None:
    """Train and judge; the seconds count from here to the verdict, and so not the imports."""
    folder, weights, epochs, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    with tempfile.TemporaryDirectory() as home:
        os.environ["TORCH_HOME"] = home
        kept = Path(home) / "hub" / "checkpoints" / PUBLIC_FILE
        kept.parent.mkdir(parents=True)
        torch.save(load_file(weights), kept)
        started_s = time.perf_counter()
        result = fine_tune(folder, epochs, workers)
        print(json.dumps({"seconds": time.perf_counter() - started_s, **result}))


def fine_tune(folder: Path, epochs: int, workers: int) -> dict[str, object]:
    """`vision_learner(...).fine_tune(epochs)`: one epoch of the new layers, then all of them; judged on test/."""
    import_torchvision()
    from fastai.vision.all import (
        ImageDataLoaders,
        Resize,
        accuracy,
        aug_transforms,
        get_image_files,
        set_seed,
        vision_learner,
    )
    from torchvision.models import squeezenet1_1

    set_seed(0)
    torch.set_num_threads(workers)
    loaders = ImageDataLoaders.from_folder(
        folder,
        train="train",
        valid="validation",
        item_tfms=Resize(RESIZED_PX),
        batch_tfms=aug_transforms(size=CROP_PX),
        bs=BATCH_SIZE,
        num_workers=workers,
    )
    learner = vision_learner(loaders, squeezenet1_1, metrics=accuracy)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
        judged = loaders.test_dl(get_image_files(folder / "test"), with_labels=True)
        probability_NK, label_N = learner.get_preds(dl=judged)
        augmented_NK, _ = learner.tta(dl=judged)
    return {
        "num_samples": len(label_N),
        "num_correct": int((probability_NK.argmax(1) == label_N).sum()),
        "num_correct_augmented": int((augmented_NK.argmax(1) == label_N).sum()),
    }


if __name__ == "__main__":
    main()
