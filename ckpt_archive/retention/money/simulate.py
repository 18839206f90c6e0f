"""What a policy stores and costs over the years, reckoned exactly, checkpoint by checkpoint, for a price book. Values only.

Storage is paid by the second, as stores do. Data moves and ends at the midnight at which the store's engine may do it first.
What is reckoned in too: requests (an upload is one write per part and two more, a tag is one write per object), what
`PriceBook` says of minimums, and a number of checkpoints that are read back each month, taken evenly from all that is kept.
Left out: the records (some kilobytes per object), and volume discounts.
"""

from dataclasses import dataclass

from ckpt_archive.retention.money.cohorts import cohorts
from ckpt_archive.retention.money.ledger import Ledger, Month
from ckpt_archive.retention.money.prices import MONTH_SECONDS, SSD, STANDARD, PriceBook
from ckpt_archive.retention.money.workload import Workload
from ckpt_archive.retention.policy.values import TRASH, Policy


@dataclass(frozen=True, slots=True)
class Scenario:
    """A policy, and what it is called.

    Attributes:
        name: For people.
        policy: The policy.
        written_to: The storage class into which everything is written first.
    """

    name: str
    policy: Policy
    written_to: str = STANDARD


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a scenario.

    Attributes:
        scenario: Which one.
        months: In their order.
        archived: Checkpoints that were archived.
        peak_bytes: The most that was stored at any time.
        notes: What was reckoned otherwise than the policy says.
    """

    scenario: Scenario
    months: tuple[Month, ...]
    archived: int
    peak_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def last(self) -> Month:
        """The last month."""
        return self.months[-1]

    @property
    def kept(self) -> int:
        """Checkpoints that are there at the end."""
        return sum(self.last.checkpoints.values())


def simulate(scenario: Scenario, workload: Workload, book: PriceBook) -> Outcome:
    """Reckon a scenario.

    Raises:
        InvalidInputError: If the book has no price for the class that everything is written to.
    """
    ledger = Ledger(workload, book, scenario.policy, scenario.written_to)
    every = workload.every_seconds
    for cohort in cohorts(
        scenario.policy,
        every_seconds=every,
        horizon_seconds=workload.months * MONTH_SECONDS,
        month_seconds=MONTH_SECONDS,
        milestones=workload.milestones(),
    ):
        ledger.add(cohort)
    return Outcome(
        scenario,
        ledger.months(),
        archived=workload.months * MONTH_SECONDS // every,
        peak_bytes=ledger.peak() * workload.size_bytes,
        notes=(*_longer(scenario.policy), *sorted(ledger.notes)),
    )


def _longer(policy: Policy) -> list[str]:
    """What is kept for longer than its class says, because its end has to be announced first."""
    return [
        f"{item.name} is kept for {policy.notice_days} d, not {item.keep_days}: ends are announced so long before (notice)."
        for item in policy.classes
        if item.name != TRASH and item.keep_days is not None and item.keep_days < policy.notice_days
    ]


def for_ever(name: str, written_to: str) -> Scenario:
    """Everything is kept, and stays where it was written."""
    return Scenario(name, Policy(classes=(), name=name), written_to)


def everything_on_ssd() -> Scenario:
    """What all others are compared with."""
    return for_ever("everything on SSD", SSD)
