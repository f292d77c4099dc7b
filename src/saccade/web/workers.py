"""How a request runs: a bounded queue in front of a few threads, each of which does all of the work on one image.

A request counts from when its body is there: else a few slow senders would fill the queue. One whose client has gone or
whose deadline has passed is dropped before its work starts.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from starlette.types import Receive

from .refusal import CLIENT_GONE, Reason, Refusal, busy

Result = TypeVar("Result")
TOO_LATE = Reason(504, "too_late", "The deadline passed while the request waited.", "Ask again, or less often.")
NO_MEMORY = Reason(503, "no_memory", "The memory ran out.", "Ask again after a second.", {"Retry-After": "1"})


class Workers:
    """`num_threads` threads and at most `limit` requests inside; `deadline_s` is how long one may wait."""

    def __init__(self, num_threads: int, limit: int, deadline_s: float) -> None:
        self.num_threads, self.limit, self.deadline_s = num_threads, limit, deadline_s
        self.inside = 0
        self.is_draining = False
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="saccade-worker")

    def refuse_when_busy(self) -> None:
        """Raise Refusal where a request cannot be taken now: to be asked before its body is read."""
        if self.is_draining:
            raise busy("about to end")
        self._refuse_when_full()

    def _refuse_when_full(self) -> None:
        if self.inside >= self.limit:
            raise busy("full")

    async def run(self, work: Callable[[], Result], receive: Receive) -> tuple[Result, float]:
        """(what `work` gives on a thread of the pool, the seconds it waited for one). Raises Refusal."""
        self._refuse_when_full()
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, self._leave)
        self.inside += 1
        job.begin(self._pool)
        gone = asyncio.ensure_future(_gone(receive))
        gone.add_done_callback(lambda _: job.give_up(CLIENT_GONE))
        late = loop.call_later(self.deadline_s, job.be_late)
        try:
            return await job.result, job.waited_s
        except MemoryError:
            raise Refusal(NO_MEMORY) from None
        finally:
            late.cancel()
            gone.cancel()
            job.give_up(CLIENT_GONE)  # where this task was cancelled; else it has ended

    def close(self) -> None:
        """End the threads; nothing is inside any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self) -> None:
        self.inside -= 1


class _Job(Generic[Result]):
    """Work on a thread, and its result on the event loop, which one call wakes up when it is there."""

    def __init__(self, work: Callable[[], Result], loop: asyncio.AbstractEventLoop, left: Callable[[], None]) -> None:
        self._work, self._loop, self._left = work, loop, left
        self._asked = time.perf_counter()
        self.waited_s = 0.0
        self.result: asyncio.Future[Result] = loop.create_future()

    def begin(self, pool: ThreadPoolExecutor) -> None:
        """Stand in the queue of the pool."""
        self._future = pool.submit(self._run)

    def be_late(self) -> None:
        """The deadline has passed: what waits still does not begin; what runs goes on."""
        if self._withdraw():
            self._fail(Refusal(TOO_LATE))

    def give_up(self, reason: Reason) -> None:
        """Nobody wants the result any more; work that waits does not begin."""
        self._withdraw()
        if not self.result.done():
            self._fail(Refusal(reason))

    def _withdraw(self) -> bool:
        """Whether the work has not begun, and will not."""
        is_withdrawn = not self._future.cancelled() and self._future.cancel()
        if is_withdrawn:
            self._left()
        return is_withdrawn

    def _run(self) -> None:
        self.waited_s = time.perf_counter() - self._asked
        try:
            found = self._work()
        except BaseException as error:  # noqa: BLE001  raised again where the result is waited for
            self._loop.call_soon_threadsafe(self._end, None, error)
        else:
            self._loop.call_soon_threadsafe(self._end, found, None)

    def _end(self, found: Any, error: BaseException | None) -> None:
        self._left()
        if self.result.done():
            return
        if error is not None:
            self._fail(error)
        else:
            self.result.set_result(found)

    def _fail(self, error: BaseException) -> None:
        self.result.set_exception(error)


async def _gone(receive: Receive) -> None:
    """Until the client has gone; the body has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
