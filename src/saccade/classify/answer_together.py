"""Several runs answer for image files together: the mean of their probabilities, each file decoded once."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..core.errors import ImageError
from ..core.runtime import RuntimeConfig
from ..core.types import Prediction, Preprocessing
from ..data.decode import decode_image
from ..data.images_in_memory import HeldImage
from ..data.preprocess import prepare_image
from .ensemble import Ensemble, make_ensemble
from .predictor import BATCH_SIZE, chunks, load_predictor, read_file

Prepared = dict[Preprocessing, np.ndarray]
SMALLEST_PROBABILITY = 1e-300


@dataclass(frozen=True, kw_only=True)
class EnsemblePredictor:
    """The runs of an ensemble, ready to answer together; each one's own temperature is applied first."""

    ensemble: Ensemble

    def predict_files(self, paths: Iterable[Path | HeldImage]) -> Iterator[Prediction | ImageError]:
        """An answer for each file in order, or the ImageError that says why there is none.

        The logits of an answer are the logarithms of its probabilities.
        """
        num_threads = self.ensemble.members[0].runtime.num_threads
        with ThreadPoolExecutor(max_workers=num_threads, thread_name_prefix="decode") as pool:
            for chunk in chunks(paths, BATCH_SIZE):
                started_s = time.perf_counter()
                prepared = list(pool.map(self._prepare_file, chunk))
                good = [image for image in prepared if not isinstance(image, ImageError)]
                probability_BK = iter(self._probabilities(good) if good else ())
                latency_ms = 1000 * (time.perf_counter() - started_s) / max(len(good), 1)
                for path, image in zip(chunk, prepared):
                    if isinstance(image, ImageError):
                        yield image
                    else:
                        yield self._answer(str(path), next(probability_BK), latency_ms)

    def _probabilities(self, prepared: list[Prepared]) -> np.ndarray:
        """probability_BK float64, the mean over the members."""
        total_BK = np.zeros((len(prepared), len(self.ensemble.classes)))
        for member, order_K in zip(self.ensemble.members, self.ensemble.order_MK):
            image_BHWC = np.stack([image[member.preprocessing] for image in prepared])
            logits_BK = member.predict_batch(torch.from_numpy(image_BHWC).permute(0, 3, 1, 2))[:, order_K]
            total_BK += torch.softmax(logits_BK.double() / member.temperature, dim=1).numpy()
        return total_BK / len(self.ensemble.members)

    def _answer(self, key: str, probability_K: np.ndarray, latency_ms: float) -> Prediction:
        return Prediction(
            key=key,
            classes=self.ensemble.classes,
            probabilities=tuple(probability_K.tolist()),
            logits=tuple(math.log(max(value, SMALLEST_PROBABILITY)) for value in probability_K.tolist()),
            latency_ms=latency_ms,
        )

    def _prepare_file(self, path: Path | HeldImage) -> Prepared | ImageError:
        try:
            image_HWC = decode_image(read_file(path), str(path)).image_HWC
        except ImageError as error:
            return error
        kinds = dict.fromkeys(member.preprocessing for member in self.ensemble.members)
        return {kind: prepare_image(image_HWC, kind) for kind in kinds}


def load_ensemble_predictor(runs: Sequence[Path], runtime_config: RuntimeConfig | None = None) -> EnsemblePredictor:
    """Two runs or more, ready to answer together. Raises CheckpointError where one cannot be read or others' classes
    are not its own."""
    members = [load_predictor(run, runtime_config) for run in runs]
    return EnsemblePredictor(ensemble=make_ensemble(members))
