"""Data sets of the hub, from a server on this machine that speaks its protocol; then without any server."""

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.hub_server import Hub, Repositories, ask, commit, serve

from saccade.core.errors import DataError
from saccade.data.source import open_source

CARD = b"---\ndataset_info:\n  features:\n"
CARD += b"  - name: label\n    dtype:\n      class_label:\n        names: [cat, dog]\n---\n"


def photos(num: int) -> bytes:
    buffer = io.BytesIO()
    rows = [{"image": {"bytes": b"image %d" % n, "path": None}, "label": n % 2} for n in range(num)]
    parquet.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


PLAIN = {
    "README.md": CARD,
    "data/train-00000-of-00001.parquet": photos(6),
    "data/test-00000-of-00001.parquet": photos(2),
}
SETS: Repositories = {
    ("zoo/plain", "main"): {**PLAIN, "run_me.py": b"raise SystemExit('code of a data set was run')"},
    ("zoo/plain", "v1"): {"README.md": CARD, "train.parquet": photos(4)},
    ("zoo/converted", "main"): {"README.md": b"", "cat/1.jpg": b"x"},
    ("zoo/converted", "refs/convert/parquet"): {
        "default/train/0000.parquet": photos(5),
        "default/test/0000.parquet": photos(3),
    },
    ("zoo/two", "main"): {"a/train.parquet": photos(4), "b/train.parquet": photos(8)},
    ("zoo/part", "main"): {"a.zip": b"x"},
    ("zoo/part", "refs/convert/parquet"): {"default/partial-train/0000.parquet": photos(4)},
    ("zoo/text", "main"): {"a.txt": b"x"},
}


SCRIPT = """
import json, sys
from saccade.core.errors import DataError
from saccade.data.source import open_source
found = []
for text in json.loads(sys.argv[1]):
    try:
        source = open_source(text)
        splits = [source.record(index).split for index in range(len(source))]
        last = source.read(len(source) - 1).decode()
        found.append([source.name, len(source), source.classes, sorted(set(map(str, splits))), last, source.digest])
    except DataError as error:
        found.append(str(error))
print(json.dumps(found))
"""


def run(texts: list[str], endpoint: str, cache: Path, offline: bool = False) -> list[list[object] | str]:
    return ask(SCRIPT, texts, endpoint, cache, offline)


@pytest.fixture
def hub() -> Iterator[str]:
    with serve(SETS) as address:
        yield address


PAGE = "https://huggingface.co/datasets"


def test_sets_are_downloaded_once_with_their_revision_and_read_without_the_hub_afterwards(hub: str, tmp_path: Path):
    first, v1 = commit("zoo/plain", "main"), commit("zoo/plain", "v1")
    converted = commit("zoo/converted", "refs/convert/parquet")
    good = {
        "hub:zoo/plain": [f"hub:zoo/plain@{first}", 8, ["cat", "dog"], ["test", "train"], "image 5"],
        "hf://datasets/zoo/plain": [f"hub:zoo/plain@{first}", 8, ["cat", "dog"], ["test", "train"], "image 5"],
        "hf://zoo/plain@v1": [f"hub:zoo/plain@{v1}", 4, ["cat", "dog"], ["None"], "image 3"],
        f"hub:zoo/plain@{v1}": [f"hub:zoo/plain@{v1}", 4, ["cat", "dog"], ["None"], "image 3"],
        "hub:zoo/converted": [f"hub:zoo/converted@{converted}", 8, ["0", "1"], ["test", "train"], "image 4"],
        "hub:zoo/two:b": [f"hub:zoo/two@{commit('zoo/two', 'main')}:b", 8, ["0", "1"], ["None"], "image 7"],
    }
    bad = {
        "hub:zoo/two": f"hub:zoo/two@{commit('zoo/two', 'main')} holds 2 sets: a, b.\nGive the folder of one of them.",
        "hub:zoo/part": "Of hub:zoo/part the hub keeps only a part as Parquet files.\n"
        f"See {PAGE}/zoo/part; download its images, and give the folder.",
        "hub:zoo/text": "hub:zoo/text has no Parquet files.\n"
        f"See {PAGE}/zoo/text; download its images, and give the folder.",
        "hub:zoo/two:c": "hub:zoo/two has no Parquet files.\n"
        f"See {PAGE}/zoo/two; download its images, and give the folder.",
        "hub:zoo/gated": "hub:zoo/gated is only for people who accepted its terms.\n"
        f"Accept them at {PAGE}/zoo/gated, then log in: hf auth login.",
        "hub:zoo/absent": "The hub has no data set hub:zoo/absent, or keeps it private.\n"
        f"Check the name at {PAGE}/zoo/absent, or log in: hf auth login.",
        "hub:zoo/plain@v9": f"hub:zoo/plain has no revision 'v9'.\nSee {PAGE}/zoo/plain/commits/main.",
        "hub:plain": "'hub:plain' is not an address of a data set on the hub.\n"
        "Write hub:OWNER/NAME, and where needed @REVISION and :FOLDER after it.",
    }
    found = run([*good, *bad], hub, tmp_path)
    assert [entry[:-1] if isinstance(entry, list) else entry for entry in found] == [*good.values(), *bad.values()]
    digests = [entry[-1] for entry in found if isinstance(entry, list)]
    assert digests[0] == digests[1] != digests[2] == digests[3]
    assert not any("run_me.py" in path and "resolve" in path for path in Hub.asked)

    again = ["hub:zoo/plain", f"hub:zoo/plain@{v1}", "hub:zoo/converted", "hub:zoo/absent"]
    offline = run(again, hub, tmp_path, offline=True)
    assert offline[:3] == [found[0], found[3], found[4]]
    assert offline[3] == (
        "hub:zoo/absent (main) is not complete on this machine, and HF_HUB_OFFLINE is set.\n"
        "Go online once, or give a folder of its Parquet files."
    )
    unreachable = run(["hub:zoo/plain", "hub:zoo/absent"], "http://127.0.0.1:9", tmp_path)
    assert unreachable[0] == found[0]
    assert str(unreachable[1]).startswith(
        "hub:zoo/absent (main) is not complete on this machine, and the hub does not answer ("
    )


@pytest.mark.parametrize("text", ["hub:", "hub:a", "hub:a/b/c", "hub:a/b@", "hub:a b/c", "hf://../x", "hub:a/../b"])
def test_what_is_no_address_is_refused_before_anything_is_asked(text: str):
    with pytest.raises(DataError) as error:
        open_source(text)
    assert str(error.value).splitlines()[-1] in (
        "Write hub:OWNER/NAME, and where needed @REVISION and :FOLDER after it.",
        "Write hub:OWNER/NAME.",
    )
