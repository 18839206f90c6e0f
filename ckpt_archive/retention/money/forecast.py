"""What archiving will cost, said by the training process itself: once per launch, from two saves, without asking anybody.

It must never stop a save, and never make it slow: a few hundred sums, and at most one small file read.
"""

import logging
from collections.abc import Sequence

from ckpt_archive.disk.protocol import FileSystem
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.local.ring import SealedShare
from ckpt_archive.machine import Machine
from ckpt_archive.retention.money.cohorts import DAY_SECONDS, Chooser
from ckpt_archive.retention.money.grid import duration_text
from ckpt_archive.retention.money.prices import STANDARD, PriceBook, shipped
from ckpt_archive.retention.policy.file import FILE_NAME, MAX_FILE_BYTES, decode, load, preset
from ckpt_archive.retention.policy.values import Policy

_log = logging.getLogger(__name__)

_MUCH_USD = 1000.0  # a month, a year from now: whoever pays that wants to have been told
_YEAR_DAYS = 365
_LEAST_SECONDS = 1.0  # what saves more often than that is a test


class Forecaster:
    """Says what the archive of a launch will cost, as soon as two of its saves tell how often it saves.

    Args:
        machine: The machine it runs on.
        run: Run name.
        writers: How many processes write a share of each checkpoint.
        every: Every so-manieth save goes to the archive.
    """

    def __init__(self, machine: Machine, run: str, writers: int, every: int) -> None:
        self._machine = machine
        self._run = run
        self._writers = writers
        self._every = every
        self._interval_seconds = 0.0
        self._first: SealedShare | None = None
        self._told = False

    def found(self, shares: Sequence[SealedShare]) -> None:
        """Take what lay in the ring before the first save: an earlier launch may tell how often there is one."""
        launches = {share.launch for share in shares if share.rank == 0}
        for launch in sorted(launches):
            own = [share for share in shares if share.rank == 0 and share.launch == launch]
            first = min(own, key=_saves)
            last = max(own, key=_saves)
            self._interval_seconds = _interval_seconds(first, last) or self._interval_seconds

    def sealed(self, share: SealedShare) -> None:
        """Take what was saved now; the first writer speaks for all."""
        if self._told or share.rank != 0:
            return
        if self._first is None:
            self._first = share
        else:
            self._interval_seconds = _interval_seconds(self._first, share) or self._interval_seconds
        if self._interval_seconds:
            self._told = True
            self._tell(share.size_bytes * self._writers, max(1, round(self._interval_seconds * self._every)))

    def _tell(self, size_bytes: int, every_seconds: int) -> None:
        policy = self._policy()
        book = shipped()
        usd = month_usd(policy, size_bytes, every_seconds, _YEAR_DAYS, book)
        level = logging.WARNING if usd >= _MUCH_USD else logging.INFO
        share = f" (estimated from this one of {self._writers} writers)" if self._writers > 1 else ""
        _log.log(level, "run %s%s: %s", self._run, share, sentence(policy, size_bytes, every_seconds, book))

    def _policy(self) -> Policy:
        try:
            return load(decode(_read(self._machine.fs), FILE_NAME), FILE_NAME)
        except FileNotFoundError:
            pass
        except InvalidInputError as error:
            _log.warning("%s", error.message)
        except OSError as error:
            _log.warning("%s can not be read: %s", FILE_NAME, error)
        return preset("default")


def _read(fs: FileSystem) -> bytes:
    """The policy file of the working directory. Raises `OSError`."""
    with fs.open(FILE_NAME) as file:
        buffer = bytearray(min(file.stat().size_bytes, MAX_FILE_BYTES + 1))
        return bytes(buffer[: file.read_into(memoryview(buffer), 0)])


def _saves(share: SealedShare) -> int:
    return share.seal.saves


def _interval_seconds(first: SealedShare, last: SealedShare) -> float:
    """Between two saves of a launch; 0 where that can not be told, or is too short to be meant."""
    saves = _saves(last) - _saves(first)
    passed = (last.seal.contribution.staged_at - first.seal.contribution.staged_at).total_seconds()
    if first.launch != last.launch or saves < 1 or passed < saves * _LEAST_SECONDS:
        return 0.0
    return passed / saves


def kept(policy: Policy, every_seconds: int, days: int) -> int:
    """About how many checkpoints are there after so many days, without milestones; `simulate` reckons exactly."""
    chooser = Chooser(policy, ())
    count = 0
    horizon_seconds = days * DAY_SECONDS
    all_of_it = chooser.shares(1, horizon_seconds // every_seconds)
    for index, (retention, archived, _) in enumerate(all_of_it):
        gone = 0
        if retention is not None and retention.keep_days is not None:
            # To the next midnight it is half a day on average.
            lasts_seconds = max(retention.keep_days, policy.notice_days) * DAY_SECONDS + DAY_SECONDS // 2
            last_gone = (horizon_seconds - lasts_seconds) // every_seconds
            gone = chooser.shares(1, last_gone)[index][1] if last_gone >= 1 else 0
        count += archived - gone
    return count


def month_usd(policy: Policy, size_bytes: int, every_seconds: int, days: int, book: PriceBook) -> float:
    """About what the checkpoints that are there after so many days cost a month, where all were written first."""
    return book.usd_a_month(STANDARD, size_bytes * kept(policy, every_seconds, days))


def sentence(policy: Policy, size_bytes: int, every_seconds: int, book: PriceBook) -> str:
    """What is archived, and what a policy makes of it, for people."""
    a_day = size_bytes * DAY_SECONDS / every_seconds
    every_one = Policy(classes=())
    month = kept(policy, every_seconds, 30)
    year = kept(policy, every_seconds, _YEAR_DAYS)
    without = kept(every_one, every_seconds, _YEAR_DAYS)

    def worth(count: int, when: str) -> str:
        size = count * size_bytes
        return f"{size_text(size)} after {when} ({book.usd_a_month(STANDARD, size):,.0f} USD a month)"

    said = (
        f"{size_text(size_bytes)} every {duration_text(every_seconds)} to the archive, {size_text(a_day)} a day. Under the "
        f"policy {policy.name!r}, once it is applied, about {worth(month, '30 days')} and {worth(year, 'a year')}"
    )
    if year < without:
        said += f"; as long as none is applied nothing ends: {worth(without, 'a year')}"
    price = book.price(STANDARD).usd_per_tb_month
    return (
        f"{said}; at {price:g} USD per TB and month. More: "
        f"ckpt-archive retention simulate --size {size_text(size_bytes, '')} --every {every_seconds}s"
    )


def size_text(size_bytes: float, blank: str = " ") -> str:
    """Bytes in decimal units, as prices have them: ``14.0 GB``, ``4.0 TB``."""
    for unit, name in ((10**15, "PB"), (10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f}{blank}{name}"
    return f"{size_bytes / 1000:.1f}{blank}KB"
