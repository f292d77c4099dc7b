"""Check a built sdist and wheel in a folder: the one has every file of the repository, the other the package."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).parent.parent


def main() -> None:
    """Print what is missing and end with status 1, or print how many files there are."""
    folder = Path(sys.argv[1])
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    tracked = {name for name in tracked_files() if (REPOSITORY / name).is_file()}
    with tarfile.open(sdist) as archive:
        in_sdist = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    package = {name.removeprefix("src/") for name in tracked if name.startswith("src/saccade/")}
    missing = [f"{sdist.name} has no {name}" for name in sorted(tracked - in_sdist)]
    missing += [f"{wheel.name} has no {name}" for name in sorted(package - in_wheel)]
    missing += [f"{wheel.name} has no py.typed"] if "saccade/py.typed" not in in_wheel else []
    foreign = sorted(name for name in in_wheel if not name.startswith(("saccade/", "saccade_learn-")))
    missing += [f"{wheel.name} would install {name} beside the package" for name in foreign]
    if missing:
        sys.exit("\n".join(missing))
    print(f"{sdist.name}: {len(tracked)} files; {wheel.name}: {len(in_wheel)} files")


def tracked_files() -> list[str]:
    """Paths of all files that git tracks, relative to the repository."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name]


if __name__ == "__main__":
    main()
