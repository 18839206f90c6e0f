"""Histories: lists of values, so that they can be told, shortened and lived through again."""

from dataclasses import dataclass
from datetime import timedelta

from ckpt_archive.testing.retained.world import Strike

RUNS = ("run-a", "run-b")
CASES = ("case-1", "case-2")
ASSIGNED = ("short", "hourly", "long", "keeper")


@dataclass(frozen=True, slots=True)
class Commit:
    """A checkpoint is written and committed.

    Attributes:
        run: Which of `RUNS`.
        writers: By how many.
        spread_hours: So long after the first writer the last one writes.
        milestone: Its name, or "".
        said: The class it is saved as, or "".
        late: Whether it belongs to the launch before the newest one.
    """

    run: int
    writers: int = 1
    spread_hours: int = 0
    milestone: str = ""
    said: str = ""
    late: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """A run is started again; with `back` from so manieth newest checkpoint instead of the latest."""

    run: int
    back: int | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """A policy is put into force."""

    policy: "PolicyText"


@dataclass(frozen=True, slots=True)
class Maintain:
    """What the policy in force says is carried out."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A checkpoint, or with `which` None a run, is held."""

    run: int
    which: int | None
    case: int


@dataclass(frozen=True, slots=True)
class Release:
    """It is released."""

    run: int
    which: int | None
    case: int


@dataclass(frozen=True, slots=True)
class Drop:
    """A checkpoint, or with `which` None the whole run, is dropped."""

    run: int
    which: int | None


@dataclass(frozen=True, slots=True)
class Undrop:
    """It is wanted after all."""

    run: int
    which: int | None


@dataclass(frozen=True, slots=True)
class Assign:
    """A checkpoint is given a class."""

    run: int
    which: int
    name: str


@dataclass(frozen=True, slots=True)
class Work:
    """The lifecycle engine works beside others, and does so many things."""

    acts: int


Deed = Work | Commit | Launch | Apply | Maintain | Hold | Release | Drop | Undrop | Assign


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who does something.

    Attributes:
        deed: What.
        strikes: What befalls him.
        clock_hours: By how much his clock is wrong.
        waits: He begins when others have had so many turns.
    """

    deed: Deed
    strikes: tuple[Strike, ...] = ()
    clock_hours: int = 0
    waits: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """What happens at once."""

    actors: tuple[Actor, ...]


@dataclass(frozen=True, slots=True)
class Pass:
    """Time passes."""

    hours: float


@dataclass(frozen=True, slots=True)
class ToEnd:
    """Time passes until shortly before or after the next end that was announced."""

    minutes: int


@dataclass(frozen=True, slots=True)
class Engine:
    """The lifecycle engine works, and gets to this share of what is due."""

    share: float


Step = Scene | Pass | ToEnd | Engine


@dataclass(frozen=True, slots=True)
class PolicyText:
    """A policy, as its file has it.

    Attributes:
        keep_newest: So many newest checkpoints are kept.
        notice: Days of notice.
        recent: Days of the default class; None: it has none.
        hourly: Days of each second checkpoint.
        long: Days of what is assigned to the class "long".
        moves: Whether "hourly" and "long" move to a colder class first.
        locks: Days for which "hourly" is locked; 0 for none.
    """

    keep_newest: int = 2
    notice: int = 2
    recent: int | None = 3
    hourly: int = 9
    long: int = 20
    moves: bool = False
    locks: int = 0

    def text(self) -> str:
        """As TOML."""
        default = "" if self.recent is None else f'[classes.recent]\nkeep_for = "{self.recent}d"\n'
        moves = 'transitions = [{ after = "1d", to = "INTELLIGENT_TIERING" }]\n' if self.moves else ""
        lock = f'lock = {{ mode = "GOVERNANCE", for = "{self.locks}d" }}\n' if self.locks else ""
        return (
            "version = 1\n"
            + ('default = "recent"\n' if default else "")
            + f'keep_newest = {self.keep_newest}\nnotice = "{self.notice}d"\n'
            + default
            + f'[classes.hourly]\nevery = 2\nkeep_for = "{self.hourly}d"\n{moves}{lock}'
            + '[classes.short]\nkeep_for = "1d"\nexplicit = true\n'
            + f'[classes.long]\nkeep_for = "{self.long}d"\nexplicit = true\n{moves}'
            + '[classes.keeper]\nmilestone = true\nkeep_for = "forever"\n'
        )


@dataclass(frozen=True, slots=True)
class History:
    """All of it.

    Attributes:
        seed: Of all that is not spelled out.
        versioned: Whether the bucket keeps old versions.
        object_lock: Whether it locks.
        transitions: Whether it moves objects.
        insists: Whether the store is asked again.
        steps: What happens.
    """

    seed: int
    versioned: bool
    object_lock: bool
    transitions: bool
    insists: bool
    steps: tuple[Step, ...]

    def spelled(self) -> str:
        """For people."""
        first = (
            f"history {self.seed}: versioned={self.versioned} lock={self.object_lock} transitions={self.transitions} "
            f"insists={self.insists}"
        )
        return "\n".join([first, *(f"  {number:3d} {step}" for number, step in enumerate(self.steps))])


def alone(deed: Deed, *strikes: Strike) -> Scene:
    """Somebody does something, and nobody else does anything."""
    return Scene((Actor(deed, strikes),))


def hours(count: float) -> timedelta:
    """So many hours."""
    return timedelta(hours=count)
