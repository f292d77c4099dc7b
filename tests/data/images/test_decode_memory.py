"""Threads that decode share one budget: small files that declare large pictures do not fill the memory together."""

import contextlib
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.processes import run_python

from saccade.data.images.decode_memory import DecodeMemory, webp_bytes

REPOSITORY = Path(__file__).parents[3]

CHILD = """
import json, resource, sys
from concurrent.futures import ThreadPoolExecutor
from saccade.data.images.decode import decode_image
with open(sys.argv[1], "rb") as file:
    content = file.read()
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
most = mapped + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (most, most))

def shape(number):
    return decode_image(content, "large.webp").image_HWC.shape

with ThreadPoolExecutor(4) as pool:
    print(json.dumps(list(pool.map(shape, range(4)))))
"""


def test_four_threads_decode_large_pictures_of_small_files_in_the_memory_of_one(tmp_path: Path):
    """Two frames of 5,200x5,200 pixels, 100 bytes: 600 MB each while they are decoded, of which two do not fit."""
    path = tmp_path / "large.webp"
    frames = [Image.new("RGB", (5200, 5200), (grey,) * 3) for grey in (0, 9)]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert path.stat().st_size < 200
    done = run_python(["-c", CHILD, path, 1400 << 20], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [[5200, 5200, 3]] * 4


def test_no_more_is_held_at_once_than_there_is():
    memory, most, held, lock = DecodeMemory(limit_bytes=100), 0, 0, threading.Lock()

    def decode(num_bytes: int) -> None:
        nonlocal most, held
        for _ in range(200):
            with memory.reserved(num_bytes):
                with lock:
                    held += num_bytes
                    most = max(most, held)
                with lock:
                    held -= num_bytes

    threads = [threading.Thread(target=decode, args=(num_bytes,)) for num_bytes in (10, 30, 40, 60, 90)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 90 <= most <= 100
    assert held == 0


def test_a_picture_larger_than_all_there_is_decodes_alone_and_gives_all_back():
    memory = DecodeMemory(limit_bytes=100)
    entered = threading.Event()

    def wait() -> None:
        with memory.reserved(1):
            entered.set()

    other = threading.Thread(target=wait)
    with contextlib.suppress(OSError), memory.reserved(5000):
        other.start()
        assert not entered.wait(0.05)
        with memory.reserved(0):  # who needs nothing does not wait
            pass
        raise OSError("damaged")
    other.join(timeout=60)
    assert entered.is_set()


@pytest.mark.parametrize("kind", ["lossless", "lossy", "with EXIF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_size_of_a_webp_file_is_known_before_it_is_opened(tmp_path: Path, mode: str, kind: str):
    path, exif = tmp_path / "small.webp", Image.Exif()
    exif[0x0112] = 6
    options: dict = {"lossless": {"lossless": True}, "lossy": {"quality": 80}, "with EXIF": {"exif": exif}}[kind]
    pixels = np.random.default_rng(0).integers(0, 256, (37, 1201, len(mode)), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    assert webp_bytes(path.read_bytes()) == 24 * 37 * 1201
    assert webp_bytes(path.read_bytes()[:29]) == webp_bytes(b"\xff\xd8\xff" + bytes(40)) == 0
