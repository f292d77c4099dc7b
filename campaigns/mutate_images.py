"""Damage valid image files at random and decode them: each gives an image, or one error that names the file.

    python -m campaigns.mutate_images --mutations 100000 --seed 0

A mutation of a small valid file (JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF, JPEG 2000, Netpbm, NumPy; HEIC and DICOM where
their extras are installed) flips, deletes, inserts, repeats, cuts or splices bytes, or
writes an extreme number into its header; of the PNG files about half get their checksums repaired, so that the damage
reaches the decoder. Files are decoded in a child process: one that dies, takes longer than 2 s for a file, or whose
memory rises by more than 200 MB over what it held before the file is counted as a failure. Needs Linux.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import random
import struct
import subprocess
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from PIL import Image, features

from .mutations import mutate

MAX_SECONDS = 2.0  # of processor time: how busy the machine is must not matter
PATIENCE_S = 60.0  # on the wall, after which the child hangs
MAX_MEMORY_BYTES = 200_000_000  # for one file, beside the libraries and what decoding before it left in the heap


def main() -> None:
    """Run the mutations and print the result as JSON; exit status 1 where any of them fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="print the bytes of this one mutation as hex, and stop")
    arguments = parser.parse_args()
    if arguments.only is not None:
        print(mutation(arguments.seed, arguments.only, valid_files())[1].hex())
        return
    result = run_campaign(arguments.mutations, arguments.seed)
    print(json.dumps(result))
    sys.exit(1 if result["failures"] else 0)


def run_campaign(num_mutations: int, seed: int) -> dict[str, Any]:
    """Decode `num_mutations` damaged files; returns the outcomes of each format and everything found wrong."""
    files = valid_files()
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in files}
    failures: list[str] = []
    slowest_s, largest_bytes = 0.0, 0
    decoder = Decoder()
    try:
        for number in range(num_mutations):
            kind, content = mutation(seed, number, files)
            answer = decoder.decode(content, f"{kind}/{number}.bin")
            outcomes[kind][answer["outcome"]] += 1
            failures += [f"{kind}/{number}: {text}" for text in wrong(answer, f"{kind}/{number}.bin")]
            slowest_s = max(slowest_s, answer.get("seconds", 0.0))
            largest_bytes = max(largest_bytes, answer.get("memory_bytes", 0))
    finally:
        decoder.close()
    return {
        "mutations": num_mutations,
        "seed": seed,
        "outcomes": {kind: dict(sorted(counts.items())) for kind, counts in outcomes.items()},
        "slowest s": round(slowest_s, 2),
        "largest memory MB": round(largest_bytes / 1e6),
        "failures": failures,
    }


def wrong(answer: dict[str, Any], key: str) -> list[str]:
    """What is wrong with how a file was answered."""
    found = []
    if answer["outcome"] not in ("image", "error"):
        found.append(f"{answer['outcome']}: {answer['message']}")
    if answer["outcome"] == "error" and not (answer["message"].startswith(f"{key}: ") and answer["message"][-1] == "."):
        found.append(f"message without the file's name: {answer['message']!r}")
    if answer["outcome"] == "error" and not answer["message"].isprintable():
        found.append(f"message of more than one line: {answer['message']!r}")
    if answer.get("seconds", 0.0) > MAX_SECONDS:
        found.append(f"took {answer['seconds']:.1f} s")
    if answer.get("memory_bytes", 0) > MAX_MEMORY_BYTES:
        found.append(f"took {answer['memory_bytes'] / 1e6:.0f} MB")
    return found


# --- valid files and their mutations ---


def valid_files() -> dict[str, list[bytes]]:
    """A few small files of each format, in its several colour modes and ways of storing."""
    colour = picture()
    grey, palette, alpha = colour.convert("L"), colour.quantize(32), colour.copy()
    alpha.putalpha(grey)
    deep = Image.fromarray(np.arange(0, 64 * 48 * 20, 20, dtype=np.uint16).reshape(48, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "camera"
    frames = {"save_all": True, "append_images": [colour.rotate(90), colour.rotate(180)]}
    files = {
        "JPEG": [
            save(colour, "JPEG", exif=exif),
            save(colour, "JPEG", progressive=True, quality=60),
            save(colour, "JPEG", subsampling=0, restart_marker_rows=1),
            save(grey, "JPEG", optimize=True),
            save(colour.convert("CMYK"), "JPEG"),
        ],
        "PNG": [
            save(colour, "PNG", exif=exif),
            save(palette, "PNG", transparency=3),
            save(alpha, "PNG"),
            save(grey.convert("1"), "PNG"),
            save(deep, "PNG"),
            save(colour, "PNG", **frames),
        ],
        "GIF": [save(palette, "GIF"), save(palette, "GIF", transparency=3), save(colour, "GIF", **frames)],
        "WebP": [
            save(colour, "WEBP", exif=exif),
            save(alpha, "WEBP", quality=50),
            save(alpha, "WEBP", lossless=True),
            save(colour, "WEBP", **frames),
        ],
        "BMP": [save(image, "BMP") for image in (colour, grey, palette, grey.convert("1"), alpha)],
        "TIFF": tiff_files(colour, deep),
        "AVIF": [save(colour, "AVIF", exif=exif), save(alpha, "AVIF", quality=50), save(colour, "AVIF", **frames)]
        if features.check("avif")
        else [],
        "JPEG 2000": [
            save(colour, "JPEG2000", quality_layers=[20]),
            save(alpha, "JPEG2000", irreversible=True),
            save(grey, "JPEG2000", no_jp2=True, tile_size=(32, 32)),
            save(deep, "JPEG2000"),
        ],
        "HEIC": heic_files(colour, alpha),
        "DICOM": dicom_files(grey, colour, deep),
        "Netpbm": [
            *(save(image, "PPM") for image in (colour, grey, grey.convert("1"), deep)),
            b"P3\n# by hand\n64 48 100\n" + b"0 50 100\n" * (48 * 64),
        ],
        "NumPy": [saved_array(np.asarray(image)) for image in (grey, colour, deep)] + [saved_array(bands_HWC(colour))],
    }
    return {kind: contents for kind, contents in files.items() if contents}


def saved_array(array: np.ndarray) -> bytes:
    """An array as `numpy.save` writes it."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def bands_HWC(colour: Image.Image) -> np.ndarray:
    """uint16 (H, W, 5): channels that are no colours."""
    return np.asarray(colour).astype(np.uint16)[:, :, [0, 1, 2, 1, 0]] * 257


def tiff_files(colour: Image.Image, deep: Image.Image) -> list[bytes]:
    """Strips and tiles, one page and three, 1 to 16 bits, each way of compressing that is common."""
    grey = colour.convert("L")
    alpha = colour.copy()
    alpha.putalpha(grey)
    files = [
        save(colour, "TIFF", tiffinfo={0x0112: 6}),
        save(colour, "TIFF", compression="tiff_lzw"),
        save(colour, "TIFF", compression="jpeg"),
        save(colour, "TIFF", compression="tiff_deflate", save_all=True, append_images=[grey, colour.rotate(90)]),
        save(grey, "TIFF", compression="packbits"),
        save(grey.convert("1"), "TIFF", compression="group4"),
        save(colour.quantize(32), "TIFF"),
        save(colour.convert("CMYK"), "TIFF"),
        save(alpha, "TIFF", compression="tiff_lzw"),
        save(deep, "TIFF"),
        save(colour, "TIFF", big_tiff=True),
    ]
    pixels = np.asarray(colour).astype(np.uint16) * 257
    for array in (pixels, np.dstack([pixels, pixels[:, :, :1]])):
        files.append(cv2.imencode(".tiff", array, [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes())
    return files


def heic_files(colour: Image.Image, alpha: Image.Image) -> list[bytes]:
    """Of the extra `heic`: with orientation, alpha, three images."""
    if importlib.util.find_spec("pillow_heif") is None:
        return []
    import pillow_heif

    files = []
    for images in ([colour], [alpha], [colour, colour.rotate(180), alpha]):
        held = pillow_heif.HeifFile()
        for image in images:
            held.add_from_pillow(image)
        stream = io.BytesIO()
        held.save(stream, quality=60)
        files.append(stream.getvalue())
    return files


def dicom_files(grey: Image.Image, colour: Image.Image, deep: Image.Image) -> list[bytes]:
    """Of the extra `dicom`: 8 and 16 bits, with a window, in colour, of three frames, RLE."""
    if importlib.util.find_spec("pydicom") is None:
        return []
    from .dicom_seeds import dicom_file

    pixels = np.asarray(deep) // 16
    return [
        dicom_file(np.asarray(grey)),
        dicom_file(np.asarray(grey), photometric="MONOCHROME1"),
        dicom_file(pixels, bits=12),
        dicom_file(pixels, bits=12, window=(2000, 3000), rescale=(2, -1000)),
        dicom_file(pixels.astype(np.int16) - 1000, bits=16, window=(0, 400)),
        dicom_file(np.asarray(colour)),
        dicom_file(np.stack([pixels, pixels // 2, pixels // 3]), bits=12),
        dicom_file(pixels, bits=12, is_rle=True),
    ]


def picture() -> Image.Image:
    """64x48 pixels with slopes, edges and noise, so that every coder has something to do."""
    rows, columns = np.mgrid[0:48, 0:64]
    noise = np.random.default_rng(0).integers(0, 40, (48, 64))
    pixels = np.stack([columns * 3 + noise, rows * 4, 255 * ((rows // 8 + columns // 8) % 2)], axis=-1)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def save(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def mutation(seed: int, number: int, files: dict[str, list[bytes]]) -> tuple[str, bytes]:
    """(format, damaged bytes): a function of the seed and the number alone."""
    draw = random.Random(f"{seed}/{number}")
    kind = list(files)[number % len(files)]
    others = [content for contents in files.values() for content in contents]
    content = bytearray(mutate(draw.choice(files[kind]), draw, others))
    if kind == "PNG" and draw.random() < 0.5:
        repair_checksums(content)
    return kind, bytes(content)


def repair_checksums(content: bytearray) -> None:
    """Give every part of a PNG file that still stands in line the checksum of what is in it."""
    start = 8
    while start + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, start)
        end = start + 8 + length
        if end + 4 > len(content):
            return
        struct.pack_into(">I", content, end, zlib.crc32(content[start + 4 : end]))
        start = end + 4


# --- the child that decodes ---

CHILD = r"""
import json, resource, struct, sys, time
from saccade.core.errors import ImageError
from saccade.data.images.decode import decode_image


def memory_bytes(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def forget_the_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


print("ready", flush=True)
while header := sys.stdin.buffer.read(8):
    size, key_size = struct.unpack("<II", header)
    key, content = sys.stdin.buffer.read(key_size).decode(), sys.stdin.buffer.read(size)
    forget_the_peak()
    before_bytes = memory_bytes("VmRSS")
    start = time.process_time()
    try:
        image_HWC = decode_image(content, key).image_HWC
        good = image_HWC.ndim == 3 and image_HWC.shape[2] == 3 and image_HWC.dtype == "uint8" and image_HWC.size
        answer = {"outcome": "image" if good else "no image", "message": str(image_HWC.shape)}
        del image_HWC
    except ImageError as error:
        answer = {"outcome": "error", "message": str(error)}
    except BaseException as error:
        answer = {"outcome": type(error).__name__, "message": str(error)}
    answer["seconds"] = time.process_time() - start
    answer["memory_bytes"] = max(0, memory_bytes("VmHWM") - before_bytes)
    print(json.dumps(answer), flush=True)
"""


class Decoder:
    """A child process that decodes one file after the other and is replaced when it dies or hangs."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def decode(self, content: bytes, key: str) -> dict[str, Any]:
        """The child's answer: outcome, message, seconds, memory_bytes."""
        child = self._child or self._start()
        name = key.encode()
        is_late = threading.Event()
        watch = threading.Timer(PATIENCE_S, lambda: (is_late.set(), child.kill()))
        watch.start()
        try:
            for part in pieces(struct.pack("<II", len(content), len(name)) + name + content):
                child.stdin.write(part)  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
            line = child.stdout.readline()  # type: ignore[union-attr]
        except BrokenPipeError:
            line = b""
        finally:
            watch.cancel()
        if line:
            return json.loads(line)
        status = child.wait()
        self.close()
        if is_late.is_set():
            return {"outcome": "hang", "message": f"no answer in {PATIENCE_S:.0f} s"}
        return {"outcome": "crash", "message": f"the process ended with {status}"}

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            with contextlib.suppress(BrokenPipeError):  # it has died with a file on its way
                self._child.stdin.close()  # type: ignore[union-attr]
            self._child.wait()
            self._child.stdout.close()  # type: ignore[union-attr]
            self._child = None

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-W", "error", "-c", CHILD]  # a warning is an error of another kind
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if child.stdout.readline() != b"ready\n":  # type: ignore[union-attr]
            raise RuntimeError("the decoding process does not start")
        self._child = child
        return child


def pieces(content: bytes) -> Iterator[bytes]:
    """`content` in parts that a pipe takes."""
    for start in range(0, len(content), 1 << 16):
        yield content[start : start + (1 << 16)]


if __name__ == "__main__":
    main()
