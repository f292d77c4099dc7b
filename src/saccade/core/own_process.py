"""What the command line sets in its process, which is its own; torch need not be imported for it.

A verb called from Python never asks for large pages: torch reads that switch once, so it cannot be put back.
"""

import os
import warnings

from .allocator import use_large_pages

# How long OpenMP's threads spin before they sleep, in rounds of libgomp, whose own 300,000 make small networks ten
# times slower beside another busy process. It reads them when torch is imported (benchmarks/busy_machine.py).
SPIN_SETTING, SPIN_ROUNDS = "GOMP_SPINCOUNT", "10000"

# Pillow's DecompressionBombWarning, told by its text so that Pillow need not be imported for it.
BOMB_ALARM = r"Image size \(\d+ pixels\) exceeds limit of \d+ pixels"


def own_process() -> None:
    """Take the process for ourselves, as only the command line does."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(SPIN_SETTING, SPIN_ROUNDS)
    use_large_pages()
    refuse_image_bombs()


def refuse_image_bombs() -> None:
    """Let Pillow's alarm about an image that declares too many pixels be an error, which decoding names."""
    warnings.filterwarnings("error", message=BOMB_ALARM)
