"""What becomes of a checkpoint's data, as readers must know it: its class, its holds, its end.

Every statement is a small write-once object whose *name* says it all, so that one listing of a run tells the fate of all its
checkpoints. What is said about an end begins with a generation: taking an end back closes a generation, and whatever is
still said in it, by whoever was slow, counts no more. So nothing depends on the order in which racing writers come, and all
doubt keeps data.

    0000-ends-20270203-daily.365d    will end at that midnight UTC, as that tag says: said before the first object is tagged
    0000-keeps-milestone.forever     gets that tag, which ends nothing
    0000-tagged-daily.365d           all its objects have that tag
    0000-revoked                     taken back: whatever generation 0 says is void
    0000-cleared                     after that: no object has the tag any more
    0000-ended                       its data is gone, for good
    class-0001-milestone             somebody gave it that class; the largest number counts; `class-0002-` takes it back
    case-ABC.1-0001-held             held for the case ABC.1; `case-ABC.1-0002-released` releases it

They lie in `runs/<run>/retention/<inverted attempt>/<inverted step>/`; what is said about a whole run lies in
`runs/<run>/retention/run/`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store

MARGIN = timedelta(hours=1)
"""So long before its end a checkpoint counts as ended: clocks differ."""

_TAG = "[A-Za-z0-9._-]{1,200}"
_END = re.compile(
    rf"(?P<generation>[0-9]{{4}})-(?:ends-(?P<day>[0-9]{{8}})-(?P<ends>{_TAG})|keeps-(?P<keeps>{_TAG})"
    rf"|tagged-(?P<tagged>{_TAG})|(?P<word>revoked|cleared|ended))\.json"
)
_CLASS = re.compile(r"class-(?P<number>[0-9]{4})-(?P<name>[a-z][a-z0-9-]{0,31}|)\.json")
_CASE = re.compile(r"case-(?P<case>[A-Za-z0-9._-]{1,64})-(?P<number>[0-9]{4})-(?P<word>held|released)\.json")


@dataclass(frozen=True, slots=True)
class Fate:
    """What was said about a checkpoint, or about a whole run.

    Attributes:
        generation: The one that counts now.
        ends_at: When its data ends; None: no end is announced. Of several the earliest.
        announced: The tags that were announced in this generation, sorted.
        tagged: The tag that all its objects are known to have; "" for none.
        clearing: The newest generation that was taken back and whose tags may still be there; None for none.
        has_ended: Whether its data is known to be gone.
        assigned: The class that somebody gave it; None for none.
        assigned_number: Of that statement; 0 for none.
        cases: The cases for which it is held, sorted.
        case_numbers: The largest number of each case, held or released.
        strange: Names that nobody of ours wrote, sorted.
    """

    generation: int = 0
    ends_at: datetime | None = None
    announced: tuple[str, ...] = ()
    tagged: str = ""
    clearing: int | None = None
    has_ended: bool = False
    assigned: str | None = None
    assigned_number: int = 0
    cases: tuple[str, ...] = ()
    case_numbers: Mapping[str, int] = field(default_factory=dict)
    strange: tuple[str, ...] = field(default=(), compare=False)

    def is_over(self, now: datetime) -> bool:
        """Whether its data is gone, or may be going."""
        return self.has_ended or (self.ends_at is not None and now >= self.ends_at - MARGIN)

    @property
    def is_open(self) -> bool:
        """Whether neither an end nor a tag is announced, and it has not ended."""
        return self.ends_at is None and not self.announced and not self.has_ended

    @property
    def class_name(self) -> str:
        """The class of the tag that it has, or will have; "" for none."""
        tag = self.tagged or (self.announced[0] if self.announced else "")
        return tag.partition(".")[0]


def fold(names: Iterable[str]) -> Fate:
    """The fate that the names of statements tell, in whatever order.

    Args:
        names: The last components of their keys.
    """
    ends: dict[int, list[re.Match[str]]] = {}
    classes: list[tuple[int, str]] = []
    cases: dict[str, dict[int, set[str]]] = {}
    strange: list[str] = []
    for name in names:
        if (found := _END.fullmatch(name)) and not (found["day"] and _day(found["day"]) is None):
            ends.setdefault(int(found["generation"]), []).append(found)
        elif found := _CLASS.fullmatch(name):
            classes.append((int(found["number"]), found["name"]))
        elif found := _CASE.fullmatch(name):
            cases.setdefault(found["case"], {}).setdefault(int(found["number"]), set()).add(found["word"])
        else:
            strange.append(name)
    words = {number: {item["word"] for item in items} for number, items in ends.items()}
    generation = max((number for number, said in words.items() if "revoked" in said), default=-1) + 1
    current = ends.get(generation, [])
    days = [day for item in current if item["day"] and (day := _day(item["day"])) is not None]
    newest = {case: max(numbers) for case, numbers in cases.items()}
    number, assigned = max(classes, default=(0, ""))
    return Fate(
        generation=generation,
        ends_at=min(days, default=None),
        announced=tuple(sorted({item["ends"] or item["keeps"] for item in current if item["ends"] or item["keeps"]})),
        tagged=max((item["tagged"] for item in current if item["tagged"]), default=""),
        clearing=max((old for old, said in words.items() if old < generation and "cleared" not in said), default=None),
        has_ended=any("ended" in said for said in words.values()),
        assigned=assigned or None,
        assigned_number=number,
        # Who holds and who releases at once: it stays held.
        cases=tuple(sorted(case for case, last in newest.items() if "held" in cases[case][last])),
        case_numbers=newest,
        strange=tuple(sorted(strange)),
    )


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:  # a thirteenth month
        return None


@dataclass(frozen=True, slots=True)
class Fates:
    """What was said about the checkpoints of a run.

    Attributes:
        run: The run.
        of: By checkpoint; only those about which something was said.
        whole: What was said about the run as a whole: its holds.
        store_time: The store's clock when it was asked.
    """

    run: str
    of: Mapping[Place, Fate]
    whole: Fate
    store_time: datetime

    def fate(self, place: Place) -> Fate:
        """Of a checkpoint of this run."""
        return self.of.get(place, NOTHING_SAID)

    def cases(self, place: Place) -> tuple[str, ...]:
        """The cases for which a checkpoint is held, itself or with its run."""
        return tuple(sorted({*self.whole.cases, *self.fate(place).cases}))


NOTHING_SAID = Fate()


def read_fates(store: Store, run: str) -> Fates:
    """What was said about a run's checkpoints: one listing per thousand statements."""
    raise NotImplementedError


def read_fate(store: Store, place: Place) -> tuple[Fate, datetime]:
    """The fate of one checkpoint, and the store's clock: one listing."""
    raise NotImplementedError
