"""Work that makes more work, through one bounded executor.

Whoever consumes the results may add jobs while the others run; all decisions are taken in that one thread, so what they
change needs no lock.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from ckpt_archive.executor import Executor

Job = TypeVar("Job")
Result = TypeVar("Result")


def flow(
    executor: Executor,
    jobs: deque[Job],
    perform: Callable[[Job], Result],
    *,
    limit: int,
    still_wanted: Callable[[Job], bool] = lambda _: True,
) -> Iterator[Result]:
    """Yield `perform(job)` for every job, also those added to `jobs` meanwhile, until none is left.

    Args:
        executor: Runs the jobs.
        jobs: Taken from the left.
        perform: Runs in a worker.
        limit: How many jobs are under way at once.
        still_wanted: Asked, in the consumer's thread, just before a job would begin.
    """
    # The executor stops drawing when the queue runs dry although calls under way may yet add to it: hence the loop.
    while jobs:
        yield from executor.map_unordered(perform, _draw(jobs, still_wanted), limit=limit)


def _draw(jobs: deque[Job], still_wanted: Callable[[Job], bool]) -> Iterator[Job]:
    while jobs:
        job = jobs.popleft()
        if still_wanted(job):
            yield job
