"""One epoch of frozen transfer as tutorials show it; as a program, with torchvision's network and transforms.

    python -m benchmarks.transfer_usual FOLDER WEIGHTS.safetensors NUM_IMAGES WORKERS

Needs torch, Pillow and safetensors alone, torchvision for the program, so that another environment can run it.
"""

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUM_CLASSES, BATCH_SIZE = 10, 32


class Photos(Dataset):
    """Encoded files in memory, decoded and transformed by whichever worker asks."""

    def __init__(self, files: list[bytes], label_N: torch.Tensor, transform: Callable[[Image.Image], torch.Tensor]):
        self.files, self.label_N, self.transform = files, label_N, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.transform(Image.open(io.BytesIO(self.files[index])).convert("RGB")), self.label_N[index]


def usual_transform(image: Image.Image) -> torch.Tensor:
    """Resize(256), CenterCrop(224), ToTensor and Normalize, written out."""
    width_px, height_px = image.size
    scale = 256 / min(width_px, height_px)
    image = image.resize((int(width_px * scale), int(height_px * scale)), Image.Resampling.BILINEAR)
    left, top = (image.size[0] - 224) // 2, (image.size[1] - 224) // 2
    image = image.crop((left, top, left + 224, top + 224))
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(224, 224, 3).permute(2, 0, 1)
    return (pixels.float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def usual_epoch(
    backbone: nn.Module,
    files: list[bytes],
    label_N: torch.Tensor,
    workers: int,
    transform: Callable[[Any], torch.Tensor] = usual_transform,
) -> float:
    """Seconds of one epoch: workers decode, the frozen backbone runs in float32, Adam steps a new last layer."""
    backbone.eval().requires_grad_(False)
    loader = DataLoader(Photos(files, label_N, transform), BATCH_SIZE, shuffle=True, num_workers=workers)
    layer = nn.LazyLinear(NUM_CLASSES)
    started_s = time.perf_counter()
    optimizer: torch.optim.Optimizer | None = None
    for image_BCHW, label_B in loader:
        with torch.no_grad():
            feature_BX = backbone(image_BCHW)
        feature_BD = feature_BX.mean(dim=(2, 3)) if feature_BX.ndim == 4 else feature_BX
        logits_BK = layer(feature_BD)
        optimizer = optimizer or torch.optim.Adam(layer.parameters(), lr=1e-3)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits_BK, label_B).backward()
        optimizer.step()
    return time.perf_counter() - started_s


def main() -> None:
    import torchvision
    from safetensors.torch import load_file
    from torchvision import transforms

    folder, weights, num_images, workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    network = torchvision.models.squeezenet1_1()
    network.load_state_dict(load_file(weights))
    resize, crop = transforms.Resize(256), transforms.CenterCrop(224)
    transform = transforms.Compose([resize, crop, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    paths = [paths[number * (len(paths) - 1) // max(1, num_images - 1)] for number in range(num_images)]
    classes = sorted({path.parent.name for path in paths})
    label_N = torch.tensor([classes.index(path.parent.name) for path in paths])
    torch.set_num_threads(workers)
    seconds = usual_epoch(network.features, [path.read_bytes() for path in paths], label_N, workers, transform)
    print(json.dumps({"seconds": seconds, "torch": torch.__version__, "torchvision": torchvision.__version__}))


if __name__ == "__main__":
    main()
