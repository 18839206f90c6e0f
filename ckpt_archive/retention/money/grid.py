"""Where one can go back to under a policy: how far apart the restore points lie, and how old they get. Values only."""

from dataclasses import dataclass

from ckpt_archive.retention.policy.values import TRASH, Policy

_UNITS = ((604_800, "w"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Grid:
    """Restore points of one class.

    Attributes:
        spacing_seconds: Between two of them; None: milestones.
        keep_days: How old they get; None: for ever.
    """

    spacing_seconds: int | None
    keep_days: int | None

    @property
    def said(self) -> str:
        """For people."""
        what = "milestones" if self.spacing_seconds is None else f"every {duration_text(self.spacing_seconds)}"
        return f"{what} for {'ever' if self.keep_days is None else _days_text(self.keep_days)}"


def grids(policy: Policy, every_seconds: int) -> tuple[Grid, ...]:
    """The restore points of a policy, the finest first.

    Args:
        policy: The policy.
        every_seconds: Between two checkpoints that are archived.
    """
    rest = policy.named(policy.default) if policy.default else None
    found = {Grid(every_seconds, rest.keep_days if rest is not None else None)}
    for item in policy.classes:
        if item.name == TRASH:
            continue
        if item.every is not None:
            found.add(Grid(item.every * every_seconds, item.keep_days))
        if item.milestone:
            found.add(Grid(None, item.keep_days))
    return tuple(sorted(found, key=lambda grid: (grid.spacing_seconds is None, grid.spacing_seconds or 0)))


def finest_seconds(found: tuple[Grid, ...], older_than_days: int) -> int | None:
    """How far apart restore points lie that are older than so many days; None: there are milestones at most."""
    lasting = [
        grid.spacing_seconds
        for grid in found
        if grid.spacing_seconds is not None and (grid.keep_days is None or grid.keep_days > older_than_days)
    ]
    return min(lasting, default=None)


def duration_text(seconds: float) -> str:
    """Such as ``5 min``, ``1 h``, ``1.5 h``."""
    for unit, name in _UNITS:
        if seconds >= unit and (seconds % unit == 0 or (unit in (60, 3600) and seconds % (unit / 10) == 0)):
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


def _days_text(days: int) -> str:
    years = days / 365.25
    if days >= 365 and abs(years - round(years)) * 365.25 < 3:
        return f"{round(years)} y"
    return duration_text(days * 86_400)
