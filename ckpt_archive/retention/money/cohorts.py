"""Checkpoints that come, move and go together: what years of training archive, as a few thousand groups. Values only.

Theory of operation. Checkpoint ``k`` (from 1) is archived ``k * every_seconds`` after the beginning, a midnight UTC. A pass
of `maintain` runs at every midnight. So three things decide when an object moves and ends: the midnight after it came (S3
counts days from there), the midnight at which K newer ones of its run are there (only then is its end announced, and its
tag set), and its class. All three are steps of ``k``: between two steps, and within one class, all checkpoints have the same
fate, and it is enough to know how many they are and the sum of their times.
"""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ckpt_archive.retention.policy.values import Policy, RetentionClass

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Cohort:
    """Checkpoints of one class with one fate.

    Attributes:
        retention: Their class; None: they have none and are kept.
        count: How many.
        sum_seconds: The sum of the times at which they came.
        midnight: After the last of them came, as a day from the beginning.
        tellable: The first midnight at which K newer ones are there.
        month: In which month they came, from 0.
    """

    retention: RetentionClass | None
    count: int
    sum_seconds: int
    midnight: int
    tellable: int
    month: int


@dataclass(frozen=True, slots=True)
class Life:
    """When the data of a cohort moves and ends, in days from the beginning.

    Attributes:
        tagged: When its objects get their tag; None: never.
        ends: None: never.
    """

    tagged: int | None
    ends: int | None


def life(cohort: Cohort, policy: Policy) -> Life:
    """How the rules of fail-safe expiry treat a cohort: never before its time, never before the notice is over."""
    retention = cohort.retention
    if retention is None:
        return Life(None, None)
    if retention.keep_days is None:
        return Life(cohort.tellable, None)
    natural = cohort.midnight + retention.keep_days
    ends = max(natural, cohort.tellable + policy.notice_days)
    # What a lifecycle engine would delete sooner than announced is tagged on the day of its end.
    return Life(cohort.tellable if natural >= ends else ends, ends)


def cohorts(
    policy: Policy, *, every_seconds: int, horizon_seconds: int, month_seconds: int, milestones: Sequence[int]
) -> Iterator[Cohort]:
    """All checkpoints from the beginning to the horizon, the oldest first.

    Args:
        policy: Chooses their classes.
        every_seconds: Between two that are archived.
        horizon_seconds: How long.
        month_seconds: How long a month is.
        milestones: Which ones are milestones, ascending.
    """
    chooser = Chooser(policy, milestones)
    last = horizon_seconds // every_seconds
    first = 1
    for end in _steps(policy.keep_newest, every_seconds, last, month_seconds):
        midnight = _up(end * every_seconds, DAY_SECONDS)
        tellable = _up((end + policy.keep_newest) * every_seconds, DAY_SECONDS)
        month = _up(end * every_seconds, month_seconds) - 1
        for retention, count, total in chooser.shares(first, end):
            if count:
                yield Cohort(retention, count, total * every_seconds, midnight, tellable, month)
        first = end + 1


def _steps(newer: int, every_seconds: int, last: int, month_seconds: int) -> list[int]:
    """The last checkpoint of each group of neighbours that nothing but their class tells apart."""
    horizon_seconds = last * every_seconds
    ends = {last}
    for unit, later in ((DAY_SECONDS, 0), (DAY_SECONDS, newer), (month_seconds, 0)):
        count = horizon_seconds // unit + _up(newer * every_seconds, unit)
        ends.update(moment * unit // every_seconds - later for moment in range(1, count + 1))
    return sorted(end for end in ends if 1 <= end <= last)


class Chooser:
    """How many checkpoints of a stretch each class gets. Agrees with `Policy.choose`.

    Args:
        policy: Chooses.
        milestones: Which ones are milestones, ascending.
    """

    def __init__(self, policy: Policy, milestones: Sequence[int]) -> None:
        by_every: dict[int, RetentionClass] = {}
        for item in policy.classes:
            if item.every is not None:
                by_every.setdefault(item.every, item)
        self._counted = sorted(by_every.items(), key=lambda pair: -pair[0])
        self._rest = policy.named(policy.default) if policy.default else None
        named = next((item for item in policy.classes if item.milestone), None)
        self._of_milestones = named or self._rest
        self._milestones = milestones

    def shares(self, first: int, last: int) -> list[tuple[RetentionClass | None, int, int]]:
        """Class, how many, and the sum of their numbers."""
        low = bisect.bisect_left(self._milestones, first)
        named = self._milestones[low : bisect.bisect_right(self._milestones, last)]
        found = [(self._of_milestones, len(named), sum(named))]
        taken = (len(named), sum(named))
        larger: list[int] = []
        for every, retention in self._counted:
            count, total = _multiples(every, larger, named, first, last)
            found.append((retention, count, total))
            taken = (taken[0] + count, taken[1] + total)
            larger.append(every)
        found.append((self._rest, last - first + 1 - taken[0], _sum(first, last) - taken[1]))
        return found


def _multiples(every: int, larger: Sequence[int], named: Sequence[int], first: int, last: int) -> tuple[int, int]:
    """How many numbers of a stretch `every` divides and none of `larger`, and their sum; without `named`."""
    start, end = _up(first, every), last // every
    if start > end:
        return 0, 0
    own = [number for number in named if number % every == 0 and all(number % other for other in larger)]
    if larger and not all(other % every == 0 for other in larger):
        numbers = [
            number for number in range(start * every, end * every + 1, every) if all(number % other for other in larger)
        ]
        return len(numbers) - len(own), sum(numbers) - sum(own)
    count, total = end - start + 1, every * _sum(start, end)
    for index, other in enumerate(larger):
        # Larger ones divide by `every` too; each number is taken away once, by the largest.
        gone, gone_total = _multiples(other, larger[:index], (), first, last)
        count, total = count - gone, total - gone_total
    return count - len(own), total - sum(own)


def _sum(first: int, last: int) -> int:
    return (first + last) * (last - first + 1) // 2


def _up(value: int, unit: int) -> int:
    """`value` in units, rounded up."""
    return -(-value // unit)
