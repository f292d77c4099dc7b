"""How long a set of a million files takes to open, and how much memory its listing takes.

    python -m benchmarks.list_million_files [--files 1000000] [--folder DIR] [--pairs 3] [--json]

The goals: under 60 s and at most 300 bytes a file. A tree of empty files in 1,000 classes is made below --folder (a
temporary folder by default; it needs that many inodes) and removed afterwards; a CSV file and a tar file list as many.
The peer is what torchvision's ImageFolder does: `os.walk` and a list of (path, label). Each is opened in a process of
its own, in turns, with the directory entries in the operating system's cache, as they are when they were just written.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from .common import argument_parser, interleave, paired_ratio, report, start

MAX_SECONDS, MAX_BYTES = 60.0, 300
NUM_CLASSES = 1000

MEASURE = """
import ctypes, gc, json, os, sys, time
what, text = sys.argv[1:]

def resident_bytes():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def list_pairs(folder):
    endings = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    found = []
    for label, name in enumerate(classes):
        for root, _, files in sorted(os.walk(os.path.join(folder, name), followlinks=True)):
            found += [(os.path.join(root, file), label) for file in sorted(files) if file.lower().endswith(endings)]
    return found

if what == "ours":
    from saccade.data.source import SOURCES, open_source
    SOURCES.names()  # imports are not part of the listing
else:
    open_source = list_pairs
before = resident_bytes()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts here
started = time.perf_counter()
source = open_source(text)
seconds = time.perf_counter() - started
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024 - before
print(json.dumps({"files": len(source), "seconds": seconds, "held": resident_bytes() - before, "peak": peak}))
"""


def main() -> None:
    """Run the benchmark; exit status 1 where a goal is missed by figures that can be quoted."""
    parser = argument_parser(__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=1_000_000, help="number of files (default 1,000,000)")
    parser.add_argument("--folder", type=Path, default=None, help="where to make them [a temporary folder]")
    arguments = parser.parse_args()
    header = start(arguments)
    num_files = 2_000 if arguments.smoke else arguments.files
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        texts = make_sets(Path(name), num_files)
        rows: dict[str, list[dict[str, Any]]] = {contestant: [] for contestant in texts}

        def contestant(key: str) -> float:
            rows[key].append(measure(*texts[key], num_files))
            return float(rows[key][-1]["seconds"])

        runs = {key: (lambda key=key: contestant(key)) for key in texts}
        seconds = interleave(runs, 1 if arguments.smoke else arguments.pairs)
    result = {key: summary(rows[key][1:], num_files) for key in rows}
    ratio = paired_ratio(seconds["a list of pairs (peer)"], seconds["folder"])
    lines = [
        f"{key:24} {row['seconds']:7.2f} s   held {row['held_bytes_per_file']:5.0f} bytes a file, "
        f"at the peak {row['peak_bytes_per_file']:5.0f}"
        for key, row in result.items()
    ]
    lines.append(f"folder: {ratio} times as fast as the list of pairs")
    report(arguments, {"header": header, "files": num_files, "rows": result, "speed": ratio}, "\n".join(lines))
    ours = [row for key, row in result.items() if "peer" not in key]
    missed = any(row["seconds"] > MAX_SECONDS or row["held_bytes_per_file"] > MAX_BYTES for row in ours)
    sys.exit(1 if missed and header["quotable"] else 0)


def make_sets(folder: Path, num_files: int) -> dict[str, tuple[str, str]]:
    """{contestant: (what, SOURCE)}; the file names have the length of a hash, as those of crawled photos do."""
    rng = np.random.default_rng(0)
    names = [f"{rng.bytes(10).hex()}.jpg" for _ in range(num_files)]
    photos = folder / "photos"
    for label in range(NUM_CLASSES):
        inside = photos / f"class {label:04d}"
        inside.mkdir(parents=True)
        for name in names[label::NUM_CLASSES]:
            (inside / name).touch()
    lines = (f"class {number % NUM_CLASSES:04d}/{name},{number % NUM_CLASSES}" for number, name in enumerate(names))
    with open(folder / "list.csv", "w", encoding="utf-8") as file:
        file.write("file,label\n")
        file.writelines(f"{line}\n" for line in lines)
    with tarfile.open(folder / "shard.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, name in enumerate(names):
            content = str(number % NUM_CLASSES).encode()
            for path, data in ((name, b"x"), (name.replace(".jpg", ".cls"), content)):
                member = tarfile.TarInfo(path)
                member.size = len(data)
                archive.addfile(member, BytesIO(data))
                archive.members = []  # type: ignore[assignment]  # they would take gigabytes
    return {
        "folder": ("ours", str(photos)),
        "manifest": ("ours", str(folder / "list.csv")),
        "tar": ("ours", str(folder / "shard.tar")),
        "a list of pairs (peer)": ("peer", str(photos)),
    }


def measure(what: str, text: str, num_files: int) -> dict[str, Any]:
    """Open a set in a fresh process."""
    done = subprocess.run([sys.executable, "-c", MEASURE, what, text], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    row: dict[str, Any] = json.loads(done.stdout)
    if row["files"] != num_files:
        sys.exit(f"{text}: {row['files']:,} files were listed, {num_files:,} are there.")
    return row


def summary(rows: list[dict[str, Any]], num_files: int) -> dict[str, float]:
    """Medians over the rounds."""
    medians = {key: float(np.median([row[key] for row in rows])) for key in ("seconds", "held", "peak")}
    return {
        "seconds": round(medians["seconds"], 3),
        "held_bytes_per_file": round(medians["held"] / num_files, 1),
        "peak_bytes_per_file": round(medians["peak"] / num_files, 1),
    }


if __name__ == "__main__":
    main()
