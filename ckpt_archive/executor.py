"""Bounded parallel work behind one verb, so that a simulation can run the same code one step at a time."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Runs a function over items, several at a time."""

    def map_unordered(self, function: Callable[[T], R], items: Iterable[T], *, limit: int) -> Iterator[R]:
        """Yield `function(item)` for every item as results arrive, with at most `limit` calls under way.

        Items are drawn lazily, one when a place is free. The first exception ends the iteration: nothing more is
        started, calls under way are waited for, then it is raised.
        """
        ...


class ThreadExecutor:
    """Threads of this process; a pool lives only as long as one `map_unordered` call."""

    def map_unordered(self, function: Callable[[T], R], items: Iterable[T], *, limit: int) -> Iterator[R]:
        """See `Executor.map_unordered`."""
        queue = iter(items)
        with ThreadPoolExecutor(max_workers=limit, thread_name_prefix="ckpt-archive") as pool:
            under_way: set[Future[R]] = set()
            more = True
            while more or under_way:
                while more and len(under_way) < limit:
                    try:
                        item = next(queue)
                    except StopIteration:
                        more = False
                    else:
                        under_way.add(pool.submit(function, item))
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED) if under_way else (set(), set())
                for future in done:
                    yield future.result()


class InlineExecutor:
    """One call after the other in the caller's own thread."""

    def map_unordered(self, function: Callable[[T], R], items: Iterable[T], *, limit: int) -> Iterator[R]:
        """See `Executor.map_unordered`."""
        del limit
        return map(function, items)
