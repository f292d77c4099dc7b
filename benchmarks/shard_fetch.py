"""Images from an S3 server on this machine: whole shards into the store, against a request for each image.

    python -m benchmarks.shard_fetch [--images 20000] [--image-bytes 20000] [--pairs 7] [--json] [--smoke]

Needs s3fs and moto[server]. Each round reads every image once in random order, as bytes, on `--threads` threads:
`whole shards` with an empty store, opening included; `second pass` with a full one; `ranges` without a store, opening
left out. `webdataset`, where it is installed, reads the same shards by http, in their order.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from saccade.data.source import DataSource, open_source
from saccade.data.store_place import DEFAULT_LIMIT_BYTES, store_at

from .common import argument_parser, interleave, paired_ratio, report, start

BUCKET, PORT = "photos", 18723
SOURCE = f"s3://{BUCKET}/set/"


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a server in a process of its own, until the block ends."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(PORT)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{PORT}"
    try:
        for _ in range(600):
            if process.poll() is not None:
                sys.exit("The S3 server has not started: pip install 'moto[server]', and see that its port is free.")
            try:
                urllib.request.urlopen(address, timeout=5).close()  # noqa: S310  this machine
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def fill(num_images: int, image_bytes: int, images_a_shard: int) -> list[str]:
    """Put shards of random bytes into the bucket; returns their keys."""
    import s3fs

    files, rng = s3fs.S3FileSystem(), np.random.default_rng(0)
    files.mkdir(BUCKET)
    keys = []
    for first in range(0, num_images, images_a_shard):
        stream = BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for number in range(first, min(first + images_a_shard, num_images)):
                for ending, content in (("jpg", rng.bytes(image_bytes)), ("cls", b"%d" % (number % 10))):
                    member = tarfile.TarInfo(f"{number:08}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, BytesIO(content))
        keys.append(f"set/a-{first // images_a_shard:06}.tar")
        files.pipe_file(f"{BUCKET}/{keys[-1]}", stream.getvalue(), ACL="public-read")  # webdataset has no password
    return keys


def read_all(source: DataSource, threads: int, index_N: np.ndarray) -> None:
    """Read these images, in about this order."""
    source.expect(index_N)
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(source.read, index_N.tolist()):
            pass


def contestants(folder: Path, threads: int, num_ranges: int) -> dict[str, Callable[[], float]]:
    """Images a second of each way."""
    rounds = np.random.default_rng(1)

    def whole() -> float:
        shutil.rmtree(folder, ignore_errors=True)
        started = time.perf_counter()
        with store_at(str(folder), DEFAULT_LIMIT_BYTES):
            source = open_source(SOURCE)
        read_all(source, threads, rounds.permutation(len(source)))
        return len(source) / (time.perf_counter() - started)

    def again() -> float:
        with store_at(str(folder), DEFAULT_LIMIT_BYTES):
            source = open_source(SOURCE)
        started = time.perf_counter()
        read_all(source, threads, rounds.permutation(len(source)))
        return len(source) / (time.perf_counter() - started)

    def ranges() -> float:
        with store_at("", 0):
            source = open_source(SOURCE)
        index_N = rounds.permutation(len(source))[:num_ranges]
        started = time.perf_counter()
        read_all(source, threads, index_N)
        return len(index_N) / (time.perf_counter() - started)

    return {"whole shards": whole, "second pass": again, "ranges": ranges}


def rate_of_webdataset(address: str, keys: list[str]) -> Callable[[], float]:
    """The same shards, one behind the other, as webdataset gives them."""
    import webdataset

    def run() -> float:
        started = time.perf_counter()
        urls = [f"{address}/{BUCKET}/{key}" for key in keys]
        num = sum(len(sample["jpg"]) > 0 for sample in webdataset.WebDataset(urls, shardshuffle=False))
        return num / (time.perf_counter() - started)

    return run


def main() -> None:
    """Run the benchmark."""
    parser = argument_parser(__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--image-bytes", type=int, default=20_000)
    arguments = parser.parse_args()
    header = start(arguments)
    num_images = 200 if arguments.smoke else arguments.images
    secrets = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    with TemporaryDirectory() as folder, s3_server() as address:
        os.environ |= secrets | {"AWS_ENDPOINT_URL": address, "XDG_CACHE_HOME": f"{folder}/cache"}
        keys = fill(num_images, arguments.image_bytes, max(1, num_images // 20))
        ways = contestants(Path(folder) / "store", arguments.threads, min(num_images, 2_000))
        lines = []
        try:
            ways["webdataset"] = rate_of_webdataset(address, keys)
        except ImportError as error:
            lines.append(f"webdataset skipped: {error}")
        rates = interleave(ways, 1 if arguments.smoke else arguments.pairs)
    rows = {name: {"images_per_s": float(np.median(values))} for name, values in rates.items()}
    lines += [f"{name:>14}  {row['images_per_s']:>10,.0f} images/s" for name, row in rows.items()]
    ratios = {name: paired_ratio(rates["whole shards"], rates[name]) for name in ways if name != "whole shards"}
    lines += [f"whole shards against {name}: {ratio}" for name, ratio in ratios.items()]
    report(arguments, {"header": header, "rows": rows, "ratios": ratios}, "\n".join(lines))


if __name__ == "__main__":
    main()
