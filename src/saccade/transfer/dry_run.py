"""`saccade transfer --dry-run`: what a transfer would do, without writing anything and without downloading weights."""

import time
from pathlib import Path

from ..core.errors import counted, printable
from ..core.runtime import start
from ..data.augmenter import measure_colours
from ..models.new_head import network_words
from ..models.surgery import ALL
from ..train.config import RunConfig
from ..train.dry_run import Cost, DryRun, cost_of, images_by_part
from ..train.prepare import divide, scan_images
from ..train.progress import RunProgress
from ..train.run import model_parameters, opening_lines
from ..train.run_directory import RunFolder
from ..train.single_images import without_effect
from ..weights.public_table import line_at
from .run import KNOWN_AT_ONCE, network_of_run, with_weights_known
from .start_point import AUTO, StartWork, enough_epochs, forecast_start

SPLIT = "split "


def plan_transfer(
    config: RunConfig, is_here: bool, run: Path, progress: RunProgress, preprocessing: Path | None
) -> DryRun:
    """What a transfer as `config` says would be, in `run`; `is_here` says whether its weights can be looked at.

    Raises what a transfer raises before its work.
    """
    started_s = time.monotonic()
    runtime = start(config.runtime)
    asked, weights = config, None
    if is_here:
        weights, config = with_weights_known(config, preprocessing, progress.note)
    images = divide(config, scan_images(config, runtime, progress.note, progress.scan), progress.note)
    if config.transfer.freeze != ALL:  # then nothing is mixed
        for told in without_effect(config, len(images.split.without_copies("validation")) > 0):
            progress.note(told)
    known = opening_lines(config, images, runtime.describe(), run, 0)
    if weights is None:
        opening = [line for line in known if line.startswith((*KNOWN_AT_ONCE, SPLIT))]
        name = printable(config.transfer.backbone)
        known_weights = line_at(config.transfer.weights)
        many = f" ({known_weights.megabytes:.0f} MB to download)" if known_weights else ""
        opening.insert(2, f"model   {name}: its weights{many} are not on this machine; a dry run downloads none")
        download_bytes = round(1e6 * known_weights.megabytes) if known_weights else None
        cost = Cost(parameters=0, multiply_adds=None, training_bytes=None, left=None, download_bytes=download_bytes)
        return DryRun(config=asked, opening=tuple(opening), run=run, num_images=images_by_part(images), cost=cost)
    white = images.preprocessing.white_16_bit
    augment = measure_colours(config.augment, images.source, images.split.train_N, config.seed, white)
    name, model = network_of_run(config, RunFolder(path=run), weights, images)
    config = config.model_copy(update={"augment": augment, "model": name})
    parameters = model_parameters(model)
    multiply_adds, training_bytes = cost_of(model, config, images, runtime)
    work = StartWork(
        config=config,
        images=images,
        runtime=runtime,
        cache=None,
        check=lambda: None,
        progress=progress,
        started_s=started_s,
    )
    left = forecast_start(work, model, run)
    channels, height_px, width_px = images.spec.input_CHW
    epochs = counted(enough_epochs(config, len(images.split.train_N)), "epoch")
    depth = {AUTO: f"depth by evidence, then up to {epochs}", ALL: "only the last layer is fitted"}
    what = depth.get(config.transfer.freeze, f"frozen up to {printable(config.transfer.freeze)}, {epochs}")
    line = (
        f"model   {printable(network_words(name))}: {parameters:,} parameters, "
        f"input {height_px}x{width_px}x{channels}; recipe {printable(config.recipe)}: {what}"
    )
    opening = [line if told.startswith("model ") else told for told in known]
    return DryRun(
        config=asked,
        opening=tuple(opening),
        run=run,
        num_images=images_by_part(images),
        cost=Cost(parameters=parameters, multiply_adds=multiply_adds, training_bytes=training_bytes, left=left),
    )
