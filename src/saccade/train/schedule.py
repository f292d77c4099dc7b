"""Schedules as pure functions of the step or epoch (learning rate, input size): nothing to save or to restore."""

import math

from .config import InputConfig, ScheduleConfig


def learning_rate_factor(config: ScheduleConfig, step: int, num_steps: int) -> float:
    """The factor of the peak learning rate at `step` of 0 to `num_steps` - 1.

    Warm-up rises linearly from 1/(w+1) to w/(w+1) over w steps. Then: constant; step (He et al. 2015, section 4.2);
    cosine (Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5 without restarts); triangular, a straight line
    down (Smith 2018, arXiv:1803.09820, one-cycle without its momentum part).
    """
    warmup_steps = int(config.warmup_fraction * num_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    if config.name == "step":
        drops = sum(step >= fraction * num_steps for fraction in config.step_fractions)
        return config.step_factor**drops
    if config.name == "cosine":
        return config.final_factor + (1 - config.final_factor) * (1 + math.cos(math.pi * progress)) / 2
    if config.name == "triangular":
        return 1 - (1 - config.final_factor) * progress
    return 1.0


def input_size(config: InputConfig, full_HW: tuple[int, int], epoch: int, num_epochs: int) -> tuple[int, int]:
    """(height, width) in pixels that training uses in `epoch` (counted from 0): growing by a straight line from
    `start_fraction` of the full size to all of it (Howard 2018, fastai's DAWNBench entry; Tan and Le 2021,
    arXiv:2104.00298, section 4). Sides are multiples of 32 where they are 128 or more in full, else of 4."""
    progress = min(1.0, (epoch / num_epochs) / config.full_from_fraction) if config.full_from_fraction else 1.0
    fraction = config.start_fraction + (1 - config.start_fraction) * progress
    if fraction >= 1:
        return full_HW
    height, width = (_rounded(fraction * side, 32 if side >= 128 else 4, side) for side in full_HW)
    return height, width


def _rounded(side: float, multiple: int, full: int) -> int:
    return min(full, max(multiple, multiple * round(side / multiple)))
