"""Arguments that name nothing: told before torch is imported, which takes seconds, in the words of what opens them."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import ImageError


def refuse_missing(run: str | Path, images: Sequence[str | Path] = ()) -> None:
    """Raise the error that opening would, where RUN is not there, or the only one of `images`.

    What may be the name of a network, an address or a source is left to those who open it. Of several images those that
    are there are answered, so none is refused here.
    """
    text = str(run)
    if os.sep in text:
        from ..runs.at_path import refuse_no_run

        refuse_no_run(Path(text))
    if len(images) == 1:
        _refuse_missing_image(str(images[0]))


def _refuse_missing_image(text: str) -> None:
    from ..core.addresses import is_address, is_hub
    from ..data.source import is_builtin
    from ..data.source_text import split_source_text

    is_other = text in ("", "-") or is_address(text) or is_hub(text) or is_builtin(split_source_text(text)[0])
    if is_other or split_source_text(text)[1] or os.path.lexists(text):
        return
    try:
        os.lstat(text)
    except FileNotFoundError as error:
        raise ImageError(str(Path(text)), f"cannot be read: {error.strerror}.") from None
    except (OSError, ValueError):  # too long, or no name: reading says which
        return
