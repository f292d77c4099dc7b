"""How a request runs: a bounded queue in front of a few threads, each of which does all of the work on one image.

A request counts from when its body is there: else a few slow senders would fill the queue. One whose client has gone or
whose deadline has passed is dropped before its work starts.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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
        job = _Job(work)
        future = self._enter(job)
        result = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(_gone(receive))
        either: set[asyncio.Future[Any]] = {result, gone}
        try:
            done, _ = await asyncio.wait(either, timeout=self.deadline_s, return_when=asyncio.FIRST_COMPLETED)
            if not done and future.cancel():
                raise Refusal(TOO_LATE)
            if not done:  # it is running
                done, _ = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if result not in done:
                raise Refusal(CLIENT_GONE)
            return await result, job.waited_s
        except MemoryError:
            raise Refusal(NO_MEMORY) from None
        finally:
            gone.cancel()
            if not result.done():
                result.cancel()  # and with it `future`, where its work has not begun

    def close(self) -> None:
        """End the threads; nothing is inside any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _enter(self, job: "_Job[Result]") -> "Future[Result]":
        loop = asyncio.get_running_loop()
        self.inside += 1
        future = self._pool.submit(job.run)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        return future

    def _leave(self) -> None:
        self.inside -= 1


class _Job(Generic[Result]):
    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._asked = time.perf_counter()
        self.waited_s = 0.0

    def run(self) -> Result:
        self.waited_s = time.perf_counter() - self._asked
        return self._work()


async def _gone(receive: Receive) -> None:
    """Until the client has gone; the body has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
