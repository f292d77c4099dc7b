"""`saccade inspect` on photos: images a minute, and against cleanvision on the same folder in the same run.

    python -m benchmarks.inspect_speed --source ../shared/data/clothing-small --peer PYTHON_WITH_CLEANVISION

cleanvision lives in an environment of its own; without --peer it is left out, and the table says so. Both look for
unreadable files, exact and near duplicates and odd sizes, on --threads threads or processes, from a warm file cache.
"""

import subprocess
import time
from pathlib import Path

from benchmarks import common
from saccade.data.checkup.inspection import inspect_source

PEER = """
import sys, time
from cleanvision import Imagelab
started_s = time.perf_counter()
lab = Imagelab(data_path=sys.argv[1])
lab.find_issues(n_jobs=int(sys.argv[2]), verbose=False)
print(time.perf_counter() - started_s)
"""


def main() -> None:
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--source", default=str(common.shared_folder("data/clothing-small")), help="folder of photos")
    parser.add_argument("--peer", default="", help="a Python interpreter that has cleanvision")
    arguments = parser.parse_args()
    header = common.start(arguments)
    inspection = inspect_source(arguments.source, arguments.threads, keep=False)  # warms the file cache

    def ours() -> float:
        started_s = time.perf_counter()
        inspect_source(arguments.source, arguments.threads, keep=False)
        return time.perf_counter() - started_s

    def peer() -> float:
        command = [arguments.peer, "-c", PEER, str(Path(arguments.source).resolve()), str(arguments.threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout.splitlines()[-1])

    contestants = {"ours": ours} | ({"cleanvision": peer} if arguments.peer else {})
    seconds = common.interleave(contestants, 1 if arguments.smoke else arguments.pairs)
    per_minute = 60 * inspection.num_images / float(sorted(seconds["ours"])[len(seconds["ours"]) // 2])
    result = {"header": header, "num_images": inspection.num_images, "images_per_minute": per_minute}
    table = f"saccade inspect: {per_minute:,.0f} images a minute ({inspection.num_images:,} images, median)"
    if arguments.peer:
        ratio = common.paired_ratio(seconds["cleanvision"], seconds["ours"])
        result["times_faster_than_cleanvision"] = {"median": ratio.median, "low": ratio.low, "high": ratio.high}
        table += f"\ncleanvision takes {ratio.median:.2f} times as long ({ratio.low:.2f} to {ratio.high:.2f})"
    else:
        table += "\ncleanvision was left out: give --peer an interpreter that has it"
    common.report(arguments, result, table)


if __name__ == "__main__":
    main()
