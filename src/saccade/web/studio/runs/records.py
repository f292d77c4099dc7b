"""Judged runs and networks that were read, the latest few: pages of one run follow each other."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ....classify.classifier import Member, open_member
from ....core.errors import SaccadeError
from ....core.runtime import RuntimeConfig
from ....evaluate.mistakes import Mistake, find_mistakes
from ....report.record import RunRecord, read_run
from ...refusal import Reason, Refusal, wrong_field
from .index import Run

Kept = TypeVar("Kept")
MAX_RECORDS, MAX_NETWORKS, MAX_PARTS = 6, 2, 256


class _Slot(Generic[Kept]):
    """The place of one value: made by the first who asks, while others who want the same wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: list[Kept] = []

    @property
    def is_filled(self) -> bool:
        return bool(self._found)

    def value(self, make: Callable[[], Kept]) -> Kept:
        with self._lock:
            if not self._found:
                self._found.append(make())
            return self._found[0]


class Latest(Generic[Kept]):
    """At most `limit` values by key; the one that was not asked for longest goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._slots: OrderedDict[Hashable, _Slot[Kept]] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, key: Hashable) -> bool:
        """Whether the value of `key` need not be made."""
        with self._lock:
            return key in self._slots and self._slots[key].is_filled

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """The value of `key`, made where it is not kept. What `make` raises is not kept."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self._limit:
                self._slots.popitem(last=False)
        return slot.value(make)


class Records:
    """What the pages of a run are made of. A run whose files change is read again."""

    def __init__(self) -> None:
        self._records: Latest[RunRecord] = Latest(MAX_RECORDS)
        self._networks: Latest[Member] = Latest(MAX_NETWORKS)
        self._wrong: Latest[list[Mistake]] = Latest(MAX_RECORDS)
        self._mistakes: Latest[list[Mistake]] = Latest(MAX_RECORDS)
        self.parts: Latest[str] = Latest(MAX_PARTS)  # of pages, as HTML

    def record(self, run: Run) -> RunRecord:
        """The judged run. Raises Refusal where it has not been judged, or cannot be read."""
        try:
            return self._records.get((run.id, run.watched.changes), lambda: read_run(run.path))
        except SaccadeError as error:
            raise not_shown(error) from None

    def mistakes(self, run: Run) -> list[Mistake]:
        """Every wrong answer, the most confident first, with doubts about labels: they are fitted to all answers, which
        takes seconds. Raises Refusal as `record`, and where an image has no single right answer."""
        return self._found(self._mistakes, run, True)

    def wrong(self, run: Run) -> list[Mistake]:
        """The same at once, without doubts where nobody has asked for them yet. Raises Refusal as `mistakes`."""
        has_doubts = self._mistakes.has((run.id, run.watched.changes))
        return self.mistakes(run) if has_doubts else self._found(self._wrong, run, False)

    def has_doubts(self, run: Run) -> bool:
        """Whether `wrong` knows which labels may be wrong."""
        return not self.record(run).task.tells_wrong_labels or self._mistakes.has((run.id, run.watched.changes))

    def _found(self, kept: Latest[list[Mistake]], run: Run, with_doubts: bool) -> list[Mistake]:
        record = self.record(run)
        if record.task.is_several or record.task.is_number:
            raise Refusal(Reason(404, "no_mistakes", "This run has no single right answer an image.", "See Answers."))
        known = (record.logits_NK, record.label_N, record.keys, record.classes, record.temperature, record.task)
        return kept.get((run.id, run.watched.changes), lambda: find_mistakes(*known, with_doubts=with_doubts))

    def network(self, run: Run) -> Member:
        """Its network, on the CPU. Raises Refusal where it cannot be read."""
        try:
            key = (run.id, run.watched.changes)
            return self._networks.get(key, lambda: open_member(run.path, RuntimeConfig(device="cpu")))
        except SaccadeError as error:
            raise not_shown(error) from None


def not_shown(error: SaccadeError) -> Refusal:
    """What is answered where the files of a run do not give what was asked for."""
    first, *rest = error.message.splitlines()
    return Refusal(Reason(422, "not_shown", first, " ".join(rest)))


def no_such_class() -> Refusal:
    """What is answered where a request names a class by what is no number of one."""
    return wrong_field("class must be the number of a class of the run.", "The first one is 0.")
