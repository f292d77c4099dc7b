"""Train on disks that fail, and check that nothing is lost: full (100 byte budgets), quota, input/output, read-only.

    python -m campaigns.storage_faults --budgets 100 --calls 30

Each trial trains a small network until the disk fails it. The error must be a StorageError of at most four lines that
names the path, and for full disks the needed and the free bytes; every checkpoint that was saved before must load. Then
the disk works again and the run goes on: it must end with the bits of an undisturbed run. With at least 50 budgets, and
the right to mount, ten sizes are also tried on real file systems.
"""

import argparse
import errno
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from saccade.core import atomic
from saccade.core.errors import StorageError
from saccade.runs.checkpoint import newest_checkpoint
from saccade.runs.names import BEST, CONFIG, LAST

from .faulty_disk import FaultyDisk
from .small_training import MEMORY, differences, fingerprint, train

SETTING = "muon, lookahead"
FULL = re.compile(r"([\d,]+ bytes are|More space is) needed, [\d,]+ are free\. What was saved before is intact\.")


def main() -> None:
    """Run the trials and print the result as JSON; exit status 1 where anything was lost or badly told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", type=int, default=100)
    parser.add_argument("--calls", type=int, default=30)
    arguments = parser.parse_args()
    result = run_campaign(arguments.budgets, arguments.calls)
    print(json.dumps(result))
    sys.exit(1 if result["failures"] else 0)


def run_campaign(num_budgets: int, num_calls: int) -> dict[str, Any]:
    """`num_budgets` disks that fill up, `num_calls` of each other kind; returns counts and everything found wrong."""
    failures: list[str] = []
    num_struck = 0
    with tempfile.TemporaryDirectory(dir=MEMORY) as text:
        folder = Path(text)
        expected, num_bytes, total_calls = undisturbed(folder / "reference")
        disks = [(errno.ENOSPC, spread(num_bytes, number, num_budgets), None) for number in range(num_budgets)]
        for kind in (errno.EDQUOT, errno.EIO, errno.EROFS):
            disks += [(kind, None, spread(total_calls, number, num_calls)) for number in range(num_calls)]
        for kind, budget, call in disks:
            run = folder / "trial" / "run"
            run.parent.mkdir()
            disk = FaultyDisk(run.parent, kind, num_bytes=budget, num_calls=call)
            disk.once = kind == errno.EIO
            found = trial(run, disk, expected)
            num_struck += disk.struck
            where = (
                f"{errno.errorcode[kind]} after {budget} bytes"
                if call is None
                else f"{errno.errorcode[kind]} at {call}"
            )
            failures += [f"{where}: {text}" for text in found]
            shutil.rmtree(run.parent)
        real = real_disks(folder / "mounted", expected) if num_budgets >= 50 else {"trials": 0, "failures": []}
        failures += real["failures"]
    return {"trials": len(disks), "struck": num_struck, "real file systems": real["trials"], "failures": failures}


def spread(total: int, number: int, count: int) -> int:
    """Point `number` of `count` over `total`, the first ones dense: a run writes its small files there."""
    return round(total * (number / count) ** 2)


def undisturbed(run: Path) -> tuple[dict[str, Any], int, int]:
    """Fingerprint of a run on a good disk, the bytes it writes and the calls that change the disk."""
    disk = FaultyDisk(run.parent, errno.EIO, num_bytes=2**60, num_calls=2**60)
    with disk.failing():
        train(SETTING, run)
    return fingerprint(run), 2**60 - (disk.bytes_left or 0), 2**60 - (disk.calls_left or 0)


def trial(run: Path, disk: FaultyDisk, expected: dict[str, Any]) -> list[str]:
    """Train on `disk` until it fails, check what is there, go on with a good disk, compare."""
    try:
        with disk.failing():
            train(SETTING, run)
    except StorageError as error:
        wrong = bad_message(error.message, run, disk.number)
    except OSError as error:
        wrong = [f"{type(error).__name__} instead of StorageError: {error}"]
    else:
        wrong = ["the fault did not strike"] if disk.struck and not disk.once else []
    return wrong + lost(run) + resumed(run, expected)


def bad_message(message: str, run: Path, number: int) -> list[str]:
    """What is wrong with the words of an error."""
    wrong = []
    if message.count("\n") > 3 or str(run) not in message:
        wrong.append(f"message without the path, or too long: {message!r}")
    if number in (errno.ENOSPC, errno.EDQUOT) and not FULL.search(message):
        wrong.append(f"message without needed and free bytes: {message!r}")
    return wrong


def lost(run: Path) -> list[str]:
    """Checkpoints that stand there and of which none loads."""
    wrong = []
    for name in (LAST, BEST):
        places = [run / name, atomic.previous_folder(run / name)]
        if any((place / "manifest.json").exists() for place in places) and newest_checkpoint(run / name)[0] is None:
            wrong.append(f"{name} does not load any more")
    return wrong


def resumed(run: Path, expected: dict[str, Any]) -> list[str]:
    """Go on (or begin, where the run had not begun) on a good disk; every difference from an undisturbed run."""
    if not (run / CONFIG).exists() and run.exists():
        shutil.rmtree(run)
    train(SETTING, run)
    return differences(expected, fingerprint(run))


def real_disks(folder: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """The same on file systems in memory of growing sizes, where this process may mount them."""
    failures: list[str] = []
    num_trials = 0
    folder.mkdir()
    for size_kib in (4, 8, 16, 24, 32, 48, 64, 96, 128, 192):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(folder)]
        try:
            if subprocess.run(command, capture_output=True).returncode:
                break
        except FileNotFoundError:
            break
        try:
            num_trials += 1
            failures += [f"{size_kib} KiB: {text}" for text in real_trial(folder, expected)]
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    return {"trials": num_trials, "failures": failures}


def real_trial(folder: Path, expected: dict[str, Any]) -> list[str]:
    """Fill a real file system, then make it larger and go on."""
    try:
        train(SETTING, folder / "run")
    except StorageError as error:
        wrong = bad_message(error.message, folder / "run", errno.ENOSPC)
    except OSError as error:
        wrong = [f"{type(error).__name__} instead of StorageError: {error}"]
    else:
        wrong = []
    wrong += lost(folder / "run")
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
    return wrong + resumed(folder / "run", expected)


if __name__ == "__main__":
    main()
