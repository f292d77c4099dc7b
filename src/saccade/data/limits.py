"""What the files of a data set may declare, in one place: read before anything of that size is allocated.

The limits leave room for the largest honest sets; a file that compresses better than MAX_EXPANSION, beyond what any
machine has to spare, or with more classes than any network tells apart, is damaged or made to fill the memory.
"""

from pathlib import Path

from ..core.errors import DataError, ImageError
from ..core.plain_files import open_plain_file

MAX_ASPECT = 200  # the longer side over the shorter: where the short side is resized, the long one grows as much
MAX_JPEG_SCANS = (
    100  # of a progressive file, each as long as the whole picture takes; cameras and encoders write 1 to 20
)
MAX_IMAGE_PIXELS = 50_000_000  # of one image, height times width
MAX_BAND_VALUES = 80_000_000  # of one image of bands, height times width times channels: below Pillow's own alarm
MAX_IMAGE_BYTES = 256 << 20  # of one encoded image, whatever it lies in

FREE_IMAGE_BYTES = 100 << 20  # of memory that any image of a format without checksums may take to decode
MAX_IMAGE_EXPANSION = 1000  # bytes of such memory for each of the file; photographs reach 100

MAX_EXPANSION = 100  # decoded bytes for each byte of a compressed file; pixels of digits reach 20
FREE_DECODED_BYTES = 64 << 20  # which any file may decode to, however small it is
MAX_ARRAY_BYTES = 8 << 30  # of pixels in one file that is held in memory (IDX)

MAX_CLASSES = 100_000
MAX_CLASS_NAME_CHARACTERS = 256
MAX_NUMBER_DIGITS = 18  # of a class number that is written as text
MAX_NAMES_BYTES = 16 << 20  # of a list of class names beside the data
MAX_LABEL_FILE_BYTES = 128 << 20  # of a JSON file of labels: 300,000 tasks of Label Studio
MAX_DATA_CARD_BYTES = 1 << 20  # of the YAML head of a README.md
MAX_DATA_CARD_DEPTH = 50
MAX_DATA_CARD_VALUES = 250_000  # 20,000 class names are 40,000

MAX_CSV_LINE_CHARACTERS = 1 << 20
MAX_TABLE_COLUMNS = 10_000
MAX_FILE_NAME_CHARACTERS = 1000  # with its folders
MAX_TAR_TEXT_BYTES = 1 << 20  # of a long name or a set of pax records in front of a member
MAX_TAR_HEADERS_IN_A_ROW = 16  # long names and pax records in front of one member; tar writes three at most
MAX_PICKLE_OPCODES = 4_000_000  # CIFAR-100 takes 400,000

MAX_ROWS_IN_SMALL_FILE = 1_000_000  # which any Parquet file may have; a larger one, a row for each byte
MAX_ROW_GROUP_BYTES = 2 << 30  # of one decoded column of a row group, where it has to be decoded at once


def decoded_bytes_allowed(file_bytes: int) -> int:
    """How many bytes a compressed file, or part of one, of `file_bytes` may decode to."""
    return max(FREE_DECODED_BYTES, MAX_EXPANSION * file_bytes)


def refuse_expansion(where: str, file_bytes: int, decoded_bytes: int) -> None:
    """Raise DataError where `file_bytes` would decode to more than any image data do."""
    if decoded_bytes > decoded_bytes_allowed(file_bytes):
        raise DataError(
            f"{where} has {file_bytes:,} bytes and says that they unpack to {decoded_bytes:,}; "
            f"more than {MAX_EXPANSION} times as many are not read.\n"
            f"The file is damaged or made to fill the memory; take another one."
        )


def refuse_large_image(key: str, num_bytes: int) -> None:
    """Raise ImageError where an encoded image is larger than any that is read."""
    if num_bytes > MAX_IMAGE_BYTES:
        raise ImageError(key, f"the file has {num_bytes:,} bytes; at most {MAX_IMAGE_BYTES:,} are read.")


def refuse_declared_size(key: str, width_px: int, height_px: int) -> None:
    """Raise ImageError where an image declares more pixels than are read, none, or a shape that is too long."""
    if width_px * height_px > MAX_IMAGE_PIXELS:
        raise ImageError(
            key, f"the image has {width_px}x{height_px} pixels; at most {MAX_IMAGE_PIXELS:,} are read. Make it smaller."
        )
    if min(width_px, height_px) < 1:
        raise ImageError(key, f"the image has {width_px}x{height_px} pixels.")
    refuse_long_shape(key, width_px, height_px)


def refuse_many_values(key: str, width_px: int, height_px: int, num_channels: int) -> None:
    """Raise ImageError where an image of many channels has more values than are read."""
    if width_px * height_px * num_channels > MAX_BAND_VALUES:
        raise ImageError(
            key,
            f"the image has {width_px}x{height_px} pixels of {num_channels} channels; at most {MAX_BAND_VALUES:,} "
            f"values are read. Cut it into pieces.",
        )


def refuse_long_shape(key: str, width_px: int, height_px: int) -> None:
    """Raise ImageError where one side is far longer than the other, whether it comes from a file or from memory."""
    if max(width_px, height_px) > MAX_ASPECT * min(width_px, height_px):
        raise ImageError(
            key,
            f"the image has {width_px}x{height_px} pixels: one side is more than {MAX_ASPECT} times the other. "
            f"Cut it into pieces.",
        )


def refuse_expanding_image(key: str, file_bytes: int, decoded_bytes: int) -> None:
    """Raise ImageError where a small file declares an image that takes very much memory to decode."""
    if decoded_bytes > max(FREE_IMAGE_BYTES, MAX_IMAGE_EXPANSION * file_bytes):
        raise ImageError(
            key,
            f"it has {file_bytes:,} bytes and takes {decoded_bytes:,} to decode: damaged, or made to fill the memory.",
        )


def read_small_file(path: Path, max_bytes: int, where: str, what: str) -> bytes:
    """The bytes of a file of at most `max_bytes`. Raises DataError where it is larger, OSError as `open` does."""
    with open_plain_file(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise DataError(f"{where} has more than {max_bytes:,} bytes: no {what} is so large.\nCheck what is in it.")
    return content
