"""Damage every file of a run and read the run by every verb: each gives a sane result, or one error of a few lines.

    python -m campaigns.mutate_runs --mutations 10000 --seed 0

A trained run, a transfer and an ensemble are made of thirty small images. One file of a copy is damaged: its bytes are
mutated and spliced, its JSON or TOML is edited at any place by a value of another type or size, its tensors get other
types, shapes and numbers, or a folder, a pipe or a link stands in its place. Digests in the manifests are made to fit
again, so that the damage reaches the reader behind them. Then two of the verbs that read the file are run, in a child
process behind walls (`campaigns/mutations.py`): no network, no process, no file outside the run. Needs Linux.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import random
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as tensor_bytes

from campaigns.mutations import Kind, Limits, mutate, mutate_value, run_campaign
from campaigns.small_runs import CHOOSING, IMAGES, VERBS_FILE, WEIGHTS, make_runs

SETTINGS_DIFFER = "A resumed run goes on as it began: "  # names the key of config.toml that differs
ALL_VERBS = ("report", "predict", "evaluate", "labels", "explain", "table", "resume", "teacher")
READERS = {  # which verbs read a file, by its name; the others need not be tried
    "manifest.json": ALL_VERBS,
    "weights.safetensors": ("predict", "evaluate", "explain", "report", "resume", "teacher", "labels"),
    "state.safetensors": ("resume",),
    "config.toml": ("report", "resume"),
    "found.json": ("resume",),
    "environment.json": ("report",),
    "data.json": ("report",),
    "measured.json": ("resume",),
    "transfer.json": ("report", "labels", "resume"),
    "metrics.jsonl": ("report", "resume"),
    "seen.safetensors": ("evaluate", "labels", "teacher"),
    "novelty.safetensors": ("predict", "evaluate", "explain", "report", "labels", "teacher"),
    "validation.safetensors": ("evaluate",),
    "evaluation.json": ("report",),
    "evaluation.safetensors": ("report",),
    "pictures.safetensors": ("report",),
    "ensemble.toml": ("predict", "evaluate", "resume", "report", "teacher"),
    ".lock": ("resume",),
}
DTYPES = (
    *(torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool),
    *(torch.float8_e4m3fn, torch.complex64),
)


def main() -> None:
    """Run the mutations and print the result as JSON; exit status 1 where any of them fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=200, help="of each file of each kind of run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--only", default="", help="a part of the name of the files to damage")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="saccade-runs-") as base:
        files = make_runs(Path(base))
        kinds = {name: kind for name, kind in kinds_of(files).items() if arguments.only in name}
        result = run_campaign(
            kinds,
            "campaigns.read_runs:check",
            arguments.mutations,
            arguments.seed,
            Limits(max_seconds=60.0, hang_seconds=120.0, max_memory_bytes=700 << 20, address_space_bytes=4 << 30),
            arguments.first,
        )
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["failures"] else 0)


def kinds_of(files: dict[str, bytes]) -> dict[str, Kind]:
    """One kind for every file that is read again, in each of the runs."""
    kinds = {}
    for path in files:
        run, _, name = path.partition("/")
        if run not in ("train", "transfer", CHOOSING, "ensemble") or path.startswith("ensemble/member-2"):
            continue
        if (run == CHOOSING) != (name == "measured.json"):
            continue  # its other files are those of a transfer
        if Path(name).name in READERS and not (run == "ensemble" and name == "evaluation.json"):
            kinds[path.replace("/", " ")] = Kind(
                write=writer(files, path), names=(Path(path).name, run, SETTINGS_DIFFER)
            )
    return kinds


def writer(files: dict[str, bytes], target: str) -> Callable[[Path, random.Random], None]:
    """How to write the runs with `target` damaged."""
    run, name = target.partition("/")[0], Path(target).name
    others = [content for path, content in files.items() if Path(path).name == name]

    def write(folder: Path, draw: random.Random) -> None:
        for path, content in files.items():
            if path.partition("/")[0] in (run, IMAGES, WEIGHTS):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        if draw.random() < 0.02:
            odd_file(folder / target, draw)
        else:
            (folder / target).write_bytes(damage(files[target], name, draw, others))
            if name.endswith(".safetensors") and draw.random() < 0.8:
                fit_digests(folder / target)
        verbs = [verb for verb in READERS[name] if not (run == "transfer" and verb == "teacher")]
        chosen = draw.sample(verbs, min(2, len(verbs)))
        (folder / VERBS_FILE).write_text(f"{run} {' '.join(chosen)}")

    return write


def damage(content: bytes, name: str, draw: random.Random, others: list[bytes]) -> bytes:
    """Mutations of bytes for a third, else of what the bytes mean."""
    if draw.random() < 0.33:
        return mutate(content, draw, others)
    if name.endswith(".safetensors"):
        return damage_tensors(content, draw)
    if name.endswith(".toml"):
        return toml_text(mutate_value(tomllib.loads(content.decode()), draw)).encode("utf-8", "surrogatepass")
    if name.endswith(".jsonl"):
        events = [mutate_value(json.loads(line), draw) for line in content.splitlines()]
        return "".join(json.dumps(event) + "\n" for event in events).encode()
    if name == ".lock":
        return mutate(content, draw, others)
    values = json.loads(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        values = mutate_value(values, draw)
    text = json.dumps(values)
    if draw.random() < 0.05:
        text = draw.choice(
            ('{"a": NaN}', "[" * 100_000, '{"a":' * 100_000, "9" * 100_000, text.replace("0", "1e999", 1))
        )
    if name == "manifest.json" and isinstance(values, dict) and draw.random() < 0.9:
        with contextlib.suppress(ValueError, RecursionError):
            text = signed(json.loads(text))
    return text.encode("utf-8", "surrogatepass")


def signed(values: Any) -> str:
    """A manifest whose own digest fits."""
    if not isinstance(values, dict):
        return json.dumps(values)
    others = {key: value for key, value in values.items() if key != "own_sha256"}
    own = hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()
    return json.dumps(others | {"own_sha256": own})


def fit_digests(path: Path) -> None:
    """Make the record of a damaged file, in the manifest or the verdict beside it, fit again."""
    content = path.read_bytes()
    record = {"num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    for name in ("manifest.json", "evaluation.json"):
        beside = path.parent / name
        if beside.is_file():
            values = json.loads(beside.read_bytes())
            if path.name in values["files"]:
                values["files"][path.name] = record
            beside.write_text(signed(values) if name == "manifest.json" else json.dumps(values))


def damage_tensors(content: bytes, draw: random.Random) -> bytes:
    """The same tensors but for one: another type, shape, name or number, or gone."""
    tensors = parse_tensors(content)
    name = draw.choice(list(tensors))
    tensor = tensors[name]
    action = draw.randrange(6)
    if action == 0:
        tensors[name] = tensor.to(draw.choice(DTYPES))
    elif action == 1:
        shapes = (tensor.flatten(), tensor[None], tensor[..., :0] if tensor.ndim else tensor[None][:0])
        tensors[name] = draw.choice(shapes).contiguous()
    elif action == 2:
        tensors[f"{name}x"] = tensors.pop(name)
    elif action == 3:
        del tensors[name]
    elif action == 4:
        tensors[name] = torch.cat([tensor, tensor]) if tensor.ndim else torch.stack([tensor, tensor])
    elif tensor.numel():
        flat = tensor.clone().flatten()
        is_float = tensor.is_floating_point()
        number = (
            draw.choice((math.nan, math.inf, -math.inf, 1e38, -1e38)) if is_float else draw.choice((-1, 0, 100, 127))
        )
        flat[draw.randrange(len(flat))] = number
        tensors[name] = flat.reshape(tensor.shape)
    return tensor_bytes(tensors)


def odd_file(path: Path, draw: random.Random) -> None:
    """Something that is not a file, or not here."""
    path.unlink()
    make = (
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to("/etc/hosts"),
    )
    draw.choice(make)()


def toml_text(values: Any, prefix: str = "") -> str:
    """TOML of nested tables; what TOML cannot hold is written as JSON, which its reader must refuse."""
    if not isinstance(values, dict):
        return f"x = {json.dumps(values)}\n"
    lines, tables = [], []
    for key, value in values.items():
        word = key if key.isidentifier() and key.isascii() else json.dumps(key)
        if isinstance(value, dict) and value:
            tables.append(f"[{prefix}{word}]\n{toml_text(value, f'{prefix}{word}.')}")
        else:
            lines.append(f"{word} = {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(lines + tables)


if __name__ == "__main__":
    main()
