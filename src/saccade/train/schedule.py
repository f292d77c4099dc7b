"""Learning-rate schedules as pure functions of the step: nothing to save, nothing to restore."""

import math

from .config import ScheduleConfig


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
