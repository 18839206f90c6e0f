"""Lets every call of an operation go wrong in every way it can, once and for good, and proves each time that all ends well.

An operation is run once as it is, to learn its calls. Then, for the n-th call of each kind, for each fault that such a call
knows, it is run again with that fault there: once, or at every such call from there on. What came of it is its outcome, and
none of them may be an exception that is not ours, wrong data, something partial under a final name, something acknowledged
that is gone, or no end. When nothing goes wrong any more it is done again and must do, and the agents must come to an end
with everything archived and nothing left behind.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ckpt_archive.errors import CkptArchiveError, ConflictError, IntegrityError, InvalidInputError
from ckpt_archive.testing.simulation.faults import CANDIDATES, Fault, Options
from ckpt_archive.testing.simulation.memo import remembering
from ckpt_archive.testing.simulation.operations import DONE, OPERATIONS, Operation
from ckpt_archive.testing.simulation.scene import Scene
from ckpt_archive.testing.simulation.world import World

_SEED = 1
_MOST_IOS = 20_000
_LONGEST_SECONDS = 300.0
"""More than an operation may take: a call is given up after two minutes, and what is to be tidied then may be too."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something goes wrong.

    Attributes:
        operation: In what.
        kind: At a call of which kind.
        fault: How.
        skip: After how many such calls.
        lasts: Whether all that follow go wrong too.
    """

    operation: str
    kind: str
    fault: Fault
    skip: int
    lasts: bool

    def __str__(self) -> str:
        how = "from there on" if self.lasts else "once"
        return f"{self.operation}: {self.kind} #{self.skip + 1}, {self.fault.name} {how}"


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was broken, where, and how it came to that."""

    place: Place
    what: str
    story: str


@dataclass(slots=True)
class Sweep:
    """What came of many places.

    Attributes:
        outcomes: How many places came to what, by (operation, fault, whether it lasted, kind of call).
        broken: Promises that were broken.
        runs: How many runs that were.
        ios: Of all of them.
        longest_seconds: The most that one operation took, in simulated time.
    """

    outcomes: dict[tuple[str, Fault, bool, str], Counter[str]] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    runs: int = 0
    ios: int = 0
    longest_seconds: float = 0.0

    def cell(self, operation: str, fault: Fault, *, lasts: bool, side: str) -> Counter[str]:
        """What came of one fault in one operation, whichever call it hit of those whose kind begins with `side`."""
        found: Counter[str] = Counter()
        for (name, kind_of_fault, lasted, kind), outcomes in self.outcomes.items():
            if (name, kind_of_fault, lasted) == (operation, fault, lasts) and kind.startswith(side):
                found += outcomes
        return found

    def try_at(self, operation: Operation, place: Place) -> None:
        """Run an operation with one fault, and count what came of it."""
        try:
            outcome, world, seconds = _run(operation, place)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the sweep goes on
            self.broken.append(Broken(place, f"{type(error).__name__}: {error}", _story(operation, place)))
            self.runs += 1
            return
        key = (place.operation, place.fault, place.lasts, place.kind)
        self.outcomes.setdefault(key, Counter())[outcome] += 1
        self.runs += 1
        self.ios += world.ios
        self.longest_seconds = max(self.longest_seconds, seconds)


def places_of(operation: Operation) -> list[Place]:
    """All places in an operation, found by running it once with nothing going wrong."""
    calls = _calls(operation)
    return [
        Place(operation.name, kind, fault, skip, lasts)
        for kind in CANDIDATES
        for fault in CANDIDATES[kind]
        for skip in range(calls[kind])
        for lasts in (False, True)
    ]


def some_of(places: Iterable[Place], most: int) -> Iterator[Place]:
    """At most about so many places of each kind of call and fault, the first and the last among them."""
    groups: dict[tuple[str, Fault, bool], list[Place]] = {}
    for place in places:
        groups.setdefault((place.kind, place.fault, place.lasts), []).append(place)
    for group in groups.values():
        last = len(group) - 1
        yield from (group[number] for number in sorted({round(last * n / max(1, most - 1)) for n in range(most)}))


def sweep(operations: Iterable[Operation] = OPERATIONS, *, most: int | None = None) -> Sweep:
    """Let everything go wrong.

    Args:
        operations: In what.
        most: How many calls of each kind; all by default.
    """
    found = Sweep()
    with remembering():
        for operation in operations:
            places = places_of(operation)
            for place in places if most is None else some_of(places, most):
                found.try_at(operation, place)
    return found


def _calls(operation: Operation) -> Counter[str]:
    outcome, world, _ = _run(operation, None, trace=True)
    assert outcome == DONE, f"{operation.name} comes to {outcome!r} although nothing goes wrong"
    assert world.trace is not None
    begun = next(number for number, step in enumerate(world.trace) if step.kind.strip() == "acts")
    ended = next(number for number, step in enumerate(world.trace) if step.kind.strip() == "has acted")
    return Counter(step.kind for step in world.trace[begun:ended] if step.kind in CANDIDATES)


def _story(operation: Operation, place: Place) -> str:
    """How it came to what was broken there."""
    try:
        _run(operation, place, trace=True)
    except Exception as error:  # noqa: BLE001 - that is what is to be told
        return "\n".join(getattr(error, "__notes__", ()))
    return "it was not broken again: something in this is not determined by its seed"


def _run(operation: Operation, place: Place | None, *, trace: bool = False) -> tuple[str, World, float]:
    """What came of it, the world when it was over, and how many seconds the operation took."""
    options = Options(
        switch_chance=0.0, checksums_enforced=operation.is_checked, conditional_complete=operation.is_checked
    )
    with World(_SEED, options, trace=trace, max_ios=_MOST_IOS) as world:
        scene = Scene(world)
        operation.prepare(scene)
        outcome = _act(operation, scene, place)
        assert scene.acted is not None
        assert scene.acted[1] < _LONGEST_SECONDS, f"it took {scene.acted[1]:.0f} s"
        scene.check_nothing_partial()
        scene.calm_down()
        scene.play("again", scene.nodes[operation.at], lambda: _again(operation, scene))
        scene.check()
    return outcome, world, scene.acted[1]


def _act(operation: Operation, scene: Scene, place: Place | None) -> str:
    outcome: list[str] = []
    hintless: list[CkptArchiveError] = []

    def act() -> None:
        scene.begin_act()
        if place is not None:
            scene.world.inject(place.kind, place.fault, skip=place.skip, times=None if place.lasts else 1)
        try:
            outcome.append(operation.act(scene))
        except CkptArchiveError as error:
            outcome.append(type(error).__name__.removesuffix("Error"))
            hintless.extend([] if error.hint else [error])
        scene.end_act()

    scene.play("act", scene.nodes[operation.at], act)
    assert not hintless, f"nobody is told what to do about: {hintless[0]}"
    return outcome[0]


def _again(operation: Operation, scene: Scene) -> None:
    try:
        operation.again(scene)
    except (IntegrityError, ConflictError, InvalidInputError):
        # What is damaged for good can not do, and must say so: that it is damaged, or not what stands there already.
        if not scene.is_damaged():
            raise
