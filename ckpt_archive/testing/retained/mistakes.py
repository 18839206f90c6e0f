"""Mistakes that somebody could make in retention, each put into the running code for a while: histories must find them."""

# ruff: noqa: SLF001 - what is broken here is the inside of others

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ckpt_archive.commit import fate
from ckpt_archive.retention.by_hand import assigning, dropping, undropping
from ckpt_archive.retention.passes import carrying, tagging, taking_back
from ckpt_archive.retention.plans import plan, planning
from ckpt_archive.store.protocol import ObjectInfo
from ckpt_archive.testing.retained.drawing import draw
from ckpt_archive.testing.retained.life import live
from ckpt_archive.testing.retained.oracle import ViolationError
from ckpt_archive.testing.simulation.planted import Mistake, Replacement, planted


@dataclass(frozen=True, slots=True)
class Planted:
    """A mistake, and where it is found.

    Attributes:
        mistake: It.
        seed: Of a history that has found it: the search begins there.
    """

    mistake: Mistake
    seed: int = 0

    def __str__(self) -> str:
        return self.mistake.name


def find(item: Planted, most: int) -> tuple[int, str] | None:
    """The first history that finds a mistake, and what it says; None if none of so many does."""
    with planted(item.mistake):
        for seed in range(item.seed, item.seed + most):
            try:
                live(draw(seed))
            except ViolationError as error:
                return seed, str(error)
    return None


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda _: lambda *_, **__: value


def _newest_object(old: Any) -> Any:
    def ends_at(policy: Any, chosen: Any, objects: Iterable[ObjectInfo], now: Any, *rest: Any) -> Any:
        youngest = max(objects, key=lambda info: info.modified or now)
        return old(policy, chosen, [youngest], now, *rest)

    return ends_at


def _one_less(old: Any) -> Any:
    return lambda policy, run: old(replace(policy, keep_newest=policy.keep_newest - 1), run)


def _without_latest(old: Any) -> Any:
    return lambda policy, run: old(policy, replace(run, latest=None))


def _by_the_clients_clock(old: Any) -> Any:
    def survey_run(machine: Any, *rest: Any, **said: Any) -> Any:
        found = old(machine, *rest, **said)
        return replace(found, run=replace(found.run, now=machine.clock.now()))

    return survey_run


def _only_after(old: Any) -> Any:
    """Tags are removed after the statement alone: before it the changes come one by one."""
    return lambda self, changes: old(self, changes) if isinstance(changes, list) else None


def _if_it_was_said(old: Any) -> Any:
    return lambda self, fates: old(self, fates) if self.taken_back else None


def _mistake(name: str, *replaced: Replacement) -> Mistake:
    return Mistake(name, replaced)


_STRIP = _always(None)

MISTAKES = (
    Planted(
        _mistake(
            "tags without an announcement",
            (carrying._Carrying, "_announce", _always(None)),
            (tagging._Watch, "allows", _always(True)),
            (tagging._Watch, "is_fresh", _always(True)),
        )
    ),
    Planted(_mistake("counts from the youngest object", (plan, "ends_at", _newest_object)), seed=48),
    Planted(
        _mistake("tags what is overdue at once", (plan, "may_tag", _always(True)), (tagging, "may_tag", _always(True)))
    ),
    Planted(_mistake("keeps one newest checkpoint less", (plan, "spared", _one_less))),
    Planted(_mistake("forgets what a launch would go on from", (plan, "spared", _without_latest)), seed=24),
    Planted(_mistake("a hold does not wait for a pass", (fate.Fate, "passes_under_way", _always(()))), seed=35),
    Planted(
        _mistake("takes back and leaves the tags", (taking_back, "strip", _STRIP), (carrying, "strip", _STRIP)), seed=3
    ),
    Planted(_mistake("goes by the client's clock", (planning, "survey_run", _by_the_clients_clock)), seed=70),
    Planted(_mistake("readers do not look at ends", (fate.Fates, "is_over", _always(False)))),
    Planted(
        _mistake(
            "removes tags only after it has said so",
            (carrying._Carrying, "_strip", _only_after),
            (taking_back._TakingBack, "_strip", _if_it_was_said),
        ),
        seed=157,
    ),
    Planted(
        _mistake(
            "undrops and lets it end",
            (undropping, "take_back", _always(())),
            (assigning, "take_back", _always(())),
        ),
        seed=32,
    ),
    Planted(_mistake("drops the newest", (dropping, "_refuse", _always(None))), seed=18),
)
