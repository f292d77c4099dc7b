"""From bytes to pixels: every colour mode by hand figures, every orientation upright, every damaged file named."""

import io
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from struct import pack

import numpy as np
import pytest
from PIL import Image
from tests.processes import PATIENCE_S

from saccade.core.errors import ImageError
from saccade.data.images.decode import decode_image, decode_opened, opened_16_bit
from saccade.data.limits import MAX_IMAGE_BYTES

NOT_AN_IMAGE = "not an image that can be read (see 'saccade sources'): it begins with"
PNG_HEADER = "it starts like a PNG file, but its header is damaged."
PNG_AS_TEXT = "something has changed the first bytes of this PNG file, as a transfer as text does: copy it again."


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + name + data + pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG file written by hand from its specification; `rows` each begin with their filter, 0."""
    header = chunk(b"IHDR", pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + pixels + chunk(b"IEND", b"")


def refusal(content: bytes) -> str:
    with pytest.raises(ImageError) as error:
        decode_image(content, "a/b.png")
    return str(error.value)


# colour types of PNG: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA
PALETTE = chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 0]))
BY_HAND = {
    "1 bit": (png(3, 1, 1, 0, b"\0\xa0"), "1", [[255] * 3, [0] * 3, [255] * 3]),
    "2 bits": (png(4, 1, 2, 0, b"\0\x1b"), "L", [[0] * 3, [85] * 3, [170] * 3, [255] * 3]),
    "grey": (png(2, 1, 8, 0, b"\0\x07\xfb"), "L", [[7] * 3, [251] * 3]),
    "grey with a transparent grey": (
        png(2, 1, 8, 0, b"\0\x07\xfb", chunk(b"tRNS", b"\0\x07")),
        "L",
        [[255] * 3, [251] * 3],
    ),
    "grey and alpha": (png(3, 1, 8, 4, b"\0\x64\xff\x64\x00\x64\x80"), "LA", [[100] * 3, [255] * 3, [177] * 3]),
    "palette": (png(2, 1, 8, 3, b"\0\1\0", PALETTE), "P", [[200, 100, 0], [10, 20, 30]]),
    "palette with transparency": (
        png(2, 1, 8, 3, b"\0\1\0", PALETTE, chunk(b"tRNS", b"\x00\x80")),
        "P",
        [[227, 177, 127], [255, 255, 255]],
    ),
    "RGB": (png(1, 1, 8, 2, b"\0\1\2\3"), "RGB", [[1, 2, 3]]),
    "RGB with a transparent colour": (
        png(2, 1, 8, 2, b"\0\1\2\3\4\5\6", chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3]))),
        "RGB",
        [[255] * 3, [4, 5, 6]],
    ),
    "RGBA": (png(2, 1, 8, 6, b"\0\x00\x64\xff\x33\x01\x02\x03\x00"), "RGBA", [[204, 224, 255], [255] * 3]),
    "16 bits grey": (png(3, 1, 16, 0, b"\0" + pack(">3H", 0, 65535, 23258)), "I;16", [[0] * 3, [255] * 3, [90] * 3]),
    "16 bits grey with a transparent grey": (
        png(2, 1, 16, 0, b"\0" + pack(">2H", 1000, 1001), chunk(b"tRNS", pack(">H", 1000))),
        "I;16",
        [[255] * 3, [4] * 3],
    ),
    "16 bits grey and alpha": (png(1, 1, 16, 4, b"\0" + pack(">2H", 0, 0x8080)), "RGBA;16", [[127] * 3]),
    "16 bits RGB": (png(1, 1, 16, 2, b"\0" + pack(">3H", 257, 2570, 65535)), "RGB;16", [[1, 10, 255]]),
    "16 bits RGB with a transparent colour": (
        png(2, 1, 16, 2, b"\0" + pack(">6H", 257, 514, 771, 257, 514, 772), chunk(b"tRNS", pack(">3H", 257, 514, 771))),
        "RGB;16",
        [[255] * 3, [1, 2, 3]],
    ),
    "16 bits RGBA": (png(1, 1, 16, 6, b"\0" + pack(">4H", 0, 25700, 65535, 0x3333)), "RGBA;16", [[204, 224, 255]]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_every_colour_mode_becomes_rgb_on_white_by_hand_figures(name: str):
    content, mode, row_WC = BY_HAND[name]
    decoded = decode_image(content, "a.png")
    assert decoded.image_HWC.tolist() == [row_WC]
    assert decoded.image_HWC.dtype == np.uint8
    assert (decoded.mode, decoded.rotated) == (mode, False)


def test_many_bands_are_converted_alike():
    rows = b"".join(b"\0" + bytes([row, row, row, 255]) * 100 for row in range(200)) * 100
    image_HWC = decode_image(png(100, 20_000, 8, 6, rows), "tall.png").image_HWC
    assert np.array_equal(image_HWC[:, 2, 1], np.tile(np.arange(200, dtype=np.uint8), 100))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "PPM"])
def test_every_format_gives_its_pixels(kind: str):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 16:] = (200, 100, 0)
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(kind, {})
    image_HWC = decode_image(encoded(Image.fromarray(pixels), kind, **options), "a").image_HWC
    difference = np.abs(image_HWC.astype(int) - pixels).max()
    assert difference <= (3 if kind == "JPEG" else 0)


def test_the_first_frame_of_an_animation_is_the_image():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=40, **options)
        decoded = decode_image(content, "a")
        assert decoded.image_HWC.tolist() == [[[255, 0, 0]] * 4] * 4, kind
        assert decoded.notes == ("it is an animation; its first frame is read.",), kind
        assert decode_image(encoded(frames[0], kind, **options), "a").notes == (), kind


def test_damage_after_the_first_frame_of_an_animation_is_told():
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "lime", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    second = content.index(b"\x21\xf9")  # its graphic control extension: the first frame has none
    decoded = decode_image(content[: second + 12], "a")
    assert decoded.image_HWC.tolist() == [[[255, 0, 0]] * 64] * 64
    assert decoded.notes == ("what follows its first frame is damaged; the first one is read.",)


@pytest.mark.parametrize(
    ("ink", "colour"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 102, 0, 51), (204, 122, 204)),  # (255 - ink) * (255 - black) / 255
    ],
)
def test_cmyk_is_converted_and_adobe_s_inversion_undone(ink: tuple[int, ...], colour: tuple[int, ...]):
    content = encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)
    assert b"Adobe" in content  # Pillow writes Adobe's mark and the inks inverted
    decoded = decode_image(content, "a.jpg")
    assert decoded.mode == "CMYK"
    assert np.abs(decoded.image_HWC.astype(int) - colour).max() <= 2


PIXELS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3) * 3
# What a camera stores for each orientation, so that the picture upright is PIXELS (Exif 2.32, tag 0x0112)
STORED = {
    1: PIXELS,
    2: np.fliplr(PIXELS),
    3: np.rot90(PIXELS, 2),
    4: np.flipud(PIXELS),
    5: PIXELS.transpose(1, 0, 2),
    6: np.rot90(PIXELS, 1),  # turned clockwise by 90 degrees to be seen
    7: np.rot90(PIXELS, 2).transpose(1, 0, 2),
    8: np.rot90(PIXELS, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", [0, *STORED, 9, 65535])
def test_all_exif_orientations_look_alike(kind: str, orientation: int):
    stored = np.ascontiguousarray(STORED.get(orientation, PIXELS))
    if kind == "JPEG":
        stored = stored.repeat(16, axis=0).repeat(16, axis=1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(kind, {})
    decoded = decode_image(encoded(Image.fromarray(stored), kind, exif=exif, **options), "a")
    image_HWC = decoded.image_HWC[8::16, 8::16] if kind == "JPEG" else decoded.image_HWC
    assert decoded.rotated == (orientation in range(2, 9))
    assert image_HWC.flags.c_contiguous or kind == "JPEG"
    assert np.abs(image_HWC.astype(int) - PIXELS).max() <= (3 if kind == "JPEG" else 0)


@pytest.mark.parametrize("shape", ["Landscape", "Portrait"])
def test_real_photos_in_all_orientations_look_alike(shared: Callable[[str], Path], shape: str):
    folder = shared("data/bad-images/exif-orientation")
    decoded = [decode_image((folder / f"{shape}_{number}.jpg").read_bytes(), "a", 150) for number in range(9)]
    assert [image.rotated for image in decoded] == [False] * 2 + [True] * 7
    small = [np.asarray(Image.fromarray(image.image_HWC).resize((45, 30)), dtype=float) for image in decoded]
    assert all(image.image_HWC.shape == decoded[1].image_HWC.shape for image in decoded)
    # the number printed on each photo differs; turned photos differ by 60 and more
    assert max(np.abs(image - small[1]).mean() for image in small) < 12


BROKEN_PNGS = {
    "xc1n0g08": PNG_HEADER,  # colour type 1
    "xc9n2c08": PNG_HEADER,  # colour type 9
    "xcrn0g04": PNG_AS_TEXT,  # added carriage returns
    "xcsn0g01": "the image data are damaged (the checksum of its part IDAT is wrong).",
    "xd0n2c08": PNG_HEADER,  # bit depth 0
    "xd3n2c08": PNG_HEADER,  # bit depth 3
    "xd9n2c08": PNG_HEADER,  # bit depth 99
    "xdtn0g01": "it has no image data.",
    "xhdn0g08": PNG_HEADER,  # wrong checksum of the header
    "xlfn0g04": PNG_AS_TEXT,  # added line feeds
    "xs1n0g01": f"{NOT_AN_IMAGE} '\\tPNG\\r\\n\\x1a\\n\\x00\\x00\\x00\\r'.",
    "xs2n0g01": f"{NOT_AN_IMAGE} '\\x89QNG\\r\\n\\x1a\\n\\x00\\x00\\x00\\r'.",
    "xs4n0g01": f"{NOT_AN_IMAGE} '\\x89PNg\\r\\n\\x1a\\n\\x00\\x00\\x00\\r'.",
    "xs7n0g01": PNG_AS_TEXT,  # the seventh byte without its high bits
}


def test_every_broken_file_of_pngsuite_is_refused_and_every_other_read(shared: Callable[[str], Path]):
    folder = shared("data/bad-images/pngsuite")
    reasons = {}
    for path in sorted(folder.glob("*.png")):
        try:
            image_HWC = decode_image(path.read_bytes(), path.name).image_HWC
        except ImageError as error:
            reasons[path.stem] = str(error).removeprefix(f"{path.name}: ")
        else:
            side = int(path.name[1:3]) if path.name[0] == "s" and path.name[1].isdigit() else 32
            assert (
                path.stem == "PngSuite"
                or path.stem[:3] in ("cdf", "cdh", "cds", "cdu")
                or image_HWC.shape == (side, side, 3)
            )
    assert reasons == BROKEN_PNGS


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("exif-orientation/LICENSE", "Copyright (c"),
        ("exif-orientation/README.markdown", "EXIF Orienta"),
        ("pngsuite/PngSuite.LICENSE", "PngSuite\\n---"),
        ("pngsuite/PngSuite.README", "        PNGS"),
    ],
)
def test_a_file_of_text_is_no_image(shared: Callable[[str], Path], name: str, start: str):
    assert refusal(shared(f"data/bad-images/{name}").read_bytes()) == f"a/b.png: {NOT_AN_IMAGE} '{start}'."


def test_the_first_bytes_say_what_a_damaged_file_was():
    for start, kind in {
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"\xff\xd8\xff": "JPEG",
        b"GIF89a": "GIF",
        b"RIFF\1\2\3\4WEBP": "WebP",
        b"BM\1\2\3\4\0\0\0\0": "BMP",
        b"\0\0\0\x20ftypavif": "AVIF",
    }.items():
        assert refusal(start + b"\n") == f"a/b.png: it starts like a {kind} file, but its header is damaged."
    for content in (b"RIFF\1\2\3\4WAVEfmt", b"BMW and others", b"II*tiff", b"%PDF-1.7", b"<svg/>", b"\x00" * 9):
        assert refusal(content).startswith(f"a/b.png: {NOT_AN_IMAGE} '")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_a_file_cut_in_two_is_said_to_be_truncated(kind: str):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(pixels), kind)
    assert refusal(content[: len(content) // 2]) == "a/b.png: the image data end too early: the file is truncated."


@pytest.mark.parametrize("part", [b"IHDR", b"PLTE", b"tRNS", b"IDAT"])
def test_a_changed_byte_of_a_png_never_changes_a_pixel_unseen(part: bytes):
    content = bytearray(BY_HAND["palette with transparency"][0])
    content[content.index(part) + 4] ^= 1
    with pytest.raises(ImageError):
        decode_image(bytes(content), "a.png")


def test_empty_and_oversized_files_are_refused_by_their_size():
    assert refusal(b"") == "a/b.png: the file is empty (0 bytes)."
    assert (
        refusal(bytes(MAX_IMAGE_BYTES + 1)) == "a/b.png: the file has 268,435,457 bytes; at most 268,435,456 are read."
    )


def test_a_key_that_is_no_text_is_escaped():
    with pytest.raises(ImageError) as error:
        decode_image(b"", "new\nline\x1b[31m\u202egnp.\udcff")
    assert str(error.value) == r"new\nline\x1b[31m\u202egnp.\udcff: the file is empty (0 bytes)."


BOMB_CHILD = """
import resource, struct, sys, zlib, io
from saccade.core.errors import ImageError
from saccade.data.images.decode import decode_image, decode_opened, opened_16_bit
from PIL import Image
for image, kind in ((Image.new("RGB", (8, 8)), k) for k in ("JPEG", "PNG", "WEBP", "BMP", "GIF")):
    buffer = io.BytesIO(); image.save(buffer, kind); decode_image(buffer.getvalue(), "warm")
for line in sys.stdin:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content = zlib.decompress(bytes.fromhex(line))
    try:
        decode_image(content, "bomb")
        message = "decoded"
    except ImageError as error:
        message = str(error)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print((after - before) // 1024, message, flush=True)
"""


def bombs() -> dict[str, tuple[bytes, str]]:
    """Small valid-looking files that declare very many pixels, and what is said of them."""
    too_many = "bomb: the image has {} pixels; at most 50,000,000 are read. Make it smaller."
    far_more = "bomb: the image declares far more than 50,000,000 pixels; it is not opened."
    small = Image.new("RGB", (8, 8))
    jpeg, bmp, gif = (encoded(small, kind) for kind in ("JPEG", "BMP", "GIF"))
    frame = jpeg.index(b"\xff\xc0") + 5
    webp = encoded(small, "WEBP", lossless=True)
    bits = webp.index(b"VP8L") + 9
    zeros = zlib.compress(bytes(7072 * (7072 + 1)), 9)
    header = chunk(b"IHDR", pack(">IIBBBBB", 7072, 7072, 8, 0, 0, 0, 0))
    whole = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zeros) + chunk(b"IEND", b"")
    return {
        "whole PNG": (whole, too_many.format("7072x7072")),
        "PNG": (png(9000, 9000, 8, 2, b""), too_many.format("9000x9000")),
        "large PNG": (png(12_000, 12_000, 8, 2, b""), far_more),
        "huge PNG": (png(2**31 - 1, 2**31 - 1, 16, 6, b""), far_more),
        "JPEG": (jpeg[:frame] + pack(">HH", 8000, 8000) + jpeg[frame + 4 :], too_many.format("8000x8000")),
        "huge JPEG": (jpeg[:frame] + pack(">HH", 65500, 65500) + jpeg[frame + 4 :], far_more),
        "BMP": (bmp[:18] + pack("<ii", 8000, 8000) + bmp[26:], too_many.format("8000x8000")),
        "huge BMP": (bmp[:18] + pack("<ii", 2**31 - 1, 2**31 - 1) + bmp[26:], far_more),
        "GIF": (gif[:6] + pack("<HH", 8000, 8000) + gif[10:], too_many.format("8000x8000")),
        "huge GIF": (gif[:6] + pack("<HH", 65535, 65535) + gif[10:], far_more),
        "huge WebP": (webp[:bits] + pack("<I", 16382 | 16382 << 14) + webp[bits + 4 :], far_more),
    }


def test_decompression_bombs_are_refused_before_their_pixels_are_allocated():
    expected = bombs()
    lines = "\n".join(zlib.compress(content).hex() for content, _ in expected.values())
    command = [sys.executable, "-c", BOMB_CHILD]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    answers = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert dict(zip(expected, (message for _, message in answers))) == {
        name: message for name, (_, message) in expected.items()
    }
    assert max(int(growth_mib) for growth_mib, _ in answers) <= 40  # 50 million pixels would take 143 MiB and more


def test_a_webp_canvas_that_no_picture_fills_is_refused_before_it_is_allocated():
    stream = io.BytesIO()
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    frames[0].save(stream, "WEBP", save_all=True, append_images=frames[1:])
    content = bytearray(stream.getvalue())
    assert content[12:16] == b"VP8X"
    content[26] = 4  # the canvas is 4 x 65,536 pixels wider
    with pytest.raises(ImageError) as error:
        decode_image(bytes(content), "wide.webp")
    assert str(error.value) == (
        "wide.webp: the image data are damaged "
        "(it declares 262208x48 pixels; WebP pictures have at most 16,383 on a side)."
    )


def test_a_16_bit_png_with_a_part_that_runs_past_its_end_is_refused():
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    place = content.index(b"IEND") - 4
    content[place] = 0x20  # the empty last part claims 512 MB
    with pytest.raises(ImageError) as error:
        decode_image(bytes(content), "long.png")
    assert str(error.value) == ("long.png: the image data are damaged (a part of it runs past the end of the file).")


def opened(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return decode_opened(image, "a")


@pytest.mark.parametrize("name", [name for name in BY_HAND if not name.startswith("16 bits") or name[8:12] == "grey"])
def test_an_opened_image_has_the_figures_of_its_file(name: str):
    content, _, row_WC = BY_HAND[name]
    alpha_of_16_bits = name == "16 bits grey and alpha"  # Pillow keeps the upper 8: white * (1 - 128 / 255)
    assert opened(content).tolist() == [[[127] * 3]] if alpha_of_16_bits else [row_WC]


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_an_opened_image_of_16_bits_may_have_any_order_of_bytes(mode: str):
    value_HW = np.array([[0, 65535, 23258]], dtype=">u2" if mode == "I;16B" else "<u2")  # N: that of this machine
    image = Image.frombuffer(mode, (3, 1), value_HW.tobytes(), "raw", mode, 0, 1)
    assert decode_opened(image, "a").tolist() == [[[0] * 3, [255] * 3, [90] * 3]]
    deep_HW = opened_16_bit(image)
    assert deep_HW is not None
    assert deep_HW.tolist() == [[0, 65535, 23258]]


def test_an_opened_image_has_the_pixels_of_its_file(shared: Callable[[str], Path]):
    """All of PngSuite, all orientations, photographs: bit for bit, but for the lower half of 16-bit colours."""
    folder = shared("data/bad-images")
    photographs = sorted(shared("data/clothing-small/test").rglob("*.jpg"))[:20]
    paths = [*folder.glob("pngsuite/[!x]*.png"), *folder.rglob("exif-orientation/*.jpg"), *photographs]
    assert len(paths) > 180
    for path in paths:
        expected_HWC, mode = decode_image(path.read_bytes(), str(path)).image_HWC, ""
        with Image.open(path) as image:
            pixels_HWC, mode = decode_opened(image, str(path)), image.mode
        difference = np.abs(pixels_HWC.astype(int) - expected_HWC).max()
        assert difference <= (1 if "16" in path.name and mode in ("RGB", "RGBA") else 0), path


def test_an_image_made_by_pillow_is_read_by_the_same_table():
    assert decode_opened(Image.new("RGBA", (1, 1), (0, 100, 255, 51)), "a").tolist() == [[[204, 224, 255]]]
    assert decode_opened(Image.fromarray(np.array([[0, 65535, 23258]], np.uint16)), "a").tolist() == [
        [[0] * 3, [255] * 3, [90] * 3]
    ]
    assert decode_opened(Image.new("I", (1, 1), 257), "a").tolist() == [[[1] * 3]]
    turned = Image.fromarray(STORED[6])
    turned.getexif()[0x0112] = 6
    assert np.array_equal(decode_opened(turned, "a"), PIXELS)


NO_RANGE = "have no known range; convert it to L or RGB, 0 to 255, first."


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (
            Image.new("F", (1, 1), 0.5),
            "its pixels (mode F) " + NO_RANGE,
        ),
        (
            Image.new("I", (1, 1), -1),
            "its pixels (mode I) " + NO_RANGE,
        ),
        (Image.new("L", (0, 4)), "the image has 0x4 pixels; 1 to 50,000,000 are read. Change its size."),
        (
            Image.new("1", (9_999, 9_999)),
            "the image has 9999x9999 pixels; 1 to 50,000,000 are read. Change its size.",
        ),
    ],
    ids=["floats", "below 0", "empty", "huge"],
)
def test_an_opened_image_without_usable_pixels_is_refused(image: Image.Image, reason: str):
    with pytest.raises(ImageError) as error:
        decode_opened(image, "a")
    assert error.value.message == f"a: {reason}"


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 255, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("P", 0, (0, 0, 0)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBX", (10, 20, 30, 0), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 51), (206, 208, 210)),  # 255 - 0.2 * (255 - colour)
        ("RGBa", (10, 20, 30, 51), (214, 224, 234)),  # 255 - 51 + the colour that is multiplied already
        ("LA", (100, 51), (224, 224, 224)),
        ("La", (20, 51), (224, 224, 224)),
        ("PA", (0, 51), (204, 204, 204)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
        ("YCbCr", (100, 128, 128), (100, 100, 100)),
        ("LAB", (255, 128, 128), (255, 255, 255)),  # a and b count from 128: grey
        ("HSV", (0, 0, 100), (100, 100, 100)),
        ("I", 257 * 100, (100, 100, 100)),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I;16L", 257 * 100, (100, 100, 100)),
        ("I;16B", 257 * 100, (100, 100, 100)),
    ],
)
def test_every_mode_of_pillow_is_read(mode: str, colour: int | tuple[int, ...], expected: tuple[int, int, int]):
    pixels = decode_opened(Image.new(mode, (3, 2), colour), "image")
    assert pixels.shape == (2, 3, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_a_mode_without_a_range_is_named():
    with pytest.raises(ImageError) as error:
        decode_opened(Image.new("F", (3, 2)), "image")
    assert error.value.reason == ("its pixels (mode F) have no known range; convert it to L or RGB, 0 to 255, first.")
