"""From files to answers with a trained classifier: the checkpoint's own preprocessing, network and classes."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..core.errors import DataError, ImageError, printable
from ..core.runtime import Runtime, RuntimeConfig, start
from ..core.types import Prediction, Preprocessing
from ..data.decode import decode_image
from ..data.images_in_memory import HeldImage
from ..data.limits import refuse_large_image
from ..data.preprocess import prepare_image
from ..evaluate.forward import forward, require_finite
from ..runs.checkpoint import find_checkpoint

BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A classifier ready to answer. `temperature` divides the logits before the softmax."""

    model: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    runtime: Runtime
    name: str
    architecture: str = ""
    seed: int = 0

    @torch.inference_mode()
    def predict_batch(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """logits_BK float32 on the CPU, of prepared uint8 images. Arithmetic is float32, as in judging.

        Raises ModelError where the network gives values that are not finite."""
        logits_BK = forward(self.model, image_BCHW, self.preprocessing, self.runtime, torch.float32).cpu()
        return require_finite(logits_BK, self.name)

    def predict_bytes(self, content: bytes, key: str) -> Prediction:
        """The answer for one encoded image. Raises ImageError naming `key`."""
        started_s = time.perf_counter()
        return self._answers([(key, self._prepare(content, key))], started_s)[0]

    def predict_files(self, paths: Iterable[Path | HeldImage]) -> Iterator[Prediction | ImageError]:
        """An answer for each file in order, or the ImageError that says why there is none."""
        with ThreadPoolExecutor(max_workers=self.runtime.num_threads, thread_name_prefix="decode") as pool:
            for chunk in chunks(paths, BATCH_SIZE):
                started_s = time.perf_counter()
                prepared = list(pool.map(self._prepare_file, chunk))
                good = [(str(path), image) for path, image in zip(chunk, prepared) if isinstance(image, np.ndarray)]
                answers = iter(self._answers(good, started_s))
                for image in prepared:
                    yield image if isinstance(image, ImageError) else next(answers)

    def _answers(self, prepared: list[tuple[str, np.ndarray]], started_s: float) -> list[Prediction]:
        if not prepared:
            return []
        image_BHWC = np.stack([image for _, image in prepared])
        logits_BK = self.predict_batch(torch.from_numpy(image_BHWC).permute(0, 3, 1, 2))
        probability_BK = torch.softmax(logits_BK.double() / self.temperature, dim=1)
        latency_ms = 1000 * (time.perf_counter() - started_s) / len(prepared)
        return [
            Prediction(
                key=key,
                classes=self.classes,
                probabilities=tuple(probability_K.tolist()),
                logits=tuple(logits_K.tolist()),
                latency_ms=latency_ms,
            )
            for (key, _), probability_K, logits_K in zip(prepared, probability_BK, logits_BK, strict=True)
        ]

    def _prepare(self, content: bytes | np.ndarray, key: str) -> np.ndarray:
        return prepare_image(decode_image(content, key).image_HWC, self.preprocessing)

    def _prepare_file(self, path: Path | HeldImage) -> np.ndarray | ImageError:
        try:
            return self._prepare(read_file(path), str(path))
        except ImageError as error:
            return error


def read_file(path: Path | HeldImage) -> bytes | np.ndarray:
    """The content of an image file, or of an image that a caller holds. Raises ImageError where it cannot be read."""
    if isinstance(path, HeldImage):
        return path.read()
    try:
        refuse_large_image(str(path), path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise ImageError(str(path), f"cannot be read: {error.strerror or error}.") from None


def load_predictor(run: Path, runtime_config: RuntimeConfig | None = None) -> Predictor:
    """The classifier of a run or checkpoint folder. Raises CheckpointError."""
    checkpoint = find_checkpoint(run)
    runtime = start(runtime_config or RuntimeConfig())
    model = checkpoint.load_model().to(device=runtime.device, memory_format=runtime.memory_format)  # type: ignore[call-overload]
    manifest = checkpoint.manifest
    return Predictor(
        model=model,
        classes=manifest.classes,
        preprocessing=manifest.preprocessing,
        temperature=manifest.temperature,
        runtime=runtime,
        name=printable(str(run)),
        architecture=manifest.model,
        seed=manifest.origin.seed,
    )


def list_images(paths: Iterable[Path]) -> list[Path]:
    """The files a person means: files as given, folders searched for files with an image's ending, sorted.

    Raises DataError where a path is not there or a folder has no image.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS and p.is_file())
            inside = [p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)]
            if not inside:
                raise DataError(
                    f"The folder {printable(str(path))} holds no images (endings looked for: "
                    f"{' '.join(sorted(IMAGE_ENDINGS))}).\nGive image files, or a folder that has some."
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"There is no file or folder '{printable(str(path))}'.\nCheck the path and its spelling.")
    return found


IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}


def chunks(paths: Iterable[Path | HeldImage], size: int) -> Iterator[list[Path | HeldImage]]:
    """`paths` in lists of `size`, the last one shorter."""
    chunk: list[Path | HeldImage] = []
    for path in paths:
        chunk.append(path)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
