"""What the command line sets in its process, which is its own; torch need not be imported for it.

A verb called from Python never asks for large pages: torch reads that switch once, so it cannot be put back.
"""

import warnings

from .allocator import use_large_pages

# Pillow's DecompressionBombWarning, told by its text so that Pillow need not be imported for it.
BOMB_ALARM = r"Image size \(\d+ pixels\) exceeds limit of \d+ pixels"


def own_process() -> None:
    """Take the process for ourselves, as only the command line does."""
    use_large_pages()
    refuse_image_bombs()


def refuse_image_bombs() -> None:
    """Let Pillow's alarm about an image that declares too many pixels be an error, which decoding names."""
    warnings.filterwarnings("error", message=BOMB_ALARM)
