"""Weights of the hub, from a server on this machine that speaks its protocol; then without any server."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from tests.hub_server import Hub, Repositories, ask, commit, serve

from saccade.core.errors import WeightsError
from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.weights.public import find_weights

MODEL = "squeezenet1.1"
README = b"---\nlicense: bsd-3-clause\n---\nweights\n"
CONFIG = json.dumps(
    {"pretrained_cfg": {"input_size": [3, 64, 64], "crop_pct": 1.0, "interpolation": "bilinear"}}
).encode()


def weight_file(num_classes: int) -> bytes:
    torch.manual_seed(num_classes)
    network = build_model(MODEL, ModelSpec(num_classes=num_classes, input_CHW=MODELS.get(MODEL).default_spec.input_CHW))
    return save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})


FIRST, SECOND = weight_file(3), weight_file(4)
REPOSITORIES: Repositories = {
    ("zoo/plain", "main"): {
        "model.safetensors": FIRST,
        "config.json": CONFIG,
        "README.md": README,
        "pytorch_model.bin": b"\x80\x02pickle",
        "modeling.py": b"raise SystemExit('code of a model was run')",
    },
    ("zoo/plain", "v1"): {"model.safetensors": SECOND, "config.json": CONFIG},
    ("zoo/named", "main"): {"squeeze.safetensors": SECOND, "config.json": CONFIG},
    ("zoo/two", "main"): {"a.safetensors": FIRST, "b.safetensors": SECOND},
    ("zoo/pickles", "main"): {"pytorch_model.bin": b"\x80\x02pickle"},
    ("zoo/nothing", "main"): {"README.md": README},
    ("zoo/broken", "main"): {"model.safetensors": FIRST[:-10], "config.json": CONFIG},
}

SCRIPT = f"""
import json, sys
from saccade.core.errors import SaccadeError
from saccade.weights.public import find_weights
found = []
for text in json.loads(sys.argv[1]):
    try:
        weights = find_weights(text, "{MODEL}")
        size = weights.preprocessing.input_height_px
        found.append([weights.source, weights.sha256, weights.num_classes, size, weights.licence])
    except SaccadeError as error:
        found.append(error.message)
print(json.dumps(found))
"""


CHUNK_BYTES = 1 << 16
WITHOUT_WAITING = "import time\ntime.sleep = lambda seconds: None\n"  # huggingface_hub waits 1 s before it tries again
IN_CHUNKS = f"{WITHOUT_WAITING}import huggingface_hub.constants\n"  # its chunks of 10 MB are larger than these files
IN_CHUNKS += f"huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = {CHUNK_BYTES}\n"


@pytest.fixture
def hub() -> Iterator[str]:
    with serve(REPOSITORIES) as address:
        yield address


def found(name: str, revision: str, content: bytes, num_classes: int, licence: str = "") -> list[object]:
    return [f"hub:{name}@{commit(name, revision)}", hashlib.sha256(content).hexdigest(), num_classes, 64, licence]


def test_weights_are_downloaded_once_pinned_and_read_without_the_hub_afterwards(hub: str, tmp_path: Path):
    first, v1 = commit("zoo/plain", "main"), commit("zoo/plain", "v1")
    good = {
        "hub:zoo/plain": found("zoo/plain", "main", FIRST, 3, "bsd-3-clause"),
        "hub:zoo/plain@v1": found("zoo/plain", "v1", SECOND, 4),
        f"hub:zoo/plain@{v1}": found("zoo/plain", "v1", SECOND, 4),
        "hub:zoo/named": found("zoo/named", "main", SECOND, 4),
    }
    bad = {
        "hub:zoo/two": "hub:zoo/two has 2 weight files: a.safetensors, b.safetensors.\n"
        "Download the one you want from https://huggingface.co/zoo/two.",
        "hub:zoo/pickles": "hub:zoo/pickles has no .safetensors file, only pickles such as pytorch_model.bin.\n"
        "Download it from https://huggingface.co/zoo/pickles, then: "
        "saccade convert FILE --model NAME --out FILE.safetensors",
        "hub:zoo/nothing": "hub:zoo/nothing has no .safetensors file.\nSee https://huggingface.co/zoo/nothing.",
        "hub:zoo/gated": "hub:zoo/gated is only for people who accepted its terms.\n"
        "Accept them at https://huggingface.co/zoo/gated, then log in: hf auth login.",
        "hub:zoo/absent": "The hub has no model hub:zoo/absent, or keeps it private.\n"
        "Check the name at https://huggingface.co/zoo/absent, or log in: hf auth login.",
        "hub:zoo/plain@v9": "hub:zoo/plain has no revision 'v9'.\nSee https://huggingface.co/zoo/plain/commits/main.",
    }
    *answers, truncated = ask(SCRIPT, [*good, *bad, "hub:zoo/broken"], hub, tmp_path)
    assert answers == [*good.values(), *bad.values()]
    assert "model.safetensors is truncated or padded: its tensors end at byte" in truncated
    assert truncated.endswith("\nDownload it again.")
    fetched = {path.rsplit("/", 1)[-1] for path in Hub.asked if "/resolve/" in path}
    assert fetched == {"model.safetensors", "squeeze.safetensors", "config.json", "README.md"}

    again = ["hub:zoo/plain", f"hub:zoo/plain@{first}", "hub:zoo/named", "hub:zoo/absent"]
    offline = ask(SCRIPT, again, hub, tmp_path, offline=True)
    assert offline[:3] == [good["hub:zoo/plain"], good["hub:zoo/plain"], good["hub:zoo/named"]]
    assert offline[3] == (
        "hub:zoo/absent (main) is not complete on this machine, and HF_HUB_OFFLINE is set.\n"
        "Go online once, or give its .safetensors file."
    )


def test_a_download_that_breaks_off_goes_on_where_it_was(hub: str, tmp_path: Path):
    Hub.cut = {"model.safetensors": 1}
    assert ask(IN_CHUNKS + SCRIPT, ["hub:zoo/plain"], hub, tmp_path) == [
        found("zoo/plain", "main", FIRST, 3, "bsd-3-clause")
    ]
    [resumed_at] = Hub.resumed_at
    assert len(FIRST) // 2 - CHUNK_BYTES < resumed_at <= len(FIRST) // 2


def test_a_download_that_always_breaks_off_leaves_no_wrong_file_and_is_completed_later(hub: str, tmp_path: Path):
    Hub.cut = {"model.safetensors": 100}
    [message] = ask(WITHOUT_WAITING + SCRIPT, ["hub:zoo/plain"], hub, tmp_path)
    assert message.splitlines()[0].startswith("hub:zoo/plain (main) is not complete on this machine, and the hub does ")
    assert message.splitlines()[1:] == ["Go online once, or give its .safetensors file."]
    assert not list(tmp_path.rglob("model.safetensors"))
    Hub.cut = {}
    assert ask(SCRIPT, ["hub:zoo/plain"], hub, tmp_path) == [found("zoo/plain", "main", FIRST, 3, "bsd-3-clause")]


@pytest.mark.parametrize(("number", "reason"), [(28, "No space left on device"), (30, "Read-only file system")])
def test_a_disk_that_refuses_is_told_and_not_a_hub_that_does_not_answer(
    hub: str, tmp_path: Path, number: int, reason: str
):
    failing = (
        "import os, builtins\nreal = os.makedirs\n"
        "def makedirs(name, *others, **more):\n"
        f"    if str(name).startswith({str(tmp_path)!r}):\n        raise OSError({number}, {reason!r}, str(name))\n"
        "    return real(name, *others, **more)\n"
        "os.makedirs = makedirs\n"
    )
    [message] = ask(failing + SCRIPT, ["hub:zoo/plain"], hub, tmp_path)
    first, second = message.splitlines()
    assert first == f"hub:zoo/plain cannot be kept in {tmp_path / 'hub'}: {reason}."
    assert second.endswith(" bytes are free there. Free some space, or set HF_HOME to a folder of yours.")


@pytest.mark.parametrize("text", ["hub:", "hub:a", "hub:a/b/c", "hub:a/b@", "hub:a b/c", "hub:a/b:c"])
def test_what_is_no_address_is_refused_before_anything_is_asked(text: str):
    with pytest.raises(WeightsError) as error:
        find_weights(text, MODEL)
    assert str(error.value) == (
        f"'{text}' is not an address of weights on the hub.\nWrite hub:OWNER/NAME, and where needed @REVISION after it."
    )
