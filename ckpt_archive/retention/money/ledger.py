"""Books the bytes, the requests and the money of a simulation, month by month. Values only.

Theory of operation. Booking a cohort takes the same few steps however long it stays: the months in which it comes and goes
get its seconds; the whole months between get one entry at their beginning and one at their end, and are added up last.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ckpt_archive.retention.money.cohorts import DAY_SECONDS, Cohort, life
from ckpt_archive.retention.money.prices import MONTH_SECONDS, PriceBook
from ckpt_archive.retention.money.workload import Workload
from ckpt_archive.retention.policy.values import Policy

_STATEMENTS = 3  # that it ends, that it is tagged, that it has ended
_LISTINGS = 3  # receipts, data, markers


@dataclass(frozen=True, slots=True)
class Month:
    """One month of a scenario.

    Attributes:
        number: From 1.
        stored_bytes: At its end, by storage class.
        checkpoints: At its end, by retention class; "" for those without one.
        mean_bytes: Over the month, by storage class: what is billed.
        mean_checkpoints: Over the month, by retention class.
        writes, listings, reads: Requests.
        transitions: Objects moved.
        storage_usd: Bytes stored, by the second.
        small_object_usd: What minimum sizes and the overhead of objects add to it.
        request_usd: Requests.
        transition_usd: Moves.
        retrieval_usd: Reading back.
        early_deletion_usd: What is due for data that moved or ended before the minimum time of its storage class.
        cumulated_usd: All of it, since the beginning.
    """

    number: int
    stored_bytes: Mapping[str, int]
    checkpoints: Mapping[str, int]
    mean_bytes: Mapping[str, float]
    mean_checkpoints: Mapping[str, float]
    writes: int
    listings: int
    reads: float
    transitions: int
    storage_usd: float
    small_object_usd: float
    request_usd: float
    transition_usd: float
    retrieval_usd: float
    early_deletion_usd: float
    cumulated_usd: float = 0.0

    @property
    def total_bytes(self) -> int:
        """At its end, in all storage classes."""
        return sum(self.stored_bytes.values())

    @property
    def total_usd(self) -> float:
        """What the month costs."""
        return (
            self.storage_usd
            + self.small_object_usd
            + self.request_usd
            + self.transition_usd
            + self.retrieval_usd
            + self.early_deletion_usd
        )


@dataclass(slots=True)
class _Series:
    """Seconds of storage, and checkpoints that are there at the end, by month; whole months are added up at the end."""

    seconds: list[int]
    whole: list[int]
    there: list[int]

    @classmethod
    def of(cls, months: int) -> "_Series":
        return cls([0] * months, [0] * (months + 1), [0] * (months + 1))

    def summed(self) -> tuple[list[int], list[int]]:
        """Seconds of storage, and how many are there at the end, by month."""
        whole = itertools.accumulate(self.whole)
        seconds = [part + count * MONTH_SECONDS for part, count in zip(self.seconds, whole, strict=False)]
        return seconds, list(itertools.accumulate(self.there))


@dataclass(slots=True)
class _Counts:
    """Requests and charges of a month."""

    arrived: int = 0
    tagged: int = 0
    transitions: dict[str, int] = field(default_factory=dict)
    early_usd: float = 0.0


class Ledger:
    """Books what becomes of cohorts.

    Args:
        workload: What is archived.
        book: The prices.
        policy: Says when data ends.
        written_to: The storage class into which everything is written first.

    Attributes:
        notes: What was reckoned otherwise than the policy says, for people.

    Raises:
        InvalidInputError: If the book has no price for that class.
    """

    def __init__(self, workload: Workload, book: PriceBook, policy: Policy, written_to: str) -> None:
        self._workload = workload
        self._book = book
        self._policy = policy
        self._first_class = written_to
        self._first_price = book.price(written_to)
        self._count = workload.months
        self._horizon = workload.months * MONTH_SECONDS
        self._by_storage: dict[str, _Series] = {}
        self._by_retention: dict[str, _Series] = {}
        self._counts = [_Counts() for _ in range(workload.months)]
        self._changes = [0] * (self._horizon // DAY_SECONDS + 3)
        self.notes: set[str] = set()

    def add(self, cohort: Cohort) -> None:
        """Book a cohort, from its arrival to its end."""
        fate = life(cohort, self._policy)
        stages = self.stages(cohort, fate.tagged, fate.ends)
        self._counts[cohort.month].arrived += cohort.count
        if fate.tagged is not None:
            self._at(fate.tagged).tagged += cohort.count
        name = cohort.retention.name if cohort.retention is not None else ""
        self._stay(self._by_retention, name, cohort, cohort.sum_seconds, cohort.month, fate.ends)
        self._changes[min(cohort.midnight, len(self._changes) - 1)] += cohort.count
        if fate.ends is not None and fate.ends + 1 < len(self._changes):
            self._changes[fate.ends + 1] -= cohort.count
        begins, month = cohort.sum_seconds, cohort.month
        for index, (storage_class, since) in enumerate(stages):
            until = stages[index + 1][1] if index + 1 < len(stages) else fate.ends
            if since is not None:
                if since * DAY_SECONDS >= self._horizon:
                    break
                begins, month = cohort.count * since * DAY_SECONDS, _month(since)
                moved = self._at(since).transitions
                moved[storage_class] = moved.get(storage_class, 0) + cohort.count
            self._stay(self._by_storage, storage_class, cohort, begins, month, until)
            self._charge_early(storage_class, cohort.count, begins, until)

    def stages(self, cohort: Cohort, tagged: int | None, ends: int | None) -> list[tuple[str, int | None]]:
        """The storage classes of a cohort, and the day on which it comes there; None for the first one."""
        found: list[tuple[str, int | None]] = [(self._first_class, None)]
        if cohort.retention is None or tagged is None:
            return found
        for move in cohort.retention.transitions:
            day = max(cohort.midnight + move.after_days, tagged)
            if (
                move.storage_class == found[-1][0]
                or (ends is not None and day >= ends)
                or not self._moves(move.storage_class)
            ):
                continue
            if found[-1][1] == day:  # The engine goes to the last of those that are due.
                found.pop()
            found.append((move.storage_class, day))
        return found

    def _moves(self, storage_class: str) -> bool:
        price = self._book.storage.get(storage_class)
        if price is None:
            self.notes.add(
                f"the price book {self._book.name} has no {storage_class}, so what would go there is reckoned as staying "
                f"in {self._first_class}."
            )
            return False
        if self._workload.size_bytes < price.min_transition_bytes * self._workload.object_count:
            self.notes.add(f"objects are too small to be moved to {storage_class}, so they are reckoned as staying.")
            return False
        return True

    def _stay(
        self,
        series_by_name: dict[str, _Series],
        name: str,
        cohort: Cohort,
        begins: int,
        month: int,
        until: int | None,
    ) -> None:
        """Book the time from `begins` (a sum of seconds, in `month`) until a day."""
        series = series_by_name.get(name)
        if series is None:
            series = series_by_name[name] = _Series.of(self._count)
        count = cohort.count
        gone = self._count if until is None else min(_month(until), self._count)
        end = self._horizon if until is None else min(until * DAY_SECONDS, self._horizon)
        series.there[month] += count
        series.there[max(gone, month)] -= count
        last = -(-end // MONTH_SECONDS) - 1
        if last <= month:
            series.seconds[month] += count * end - begins
            return
        series.seconds[month] += count * (month + 1) * MONTH_SECONDS - begins
        series.whole[month + 1] += count
        series.whole[last] -= count
        series.seconds[last] += count * (end - last * MONTH_SECONDS)

    def _charge_early(self, storage_class: str, count: int, begins: int, until: int | None) -> None:
        minimum = self._book.price(storage_class).min_days * DAY_SECONDS
        if until is None or not minimum or until * DAY_SECONDS > self._horizon:
            return
        # Of all together: where everything is written first there is no minimum, and later all come at one midnight.
        missing = count * (minimum - until * DAY_SECONDS) + begins
        if missing > 0:
            self._at(until).early_usd += missing / MONTH_SECONDS * self._usd_a_month(storage_class)

    def _at(self, day: int) -> _Counts:
        """The counts of the month in which a midnight lies; nobody reads those after the end."""
        month = _month(day)
        return self._counts[month] if month < self._count else _Counts()

    def _usd_a_month(self, storage_class: str) -> float:
        return self._book.usd_a_month(storage_class, self._workload.size_bytes, self._workload.object_count)

    def peak(self) -> int:
        """The most checkpoints that were there at once: just before some midnight, or at the end."""
        return max(itertools.accumulate(self._changes))

    def months(self) -> tuple[Month, ...]:
        """All months."""
        storage = {name: series.summed() for name, series in self._by_storage.items()}
        retention = {name: series.summed() for name, series in self._by_retention.items()}
        found: list[Month] = []
        for index in range(self._count):
            month = self._month(index, _there(storage, index), _mean(storage, index))
            before = found[-1].cumulated_usd if found else 0.0
            found.append(
                replace(
                    month,
                    checkpoints=_there(retention, index),
                    mean_checkpoints=_mean(retention, index),
                    cumulated_usd=before + month.total_usd,
                )
            )
        return tuple(found)

    def _month(self, index: int, there: Mapping[str, int], used: Mapping[str, float]) -> Month:
        """A month, from how many checkpoints are there at its end, and how many on average, by storage class."""
        workload, counts = self._workload, self._counts[index]
        objects = workload.object_count
        terabytes = workload.size_bytes / 10**12
        plain = sum(count * terabytes * self._book.price(name).usd_per_tb_month for name, count in used.items())
        billed = sum(count * self._usd_a_month(name) for name, count in used.items())
        writes = counts.arrived * workload.writes + counts.tagged * (objects + _STATEMENTS)
        listings = counts.arrived * _LISTINGS
        reads = workload.reads_per_month * workload.parts
        total = sum(used.values())
        retrieval = read_usd = 0.0
        for name, count in used.items():
            price, share = self._book.price(name), count / total
            retrieval += workload.reads_per_month * share * price.tier().usd(workload.size_bytes, objects)
            read_usd += reads * share / 1000 * price.get_usd_per_1000
        moved = {name: count * objects for name, count in counts.transitions.items()}
        first = self._first_price
        return Month(
            number=index + 1,
            stored_bytes={name: count * workload.size_bytes for name, count in there.items()},
            checkpoints={},
            mean_bytes={name: count * workload.size_bytes for name, count in used.items()},
            mean_checkpoints={},
            writes=writes,
            listings=listings,
            reads=reads,
            transitions=sum(moved.values()),
            storage_usd=plain,
            small_object_usd=billed - plain,
            request_usd=(writes * first.put_usd_per_1000 + listings * first.list_usd_per_1000) / 1000 + read_usd,
            transition_usd=sum(
                count / 1000 * self._book.price(name).transition_usd_per_1000 for name, count in moved.items()
            ),
            retrieval_usd=retrieval,
            early_deletion_usd=counts.early_usd,
        )


_Summed = Mapping[str, tuple[list[int], list[int]]]


def _there(series: _Summed, index: int) -> dict[str, int]:
    return {name: there[index] for name, (_, there) in series.items() if there[index]}


def _mean(series: _Summed, index: int) -> dict[str, float]:
    return {name: seconds[index] / MONTH_SECONDS for name, (seconds, _) in series.items() if seconds[index]}


def _month(day: int) -> int:
    """The month that a midnight ends in, from 0."""
    return -(-day * DAY_SECONDS // MONTH_SECONDS) - 1
