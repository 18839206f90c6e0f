"""What is wrong with what is said about the ends of a run's checkpoints, and who holds what. Reads only."""

from collections import defaultdict
from collections.abc import Iterator, Set

from ckpt_archive.audit.doctor_finding import DoctorFinding
from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.fate import Fates, read_fates
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.executor import Executor
from ckpt_archive.place import Place

_UNREADABLE = (IntegrityError, InvalidInputError, NotFoundError)
_MOST_SHOWN = 5


def examine_fates(
    connection: Connection, executor: Executor, run: str, committed: Set[Place]
) -> Iterator[DoctorFinding]:
    """Strange statements, data that is missing before its day, and holds.

    Costs a listing per thousand statements of the run, and for each checkpoint whose end is announced its records and a
    listing.
    """
    fates = read_fates(connection.store, run)
    yield from _strange(fates)
    for place in sorted(committed & fates.of.keys()):
        ends_at = fates.fate(place).ends_at
        if ends_at is not None and not fates.is_over(place):
            missing = _missing(connection, executor, place)
            if missing:
                yield DoctorFinding(
                    "error",
                    "gone before its day",
                    f"{place}: it ends on {ends_at:%Y-%m-%d} and {missing[0]} is missing already"
                    + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
                    + ": a rule of the bucket that is not ours, or somebody, removed them",
                    "ckpt-archive retention drift",
                )
    yield from _held(fates)
    for place in sorted(fates.of.keys() - committed):
        if not fates.fate(place).is_open:
            yield DoctorFinding(
                "warning", "end of what is not there", f"{place}: its end is announced, and it is not committed"
            )


def _strange(fates: Fates) -> Iterator[DoctorFinding]:
    names = [*fates.strange]
    names += [layout.run_statements(fates.run) + name for name in fates.whole.strange]
    for place, fate in sorted(fates.of.items()):
        names += [layout.checkpoint_statements(place.run, place.attempt, place.step) + name for name in fate.strange]
    if names:
        shown = ", ".join(map(repr, names[:_MOST_SHOWN])) + (", …" if len(names) > _MOST_SHOWN else "")
        yield DoctorFinding(
            "warning",
            "strange statements",
            f"{fates.run}: {len(names)} objects among the statements about retention say nothing that is understood "
            f"here, and count for nothing: {shown}",
            "Use the newest release, or move them elsewhere.",
        )


def _held(fates: Fates) -> Iterator[DoctorFinding]:
    """One line for each case."""
    cases: dict[str, list[Place]] = defaultdict(list)
    for place, fate in sorted(fates.of.items()):
        for case in fate.cases:
            cases[case].append(place)
    for case in sorted({*cases, *fates.whole.cases}):
        held = cases[case]
        what = "the whole run" if case in fates.whole.cases else f"{len(held)} checkpoints"
        steps = ", ".join(f"{place.step} (attempt {place.attempt})" for place in held[:_MOST_SHOWN])
        more = ", …" if len(held) > _MOST_SHOWN else ""
        yield DoctorFinding(
            "note", "held", f"{fates.run}: {what} held for the case {case}" + (f": steps {steps}{more}" if held else "")
        )


def _missing(connection: Connection, executor: Executor, place: Place) -> list[str]:
    """Objects of a checkpoint that are not there; what can not be read is found by `verify`."""
    try:
        return catalog.missing_objects(connection.store, executor, place)[0]
    except _UNREADABLE:
        return []
