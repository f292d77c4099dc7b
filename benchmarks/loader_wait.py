"""How long a training step waits for its photos: SqueezeNet 1.1 at 224 px on clothing-small, policy `photo`.

    python -m benchmarks.loader_wait [--threads 2] [--pairs 3] [--json]

The goal is that waiting takes less than 5 % of the time. Batches of 64 come from the files, nothing is kept in memory;
the first batch of a run is not counted.
"""

import time
from itertools import islice

import numpy as np

from saccade.core.runtime import RuntimeConfig
from saccade.core.runtime import start as start_runtime
from saccade.core.types import Preprocessing
from saccade.data.augmentation_policy import get_policy
from saccade.data.loading.loader import LoaderConfig, build_loader
from saccade.data.source import open_source
from saccade.models.architecture import ModelSpec, build_model
from saccade.train.config import RunConfig
from saccade.train.step import TrainingStep

from .common import argument_parser, report, shared_folder, start

SIZE_PX, BATCH_SIZE = 224, 64


def main() -> None:
    """Run the benchmark."""
    arguments = argument_parser(__doc__.split("\n")[0]).parse_args()
    header = start(arguments)
    source = open_source(str(shared_folder("data/clothing-small")))
    index_N = np.array([index for index in range(len(source)) if source.record(index).split == "train"])
    preprocessing = Preprocessing(input_height_px=SIZE_PX, input_width_px=SIZE_PX, resize_px=256)
    loader_config = LoaderConfig(batch_size=BATCH_SIZE, threads=arguments.threads, memory_limit_bytes=0)
    config = RunConfig(model="squeezenet1.1", batch_size=BATCH_SIZE)
    runtime = start_runtime(RuntimeConfig(num_threads=arguments.threads))
    model = build_model("squeezenet1.1", ModelSpec(num_classes=len(source.classes), input_CHW=preprocessing.input_CHW))
    training = TrainingStep(model, config, preprocessing, runtime)
    num_batches = 2 if arguments.smoke else 24
    rows = []
    with build_loader(source, index_N, preprocessing, get_policy("photo").config, loader_config, seed=0) as loader:
        for epoch in range(1 if arguments.smoke else arguments.pairs):
            batches = islice(loader.epoch(epoch), num_batches + 1)
            training.run(next(batches), 0, 0.01)
            waited_s, started = loader.waited_s, time.perf_counter()
            for step, batch in enumerate(batches, start=1):
                training.run(batch, step, 0.01)
            seconds = time.perf_counter() - started
            share = (loader.waited_s - waited_s) / seconds
            rows.append({"images_per_s": round(num_batches * BATCH_SIZE / seconds, 1), "waiting_percent": 100 * share})
    lines = [f"{row['images_per_s']:8.1f} images/s, waiting {row['waiting_percent']:.2f} %" for row in rows]
    report(arguments, {"header": header, "rows": rows}, "\n".join(lines))


if __name__ == "__main__":
    main()
