"""Shards are fetched before they are read: four at a time, in the order in which they will be read."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, partial
from typing import TypeVar

import numpy as np

from ...loading.reader_threads import Readers
from .remote import NUM_CONNECTIONS, ChangedFile, RemoteFile
from .store import ShardStore

MAX_AHEAD = 10
STORE_SHARE = 4  # of the store at most so much, as a divisor, is for shards that nobody reads yet

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What `work` gives of each item, in order, four at a time. Raises what it raises."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            future: Future[Result] = Future()
            _fetchers(os.getpid()).submit(partial(_finish, future, work, item))
            waiting.append(future)
            if len(waiting) > 2 * NUM_CONNECTIONS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for left in waiting:
            left.cancel()


def _finish(future: "Future[Result]", work: Callable[[Item], Result], item: Item) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work(item))
    except BaseException as error:  # noqa: BLE001  raised again where the result is asked for
        future.set_exception(error)


@cache
def _fetchers(process: int) -> Readers:
    return Readers(NUM_CONNECTIONS)  # of a process alone: threads do not live on in one that forked


class Lookahead:
    """Fetches the shards `files` into `store` a little before they are read."""

    def __init__(self, store: ShardStore, files: Sequence[RemoteFile]) -> None:
        self._store, self._files = store, files
        self._lock = threading.Lock()
        self.expect(np.arange(len(files)))

    def expect(self, shard_N: np.ndarray) -> None:
        """The shards of what will be read next, in that order."""
        shard_S, first_S = np.unique(shard_N, return_index=True)
        with self._lock:
            self._order: list[int] = shard_S[np.argsort(first_S)].tolist()
            self._place = {shard: place for place, shard in enumerate(self._order)}
            self._reached, self._asked_for = -1, 0

    def reading(self, shard: int) -> None:
        """A shard is read now: have the next ones fetched."""
        if self._place.get(shard, -1) <= self._reached:
            return
        with self._lock:
            self._reached = max(self._reached, self._place.get(shard, -1))
            first, last = max(self._asked_for, self._reached + 1), self._last_ahead()
            self._asked_for = max(first, last)
            wanted = self._order[first:last]
        for number in wanted:
            _fetchers(os.getpid()).submit(partial(self._fetch, number))

    def _last_ahead(self) -> int:
        """One past the last place that may be fetched now."""
        num_bytes = 0
        for place in range(self._reached + 1, min(len(self._order), self._reached + 1 + MAX_AHEAD)):
            num_bytes += self._files[self._order[place]].num_bytes
            if num_bytes > self._store.limit_bytes // STORE_SHARE:
                return place
        return min(len(self._order), self._reached + 1 + MAX_AHEAD)

    def _fetch(self, number: int) -> None:
        with suppress(Exception, ChangedFile):  # whoever reads the shard meets the same error, and tells it
            self._store.open(self._files[number]).close()
