"""A disk that remembers: record what a program asks of the file system, then rebuild what a power loss can leave.

The model is the weakest that POSIX allows for the calls in use: an entry of a folder (created, renamed, removed) is
durable once that folder is synced, the content of a file once the file is. Anything not synced is there or not, in any
combination; content that is not synced may be whole, empty, cut or zeros. A rename happens whole or not at all.
"""

import builtins
import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = 0
MAX_ALL_SUBSETS = 5  # so many effects that are not synced are tried in all combinations
NUM_SAMPLED = 24  # combinations tried of more
CONTENTS: tuple[Callable[[bytes], bytes], ...] = (  # what a file that was not synced may hold
    lambda content: content,
    lambda content: content[:1],
    lambda content: content[: len(content) // 2],
    lambda content: content[:-1],
    lambda content: bytes(len(content)),
    lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    lambda content: bytes(len(content) // 2) + content[len(content) // 2 :],
    lambda content: content[:-1] + bytes([content[-1] ^ 1]),
)


@dataclass(frozen=True)
class Effect:
    """One change of node `node` (a folder or a file): `link` name to child
    (other: `file` or `folder`), `unlink`, `rename` name to other, `data`, or `sync`."""

    node: int
    kind: str
    name: str = ""
    other: str = ""
    child: int = -1
    content: bytes = b""


class Recording:
    """The effects of everything done under `root` while `recorded` is entered."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.effects: list[Effect] = []
        self._nodes: dict[Path, int] = {self.root: ROOT}
        self._data: dict[int, bytes] = {}
        self._next = 1

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Watch open-for-writing, fsync, mkdir, rename, replace, unlink and rmdir of this process."""
        watchers = {"fsync": self._fsync, "mkdir": self._mkdir, "unlink": self._unlink, "rmdir": self._unlink}
        watchers |= {"rename": self._rename, "replace": self._rename}
        with mock.patch.object(builtins, "open", self._watched(builtins.open, self._open)):
            patches = [mock.patch.object(os, name, self._watched(getattr(os, name), w)) for name, w in watchers.items()]
            for patch in patches:
                patch.start()
            try:
                yield
            finally:
                for patch in patches:
                    patch.stop()

    def _watched(self, original: Callable[..., Any], watcher: Callable[..., None]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if original is os.fsync:
                watcher(*arguments)
            result = original(*arguments, **options)
            if original is not os.fsync:
                watcher(*arguments, **{key: value for key, value in options.items() if key == "dir_fd"})
            return result

        return call

    def _open(self, file: Any, mode: str = "r", *others: Any, dir_fd: int | None = None) -> None:
        path = self._inside(file) if not isinstance(file, int) and set(mode) & set("wax+") else None
        if path is not None and path not in self._nodes:
            self._link(path, "file")

    def _mkdir(self, file: Any, *others: Any, dir_fd: int | None = None) -> None:
        path = self._inside(file, dir_fd)
        if path is not None:
            self._link(path, "folder")

    def _link(self, path: Path, what: str) -> None:
        self._nodes[path] = self._next
        self._note(Effect(self._nodes[path.parent], "link", name=path.name, other=what, child=self._next))
        self._next += 1

    def _unlink(self, file: Any, dir_fd: int | None = None) -> None:
        path = self._inside(file, dir_fd)
        if path is not None:
            self._note(Effect(self._nodes[path.parent], "unlink", name=path.name))
            del self._nodes[path]

    def _rename(self, source: Any, target: Any) -> None:
        before, after = self._inside(source), self._inside(target)
        if before is None or after is None:
            return
        if before.parent != after.parent:
            raise NotImplementedError("a rename between folders belongs to two of them")
        if after.is_file():
            self._note_content(self._nodes[before], after)
        self._note(Effect(self._nodes[before.parent], "rename", name=before.name, other=after.name))
        for path in [path for path in self._nodes if path == after or after in path.parents]:
            del self._nodes[path]
        for path in [path for path in self._nodes if path == before or before in path.parents]:
            self._nodes[after / path.relative_to(before)] = self._nodes.pop(path)

    def _fsync(self, descriptor: int) -> None:
        path = self._inside(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path is None or path not in self._nodes:
            return
        if path.is_file():
            self._note_content(self._nodes[path], path)
        self._note(Effect(self._nodes[path], "sync"))

    def _note_content(self, node: int, path: Path) -> None:
        content = path.read_bytes()
        if self._data.get(node, b"") != content:
            self._data[node] = content
            self._note(Effect(node, "data", content=content))

    def _note(self, effect: Effect) -> None:
        self.effects.append(effect)

    def _inside(self, file: Any, dir_fd: int | None = None) -> Path | None:
        folder = Path(os.readlink(f"/proc/self/fd/{dir_fd}")) if dir_fd is not None else Path.cwd()
        path = folder / os.fsdecode(file)
        return path if path == self.root or self.root in path.parents else None


Tree = dict[str, bytes | None]  # relative path -> content, None for a folder


def crash_states(effects: list[Effect], draw: random.Random) -> Iterator[Tree]:
    """What can be on the disk after a power loss behind the last of `effects`."""
    lasting, unsure = [], []
    for index, effect in enumerate(effects):
        is_synced = any(later.kind == "sync" and later.node == effect.node for later in effects[index + 1 :])
        (lasting if is_synced else unsure).append(index)
    unsure = [index for index in unsure if effects[index].kind != "sync"]
    for kept in _subsets(unsure, draw):
        chosen = sorted(lasting + list(kept))
        contents = CONTENTS if any(effects[index].kind == "data" for index in kept) else CONTENTS[:1]
        for spoil in contents:
            spoilt = {index: spoil(effects[index].content) for index in kept if effects[index].kind == "data"}
            yield _replay(effects, chosen, spoilt)


def _subsets(unsure: list[int], draw: random.Random) -> Iterator[tuple[int, ...]]:
    if len(unsure) <= MAX_ALL_SUBSETS:
        for size in range(len(unsure) + 1):
            yield from itertools.combinations(unsure, size)
        return
    for size in range(len(unsure) + 1):
        yield tuple(unsure[:size])
    for _ in range(NUM_SAMPLED):
        yield tuple(index for index in unsure if draw.random() < 0.5)


def _replay(effects: list[Effect], chosen: list[int], spoilt: dict[int, bytes]) -> Tree:
    entries: dict[int, dict[str, int]] = {}
    contents: dict[int, bytes] = {}
    for index in chosen:
        effect = effects[index]
        own = entries.setdefault(effect.node, {})
        if effect.kind == "link":
            own[effect.name] = effect.child
        elif effect.kind == "unlink":
            own.pop(effect.name, None)
        elif effect.kind == "rename" and effect.name in own:
            own[effect.other] = own.pop(effect.name)
        elif effect.kind == "data":
            contents[effect.node] = spoilt.get(index, effect.content)
    files = {effect.child for effect in effects if effect.kind == "link" and effect.other == "file"}
    tree: Tree = {}

    def walk(node: int, prefix: str) -> None:
        for name, child in sorted(entries.get(node, {}).items()):
            tree[prefix + name] = contents.get(child, b"") if child in files else None
            walk(child, f"{prefix}{name}/")

    walk(ROOT, "")
    return tree


def write_tree(tree: Tree, folder: Path) -> None:
    """Put `tree` into the empty folder `folder`."""
    for name, content in tree.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
