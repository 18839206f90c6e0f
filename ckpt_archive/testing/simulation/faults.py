"""What may go wrong in a simulated world, and how often: values only.

A fault is chosen per adapter call from those that make sense there. Which kinds are on, and how likely, is drawn anew for
every life, because a life in which everything goes wrong at once never gets far ("swarm testing", Groce et al., 2012).
"""

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType


class Fault(enum.Enum):
    """One way in which an adapter call goes wrong."""

    UNAVAILABLE = "no answer, no effect"
    ANSWER_LOST = "took effect, answer lost"
    LATE = "no answer, takes effect later"
    THROTTLED = "asked for fewer requests once"
    STORM = "asks everybody for fewer requests for a while"
    OUTAGE = "answers nobody for a while"
    CUT_OFF = "answers this node no more for a while"
    DENIED = "refuses this node's credentials for a while"
    CUT_BODY = "the body breaks off"
    FLIP_SENT = "a bit of the body flips on the way out"
    FLIP_READ = "a bit of the body flips on the way in"
    ROT = "a stored bit flips for good"
    UPLOAD_GONE = "the multipart upload is no longer known"
    READ_ERROR = "EIO on reading"
    WRITE_ERROR = "EIO on writing"
    NO_ROOM = "ENOSPC, perhaps after a part was written"
    TOO_MANY_FILES = "EMFILE"
    SYNC_FAILED = "EIO from fsync; the content will never be durable"
    TRUNCATED = "what is stored loses its end for good"
    CONTENDED = "409: somebody else is at the same key"
    TAKEN = "took effect, and 412: answered as if somebody else had been first"
    REPLACED = "412: the same bytes were put again while they were read"


_ANSWERS = (Fault.UNAVAILABLE, Fault.THROTTLED, Fault.STORM, Fault.OUTAGE, Fault.CUT_OFF, Fault.DENIED)
_EFFECTS = (*_ANSWERS, Fault.ANSWER_LOST, Fault.LATE)
_NAMES = (Fault.WRITE_ERROR, Fault.NO_ROOM)

CANDIDATES: Mapping[str, tuple[Fault, ...]] = MappingProxyType(
    {
        "store.create": (*_EFFECTS, Fault.FLIP_SENT, Fault.CUT_BODY, Fault.CONTENDED, Fault.TAKEN),
        "store.read": (*_ANSWERS, Fault.CUT_BODY, Fault.FLIP_READ, Fault.ROT, Fault.TRUNCATED),
        "store.fetch": (*_ANSWERS, Fault.CUT_BODY, Fault.FLIP_READ, Fault.ROT, Fault.TRUNCATED, Fault.REPLACED),
        "store.head": _ANSWERS,
        "store.list": _ANSWERS,
        "store.delete": _EFFECTS,
        "store.start_upload": _EFFECTS,
        "store.upload_part": (*_EFFECTS, Fault.FLIP_SENT, Fault.CUT_BODY, Fault.UPLOAD_GONE),
        "store.complete_upload": (*_EFFECTS, Fault.UPLOAD_GONE, Fault.CONTENDED, Fault.TAKEN),
        "store.abort_upload": _EFFECTS,
        "store.list_uploads": _ANSWERS,
        "store.list_parts": (*_ANSWERS, Fault.UPLOAD_GONE),
        "disk.stat": (Fault.READ_ERROR,),
        "disk.list": (Fault.READ_ERROR, Fault.TOO_MANY_FILES),
        "disk.open": (Fault.READ_ERROR, Fault.TOO_MANY_FILES),
        "disk.read": (Fault.READ_ERROR, Fault.ROT, Fault.TRUNCATED),
        "disk.create": (*_NAMES, Fault.TOO_MANY_FILES),
        "disk.write": (Fault.WRITE_ERROR, Fault.NO_ROOM),
        "disk.reserve": (Fault.WRITE_ERROR, Fault.NO_ROOM),
        "disk.close": (Fault.WRITE_ERROR, Fault.NO_ROOM),
        "disk.sync": (Fault.SYNC_FAILED, Fault.NO_ROOM),
        "disk.make_directory": _NAMES,
        "disk.make_symlink": _NAMES,
        "disk.read_symlink": (Fault.READ_ERROR,),
        "disk.set_modified": (Fault.WRITE_ERROR,),
        "disk.sync_directory": (Fault.WRITE_ERROR, Fault.NO_ROOM, Fault.TOO_MANY_FILES),
        "disk.rename": _NAMES,
        "disk.replace": _NAMES,
        "disk.link": _NAMES,
        "disk.remove": _NAMES,
        "disk.remove_directory": _NAMES,
        "disk.lock": (Fault.TOO_MANY_FILES, Fault.NO_ROOM),
        "disk.space": (Fault.READ_ERROR,),
        "disk.mount_kind": (Fault.READ_ERROR, Fault.TOO_MANY_FILES),
    }
)
"""Every kind of adapter call, with what may go wrong there."""

EFFECTS = frozenset(
    kind
    for kind in CANDIDATES
    if kind
    not in (
        "store.read",
        "store.fetch",
        "store.head",
        "store.list",
        "store.list_uploads",
        "store.list_parts",
        "disk.stat",
        "disk.list",
        "disk.open",
        "disk.read",
        "disk.read_symlink",
        "disk.space",
        "disk.mount_kind",
    )
)
"""The kinds that change something outside the process."""


class When(enum.Enum):
    """On which side of an I/O a crash falls."""

    BEFORE = "not done"
    AFTER = "done, not answered"


class Crash(enum.Enum):
    """What a crash takes with it."""

    PROCESS = "the process"
    NODE = "all processes of the node, and what its disk had not made durable"


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A crash at exactly the `io`-th I/O of the world, counted from 1."""

    io: int
    when: When = When.BEFORE
    what: Crash = Crash.PROCESS


@dataclass(frozen=True, slots=True)
class Options:
    """How a world behaves. Chances are per I/O of a process.

    Attributes:
        switch_chance: That another process goes on first.
        kill_chance: That the process is killed.
        pause_chance: That the process stands still for up to two hours and then goes on as if nothing had been.
        power_loss_chance: That its node loses power.
        clock_jump_chance: That its node's clock is set anew, within `clock_skew_seconds`.
        store_fault_chance: That a call to the store goes wrong.
        disk_fault_chance: That a call to the disk goes wrong.
        faults: Those that may happen; `Fault` means all.
        spared: (kind, fault) pairs that do not happen all the same.
        checksums_enforced: Whether the store compares a body with its CRC32C.
        conditional_complete: Whether completing an upload over an existing key is refused.
        clock_skew_seconds: How far a node's clock may be from the store's, either way.
        crashes: Crashes at exact places, in the order of their I/O.
        most_troubles: How many of the things that chance sends do happen, the first ones; None: all.
        spared_troubles: Which of them do not, counted from 1: so a failing life is told with as little as it needs.
    """

    switch_chance: float = 0.2
    kill_chance: float = 0.0
    pause_chance: float = 0.0
    power_loss_chance: float = 0.0
    clock_jump_chance: float = 0.0
    store_fault_chance: float = 0.0
    disk_fault_chance: float = 0.0
    faults: frozenset[Fault] = frozenset(Fault)
    spared: frozenset[tuple[str, Fault]] = frozenset()
    checksums_enforced: bool = True
    conditional_complete: bool = True
    clock_skew_seconds: float = 0.0
    crashes: tuple[CrashPoint, ...] = ()
    most_troubles: int | None = None
    spared_troubles: frozenset[int] = frozenset()

    @classmethod
    def drawn(cls, seed: int, *, never: frozenset[Fault] = frozenset()) -> "Options":
        """Options for the life of `seed`; about one in five lives is calm in each respect.

        Args:
            seed: Of the life.
            never: Faults the code under test does not promise to survive.
        """
        chance = random.Random(f"options {seed}")

        def rate(*choices: float) -> float:
            return chance.choice((0.0, *choices))

        return cls(
            switch_chance=chance.choice((0.02, 0.1, 0.3, 0.6)),
            kill_chance=rate(0.001, 0.003, 0.01, 0.03),
            pause_chance=rate(0.001, 0.003, 0.01),
            power_loss_chance=rate(0.0003, 0.001, 0.003),
            clock_jump_chance=rate(0.001, 0.003),
            store_fault_chance=rate(0.005, 0.02, 0.05, 0.2),
            disk_fault_chance=rate(0.0005, 0.002, 0.01),
            faults=frozenset(fault for fault in Fault if chance.random() < 0.7 and fault not in never),
            checksums_enforced=chance.random() < 0.7,
            conditional_complete=chance.random() < 0.7,
            clock_skew_seconds=rate(0.5, 60.0, 7200.0),
        )

    def __str__(self) -> str:
        """Only what is not as usual, for the report of a failing seed."""
        usual = type(self)()
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == getattr(usual, field.name):
                continue
            if field.name == "faults":
                value = [fault.name for fault in Fault if fault in value]
            parts.append(f"{field.name}={value}")
        return f"Options({', '.join(parts)})"


@dataclass(slots=True)
class Injection:
    """A fault at exact places: the calls of `kind` after the first `skip`, `times` of them (None: all that follow)."""

    kind: str
    fault: Fault
    skip: int = 0
    times: int | None = 1

    def strikes(self) -> bool:
        """Whether this call is one of them; counts it."""
        if self.skip:
            self.skip -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0
