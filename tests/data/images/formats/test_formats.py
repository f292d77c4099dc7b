"""What cameras and microscopes write: the pixels of each format by independent figures, its limits, its refusals."""

import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from saccade.core.errors import ImageError
from saccade.data.images.decode import decode_image
from saccade.data.images.formats import table
from saccade.data.images.formats.table import ENDINGS, FORMATS, format_of
from saccade.data.images.formats.tiff import read_directory
from saccade.data.left_out import ENDINGS as LISTED

REPOSITORY = Path(__file__).parents[4]
NOISE_HWC = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEEP_HW = np.random.default_rng(1).integers(0, 65536, (20, 30), dtype=np.uint16)
DEEP_HWC = np.random.default_rng(2).integers(0, 65536, (20, 30, 3), dtype=np.uint16)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refusal(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(content, "a")
    return caught.value.message


def grey(pixels_HW: np.ndarray) -> np.ndarray:
    return np.repeat(pixels_HW[:, :, None], 3, axis=2)


def by_257(values: np.ndarray) -> np.ndarray:
    """What the table says of 16 bits: divided by 257 and rounded, in exact arithmetic."""
    return np.floor(values.astype(np.float64) / 257 + 0.5).astype(np.uint8)


Tag = tuple[int, int, list[int]]  # number, type (3: 16 bits, 4: 32 bits), values


def tiff(pixels: bytes, tags: list[Tag], order: str = "<", is_big: bool = False, num_pages: int = 1) -> bytes:
    """A TIFF file of one strip, written by hand from its specification."""
    place = 16 if is_big else 8
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(order + "HHHQ", 43, 8, 0, 0) if is_big else struct.pack(order + "HI", 42, 0))
    content = bytearray(head + pixels)
    tags = sorted([*tags, (273, 4, [place]), (279, 4, [len(pixels)])])
    link = 8 if is_big else 4
    for _ in range(num_pages):
        entries, inline = b"", 8 if is_big else 4
        for number, kind, values in tags:
            data = struct.pack(f"{order}{len(values)}{ {3: 'H', 4: 'I'}[kind] }", *values)
            if len(data) > inline:
                at = len(content)
                content += data
                data = struct.pack(order + ("Q" if is_big else "I"), at)
            entries += struct.pack(order + ("HHQ" if is_big else "HHI"), number, kind, len(values)) + data.ljust(
                inline, b"\0"
            )
        content += b"\0" * (len(content) % 2)
        struct.pack_into(order + ("Q" if is_big else "I"), content, link, len(content))
        content += struct.pack(order + ("Q" if is_big else "H"), len(tags)) + entries
        link = len(content)
        content += bytes(8 if is_big else 4)
    return bytes(content)


def described(pixels: np.ndarray, photometric: int, *more: Tag) -> list[Tag]:
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    bits = [8 * pixels.dtype.itemsize] * samples
    tags: list[Tag] = [
        *((256, 3, [pixels.shape[1]]), (257, 3, [pixels.shape[0]]), (258, 3, bits), (259, 3, [1])),
        *((262, 3, [photometric]), (277, 3, [samples]), (278, 3, [pixels.shape[0]])),
    ]
    return [*tags, *more]


def written(pixels: np.ndarray, photometric: int, *more: Tag, order: str = "<", is_big: bool = False) -> bytes:
    ordered = pixels.astype(pixels.dtype.newbyteorder(order))
    return tiff(ordered.tobytes(), described(pixels, photometric, *more), order, is_big)


def test_one_table_names_every_ending_and_first_bytes_tell_the_formats_apart():
    assert LISTED == tuple(ending.encode() for ending in ENDINGS)
    assert len(set(ENDINGS)) == len(ENDINGS)
    for ending in ENDINGS:
        assert ending == ending.lower()
        assert ending.startswith(".")
    for wanted in ".jpg .jpeg .jpe .jfif .tif .tiff .avif .jp2 .j2k .jpx .heic .heif .dcm .ppm .pgm".split():
        assert wanted in ENDINGS
    beginnings = [b"II*\0", b"MM\0*", b"II+\0", b"\0\0\0\x1cftypavif", b"\xff\x4f\xff\x51", bytes(128) + b"DICM"]
    mixed = b"\0\0\0\x1cftypmif1\0\0\0\0mif1"
    beginnings += [mixed + b"heic", mixed + b"avif", b"\0\0\0\x1cftypheic"]
    names = ["TIFF", "TIFF", "TIFF", "AVIF", "JPEG 2000", "DICOM", "HEIC", "AVIF", "HEIC"]
    for beginning, name in zip(beginnings, names, strict=True):
        found = [entry.name for entry in FORMATS if entry.beginning.match(beginning)]
        assert found == [name], beginning
        assert format_of(beginning) is not None


@pytest.mark.parametrize(("order", "is_big"), [("<", False), (">", False), ("<", True)])
def test_tiff_written_by_hand_has_its_pixels(order: str, is_big: bool):
    def pixels(image: np.ndarray, photometric: int, *more: Tag) -> np.ndarray:
        return decode_image(written(image, photometric, *more, order=order, is_big=is_big), "a").image_HWC

    assert np.array_equal(pixels(NOISE_HWC, 2), NOISE_HWC)
    assert np.array_equal(pixels(NOISE_HWC[:, :, 0], 1), grey(NOISE_HWC[:, :, 0]))
    assert np.array_equal(pixels(NOISE_HWC[:, :, 0], 0), grey(255 - NOISE_HWC[:, :, 0]))  # white is zero
    assert np.array_equal(pixels(DEEP_HW, 1), grey(by_257(DEEP_HW)))
    assert np.array_equal(pixels(DEEP_HW, 0), grey(by_257(65535 - DEEP_HW)))
    assert np.array_equal(pixels(DEEP_HWC, 2), by_257(DEEP_HWC))
    palette = [value * 257 for value in NOISE_HWC.reshape(-1)[:768].tolist()]
    colours_KC = NOISE_HWC.reshape(-1)[:768].reshape(3, 256).T
    indexed = pixels(NOISE_HWC[:, :, 0], 3, (320, 3, palette))
    assert np.array_equal(indexed, colours_KC[NOISE_HWC[:, :, 0]])


def test_tiff_with_alpha_is_composited_on_white():
    alpha = NOISE_HWC[:, :, :1]
    wide = np.concatenate([NOISE_HWC, alpha], axis=2)
    on_white = (NOISE_HWC.astype(int) * alpha + 255 * (255 - alpha.astype(int)) + 127) // 255
    assert np.array_equal(decode_image(written(wide, 2, (338, 3, [2])), "a").image_HWC, on_white)
    deep = wide.astype(np.uint16) * 257
    assert np.array_equal(decode_image(written(deep, 2, (338, 3, [2])), "a").image_HWC, on_white)
    multiplied = deep.copy()
    multiplied[:, :, :3] = np.round(deep[:, :, :3] * (deep[:, :, 3:] / 65535.0))
    given = decode_image(written(multiplied, 2, (338, 3, [1])), "a").image_HWC.astype(int)
    assert np.abs(given - on_white).max() <= 1
    assert np.array_equal(decode_image(written(deep, 2, (338, 3, [0])), "a").image_HWC, NOISE_HWC)  # no alpha


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "group4", "jpeg"])
def test_tiff_is_read_however_it_is_compressed(compression: str):
    image = Image.fromarray(NOISE_HWC)
    image = image.convert("1") if compression == "group4" else image
    options = {"quality": 100} if compression == "jpeg" else {}
    content = encoded(image, "TIFF", compression=compression, **options)
    given = decode_image(content, "a").image_HWC.astype(int)
    assert np.abs(given - np.asarray(image.convert("RGB"), int)).max() <= (60 if compression == "jpeg" else 0)


def test_tiff_of_12_packed_bits_and_of_cmyk_is_read():
    values = np.array([[0, 1, 4094, 4095]], np.uint16)
    packed = bytes([0x00, 0x00, 0x01, 0xFF, 0xEF, 0xFF])
    tags = [tag if tag[0] != 258 else (258, 3, [12]) for tag in described(values, 1)]
    decoded = decode_image(tiff(packed, tags), "a", white=4095)
    assert decoded.image_HWC[0, :, 0].tolist() == [0, 0, 255, 255]
    assert decoded.largest_16_bit == 4095
    inks = np.array([[[0, 0, 0, 0], [0, 255, 255, 0], [0, 102, 0, 51]]], np.uint8)
    assert decode_image(written(inks, 5), "a").image_HWC.tolist() == [[[255] * 3, [255, 0, 0], [204, 122, 204]]]


def test_of_a_tiff_of_many_pages_the_first_is_read_and_the_number_said():
    pages = [Image.fromarray(NOISE_HWC), Image.new("RGB", (5, 5)), Image.new("L", (7, 3))]
    decoded = decode_image(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), "a")
    assert np.array_equal(decoded.image_HWC, NOISE_HWC)
    assert decoded.notes == ("it has 3 pages; the first one is read.",)
    assert decode_image(encoded(pages[0], "TIFF"), "a").notes == ()


@pytest.mark.parametrize(
    ("kind", "num", "extra", "note"),
    [
        (np.uint8, 4, [0], "it has 4 channels; the first three are read."),
        (np.uint16, 4, [0], "it has 4 channels; the first three are read."),
        (np.uint16, 4, [], "it has 4 channels; the first three are read."),
        (np.uint8, 4, [], "nothing says what its fourth channel is; it is read as alpha."),
        (np.uint8, 5, [0, 0], "it has 5 channels; the first three are read."),
        (np.uint8, 5, [2, 0], "it has 5 channels; the first three are read, and the fourth as alpha."),
        (np.uint8, 4, [2], None),
        (np.uint16, 4, [1], None),
    ],
)
def test_channels_of_a_tiff_beside_its_colours_are_told(kind: type, num: int, extra: list[int], note: str | None):
    pixels = np.random.default_rng(3).integers(0, 256, (20, 30, num)).astype(kind)
    decoded = decode_image(written(pixels, 2, *([(338, 3, extra)] if extra else [])), "a")
    assert decoded.notes == ((note,) if note else ())


SAVE = "of no known range; save it with 8 or 16 bits a channel."


@pytest.mark.parametrize(
    ("kind", "number", "reason"),
    [
        (np.float32, 3, f"its pixels are floating-point numbers, {SAVE}"),
        (np.float64, 3, f"its pixels are floating-point numbers, {SAVE}"),
        (np.int16, 2, f"its pixels are signed numbers of 16 bits, {SAVE}"),
        (np.int8, 2, f"its pixels are signed numbers of 8 bits, {SAVE}"),
        (np.uint32, 1, f"its pixels are numbers of 32 bits, {SAVE}"),
    ],
)
def test_tiff_numbers_of_no_known_range_are_refused_in_words(kind: type, number: int, reason: str):
    content = written(NOISE_HWC[:, :, 0].astype(kind), 1, (339, 3, [number]))
    assert refusal(content) == f"a: {reason}"


def test_tiff_colours_that_are_not_read_are_refused_in_words():
    assert refusal(written(NOISE_HWC, 8)) == "a: its colours are CIELAB; save it as RGB or grey."
    raw = written(NOISE_HWC[:, :, 0], 32803)
    assert refusal(raw) == "a: its colours are those of a camera's sensor (raw); save it as RGB or grey."
    many = np.zeros((4, 4, 65), np.uint8)
    assert refusal(written(many, 2)) == "a: it has 65 channels; 1 to 64 are read."
    inverted = written(np.zeros((4, 4, 2), np.uint16), 0)
    assert refusal(inverted) == (
        "a: its pixels (2 channels of 16, 16 bits, photometric 0) are none that are read; "
        "save it as 8 or 16 bits, grey or RGB."
    )


def changed(tags: list[Tag], number: int, values: list[int]) -> list[Tag]:
    return [(tag, 4 if tag == number else kind, values if tag == number else own) for tag, kind, own in tags]


def test_hostile_tiff_files_are_refused_by_what_they_declare():
    small = np.zeros((4, 4), np.uint8)
    tags, pixels = described(small, 1), small.tobytes()
    wide = changed(changed(tags, 256, [20_000]), 257, [20_000])
    assert refusal(tiff(pixels, wide)) == (
        "a: the image has 20000x20000 pixels; at most 50,000,000 are read. Make it smaller."
    )
    empty = refusal(tiff(pixels, changed(tags, 256, [0])))
    assert empty == "a: the image has 0x4 pixels."
    tiles = [tag for tag in tags if tag[0] != 278] + [(322, 4, [60_000]), (323, 4, [60_000])]
    assert refusal(tiff(pixels, tiles)) == "a: the image data are damaged (it declares tiles of 3,600,000,000 pixels)."
    large = tiff(
        pixels, [(258, 3, [16]) if tag[0] == 258 else tag for tag in changed(changed(tags, 256, [7_000]), 257, [7_000])]
    )
    assert refusal(large) == "a: the image data end too early: the file is truncated."
    rgb = described(np.zeros((4, 4, 3), np.uint16), 2)
    assert refusal(tiff(pixels, changed(changed(rgb, 256, [7_000]), 257, [7_000]))).endswith(
        "and takes 294,000,000 to decode: damaged, or made to fill the memory."
    )
    content = bytearray(tiff(pixels, [*tags, (33000, 4, [1])]))
    place = content.index(struct.pack("<HH", 33000, 4))
    struct.pack_into("<I", content, place + 4, 500_000)
    assert refusal(bytes(content)) == "a: the image data are damaged (its tag 33000 holds 500,000 values)."
    struct.pack_into("<HI", content, place + 2, 1, 500_000)
    assert refusal(bytes(content)) == "a: the image data are damaged (its tags are larger than the file)."


def test_pages_that_point_at_each_other_end():
    small = np.zeros((4, 4), np.uint8)
    content = bytearray(tiff(small.tobytes(), described(small, 1), num_pages=2))
    (first,) = struct.unpack_from("<I", content, 4)
    struct.pack_into("<I", content, len(content) - 4, first)
    assert read_directory(bytes(content)).num_pages == 2
    assert decode_image(bytes(content), "a").image_HWC.shape == (4, 4, 3)


@pytest.mark.parametrize("suffix", ["jp2", "j2k"])
def test_jpeg_2000_without_loss_has_its_pixels(suffix: str):
    options = {"irreversible": False, "no_jp2": suffix == "j2k"}
    assert np.array_equal(
        decode_image(encoded(Image.fromarray(NOISE_HWC), "JPEG2000", **options), "a").image_HWC, NOISE_HWC
    )
    decoded = decode_image(encoded(Image.fromarray(DEEP_HW), "JPEG2000", **options), "a")
    assert np.array_equal(decoded.image_HWC, grey(by_257(DEEP_HW)))
    assert decoded.mode == "I;16"


def test_hostile_jpeg_2000_files_are_refused_by_what_they_declare():
    content = encoded(Image.fromarray(NOISE_HWC), "JPEG2000", no_jp2=True)

    def declaring(*numbers: int, components: int = 3) -> bytes:
        return content[:8] + struct.pack(">8IH", *numbers, components) + content[42:]

    assert decode_image(declaring(30, 20, 0, 0, 30, 20, 0, 0), "a").image_HWC.shape == (20, 30, 3)
    assert refusal(declaring(9000, 9000, 0, 0, 30, 20, 0, 0)) == (
        "a: the image has 9000x9000 pixels; at most 50,000,000 are read. Make it smaller."
    )
    num_bytes = 7000 * 7000 * 3 * 8
    assert refusal(declaring(7000, 7000, 0, 0, 7000, 7000, 0, 0)) == (
        f"a: it has {len(content):,} bytes and takes {num_bytes:,} to decode: damaged, or made to fill the memory."
    )
    assert refusal(declaring(30, 20, 0, 0, 30, 20, 0, 0, components=16384)) == (
        "a: it has 16,384 components; 1 to 4 are read."
    )
    assert refusal(declaring(2000, 2000, 0, 0, 1, 1, 0, 0, components=1)) == (
        "a: the image data are damaged (it declares 4,000,000 tiles; at most 65,535 are allowed)."
    )
    assert refusal(declaring(30, 20, 40, 0, 30, 20, 0, 0)) == "a: the image data are damaged (its size makes no sense)."


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read_and_turned_upright():
    smooth = np.zeros((32, 48, 3), np.uint8)
    smooth[:, :24] = (200, 100, 0)
    image = Image.fromarray(smooth)
    decoded = decode_image(encoded(image, "AVIF", quality=100, subsampling="4:4:4"), "a")
    assert np.abs(decoded.image_HWC.astype(int) - smooth).max() <= 3
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode_image(encoded(image, "AVIF", quality=100, subsampling="4:4:4", exif=exif), "a")
    assert turned.rotated
    assert np.abs(turned.image_HWC.astype(int) - np.rot90(smooth, -1)).max() <= 3


def test_a_format_whose_decoder_is_not_installed_names_what_to_install(monkeypatch: pytest.MonkeyPatch):
    for module in ("pillow_heif", "pydicom"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(table.heif.importlib.util, "find_spec", lambda name: None)
    assert refusal(b"\0\0\0\x1cftypheic" + bytes(40)) == (
        "a: it is HEIC, which this installation cannot read. Install the decoder: pip install 'saccade-learn[heic]'."
    )
    assert refusal(bytes(128) + b"DICM" + bytes(40)) == (
        "a: it is DICOM, which this installation cannot read. Install the decoder: pip install 'saccade-learn[dicom]'."
    )


@pytest.fixture
def heic() -> Callable[..., bytes]:
    module = pytest.importorskip("pillow_heif")

    def save(*images: Image.Image, **options: bytes) -> bytes:
        file = module.HeifFile()
        for image in images:
            file.add_from_pillow(image)
        stream = io.BytesIO()
        file.save(stream, quality=100, chroma="444", **options)
        return stream.getvalue()

    return save


def test_heic_is_read_upright_without_a_trace_in_pillow(heic: Callable[..., bytes]):
    smooth = np.zeros((32, 48, 3), np.uint8)
    smooth[:16] = (200, 100, 0)
    Image.init()
    openers = set(Image.OPEN)
    decoded = decode_image(heic(Image.fromarray(smooth)), "a")
    assert np.abs(decoded.image_HWC.astype(int) - smooth).max() <= 3
    image = Image.fromarray(smooth)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode_image(heic(image, exif=exif.tobytes()), "a").image_HWC
    assert np.abs(turned.astype(int) - np.rot90(smooth, -1)).max() <= 3
    alpha = Image.fromarray(smooth).convert("RGBA")
    alpha.putalpha(0)
    assert np.abs(decode_image(heic(alpha), "a").image_HWC.astype(int) - 255).max() <= 1
    assert set(Image.OPEN) == openers
    cut = heic(Image.fromarray(smooth))
    assert refusal(cut[: len(cut) // 2]).startswith("a: the image data ")


@pytest.fixture
def dicom(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    pytest.importorskip("pydicom")
    monkeypatch.syspath_prepend(REPOSITORY)
    from campaigns.dicom_seeds import dicom_file

    return dicom_file


TWELVE_HW = np.random.default_rng(3).integers(0, 4096, (20, 30), dtype=np.uint16)


def test_dicom_without_a_window_gives_its_stored_values(dicom: Callable[..., bytes]):
    eight = NOISE_HWC[:, :, 0]
    assert np.array_equal(decode_image(dicom(eight), "a").image_HWC, grey(eight))
    inverted = decode_image(dicom(eight, photometric="MONOCHROME1"), "a")
    assert np.array_equal(inverted.image_HWC, grey(255 - eight))
    decoded = decode_image(dicom(TWELVE_HW, bits=12), "a", white=4095)
    assert np.array_equal(decoded.image_HWC, grey(np.floor(TWELVE_HW / 4095 * 255 + 0.5).astype(np.uint8)))
    assert decoded.largest_16_bit == TWELVE_HW.max()
    inverted = decode_image(dicom(TWELVE_HW, bits=12, photometric="MONOCHROME1"), "a", white=4095)
    assert np.array_equal(inverted.image_HWC, grey(np.floor((4095 - TWELVE_HW) / 4095 * 255 + 0.5).astype(np.uint8)))
    assert np.array_equal(decode_image(dicom(NOISE_HWC), "a").image_HWC, NOISE_HWC)
    compressed = decode_image(dicom(TWELVE_HW, bits=12, is_rle=True), "a", white=4095)
    assert np.array_equal(compressed.image_HWC, decoded.image_HWC)


def test_dicom_is_windowed_as_its_standard_says(dicom: Callable[..., bytes]):
    """The example of PS3.3, C.11.2.1.2.1: centre 2048, width 4096; and pydicom's own windowing as reference."""
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_windowing

    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    level = decode_image(dicom(ramp, bits=12, window=(2048, 4096)), "a").image_HWC[:, :, 0].reshape(-1)
    assert np.array_equal(level, np.round(np.arange(4096) / 4095 * 255))
    for pixels, bits in ((TWELVE_HW, 12), (TWELVE_HW.astype(np.int16) - 2000, 16)):
        content = dicom(pixels, bits=bits, window=(1040, 800), rescale=(2, -1000))
        decoded = decode_image(content, "a")
        dataset = pydicom.dcmread(io.BytesIO(content))
        value_HW = apply_windowing(apply_modality_lut(pixels, dataset), dataset)
        lowest, highest = value_HW.min(), value_HW.max()
        expected = (value_HW - lowest) / (highest - lowest) * 255
        assert np.abs(decoded.image_HWC[:, :, 0] - expected).max() <= 0.51
        assert decoded.mode == "L"


def test_dicom_frames_and_compressions_that_are_not_read_are_told(dicom: Callable[..., bytes]):
    decoded = decode_image(dicom(np.stack([TWELVE_HW, TWELVE_HW // 2]), bits=12), "a", white=4095)
    assert decoded.notes == ("it has 2 frames; the first one is read.",)
    assert np.array_equal(decoded.image_HWC, decode_image(dicom(TWELVE_HW, bits=12), "a", white=4095).image_HWC)
    content = dicom(NOISE_HWC)
    jpeg = content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.50")
    place = jpeg.index(b"\x02\x00\x10\x00UI")
    jpeg = jpeg[: place + 6] + struct.pack("<H", 22) + jpeg[place + 8 :]
    assert refusal(jpeg) == (
        "a: its pixels are compressed (JPEG Baseline (Process 1)), which is not read. Write it without compression "
        "first, for example with 'gdcmconv --raw IN OUT'."
    )
    deflated = jpeg.replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.1.99")
    assert refusal(deflated).startswith(
        "a: its pixels are compressed (Deflated Explicit VR Little Endian), which is not"
    )


def test_a_gif_whose_canvas_is_far_larger_than_its_frame_is_refused_before_it_is_allocated():
    content = bytearray(encoded(Image.fromarray(NOISE_HWC).quantize(32), "GIF"))
    assert decode_image(bytes(content), "a").image_HWC.shape == NOISE_HWC.shape
    struct.pack_into("<HH", content, 6, 32_832, 1_072)  # the logical screen: GIF89a, section 18
    assert refusal(bytes(content)) == (
        f"a: it has {len(content):,} bytes and takes {32_832 * 1_072 * 16:,} to decode: damaged, or made to fill the "
        "memory."
    )
    struct.pack_into("<HH", content, 6, 2_000, 3_000)  # a screen that any file may have
    assert decode_image(bytes(content), "a").image_HWC.shape == (3_000, 2_000, 3)
