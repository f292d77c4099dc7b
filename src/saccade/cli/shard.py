"""`saccade shard SOURCE --out DIR|s3://...`: any source as tar shards, for training from a distance."""

import sys
from functools import partial

import typer

from ..core.errors import UsageError
from .bad_image_option import ON_BAD_IMAGE
from .output import print_json, print_opening, print_result


def shard(
    source: str = typer.Argument(metavar="SOURCE", help="The images: a folder, a file or a name (saccade sources)."),
    out: str = typer.Option(
        ..., "--out", metavar="DIR|ADDRESS", help="Folder to write, or an address: s3://bucket/folder, gs://, az://."
    ),
    short_side_px: int = typer.Option(
        0, "--short-side", metavar="PX", min=0, help="Shrink larger pictures to this short side, as JPEG. [0: none]"
    ),
    images_per_shard: int = typer.Option(0, "--images-per-shard", metavar="N", min=0, help="Images in a shard."),
    shard_bytes: int = typer.Option(
        0, "--shard-bytes", metavar="N", min=0, help="Bytes from which on a shard is full. [134217728]"
    ),
    on_bad_image: str = ON_BAD_IMAGE,
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
) -> None:
    """Write the images of SOURCE as tar shards in the WebDataset convention, with their labels and splits.

    Every image is decoded before the first shard is written, and one that cannot be is named. Files are kept to the
    byte, unless --short-side shrinks them. Each shard is read back and compared before it counts.
    The same command goes on where it was stopped; the same SOURCE and options always give the same bytes.
    """
    from ..data.source import refuse_absent

    refuse_absent(source)  # before torch is imported, which takes seconds
    from .. import api
    from ..data.left_out import check_on_bad_image

    if images_per_shard and shard_bytes:
        raise UsageError("--images-per-shard and --shard-bytes say the same in two ways.\nLeave one of them out.")
    on_terminal = sys.stderr.isatty()

    usual = api.ShardSettings()
    settings = api.ShardSettings(
        images_per_shard=images_per_shard,
        shard_bytes=shard_bytes or usual.shard_bytes,
        short_side_px=short_side_px,
    )
    written = api.shard(
        source,
        out,
        settings,
        partial(_show, "wrote") if on_terminal else None,
        print_opening,
        check_on_bad_image(on_bad_image),
        partial(_show, "decoded") if on_terminal else None,
    )
    if as_json:
        print_json(
            {
                "source": source,
                "out": out,
                "num_images": written.num_images,
                "num_bytes": written.num_bytes,
                "num_found": written.num_found,
                "splits": written.splits,
                "shards": list(written.shards),
                "left_out": [{"file": bad.key, "reason": bad.reason} for bad in written.left_out],
            }
        )
        return
    print_result("\n".join(written.display_lines()))


def _show(what: str, done: int, total: int) -> None:
    sys.stderr.write(f"\r{what} {done:,} of {total:,}" + ("\r\033[K" if done == total else ""))
    sys.stderr.flush()
