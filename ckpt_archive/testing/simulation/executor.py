"""Bounded parallel work in a simulated process: each call is a fiber, so their I/Os interleave as the seed wants."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Generic, TypeVar

from ckpt_archive.testing.simulation.process import Fiber
from ckpt_archive.testing.simulation.scheduler import Scheduler

T = TypeVar("T")
R = TypeVar("R")


class _Calls(Generic[R]):
    """The calls of one `map_unordered`."""

    def __init__(self, world: Scheduler, owner: Fiber) -> None:
        self._world = world
        self.owner = owner
        self.results: list[R] = []
        self.error: Exception | None = None
        self.under_way = 0
        self._waiting: list[Fiber] = []

    def start(self, call: Callable[[], R]) -> None:
        self.under_way += 1
        self._world.start_fiber(self.owner.process, partial(self._perform, call))

    def _perform(self, call: Callable[[], R]) -> None:
        try:
            self.results.append(call())
        except Exception as error:  # noqa: BLE001 - raised in the caller's fiber
            self.error = self.error or error
        self.under_way -= 1
        self._world.wake(self._waiting)

    def wait(self) -> None:
        self._waiting.append(self.owner)
        self._world.suspend()


class SimExecutor:
    """See `ckpt_archive.executor.Executor`. Outside of processes: one call after the other."""

    def __init__(self, world: Scheduler) -> None:
        self._world = world

    def map_unordered(self, function: Callable[[T], R], items: Iterable[T], *, limit: int) -> Iterator[R]:
        """Yield results as they arrive."""
        owner = self._world.current
        if owner is None or limit == 1:
            yield from map(function, items)
            return
        calls: _Calls[R] = _Calls(self._world, owner)
        queue = iter(items)
        more = True
        try:
            while more or calls.under_way or calls.results or calls.error is not None:
                while more and calls.error is None and calls.under_way < limit:
                    try:
                        item = next(queue)
                    except StopIteration:
                        more = False
                    else:
                        calls.start(partial(function, item))
                if calls.error is not None:
                    raise calls.error
                if calls.results:
                    yield calls.results.pop(0)
                elif calls.under_way:
                    calls.wait()
        finally:
            # Whoever lets go of this iterator from elsewhere, as a finalizer may, can not wait in the owner's place.
            while calls.under_way and self._world.current is owner and owner.process.alive:
                calls.wait()
