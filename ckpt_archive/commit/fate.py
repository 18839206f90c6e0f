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

They lie in `runs/<run>/retention/<inverted attempt>/<inverted step>/`. What is said about a whole run lies in
`runs/<run>/retention/run/`: cases for which it is held, and who tags at the moment:

    pass-00000000001796083200-9f…-begun     somebody has begun, at that second since 1970, to tag checkpoints of this run
    pass-00000000001796083200-9f…-ended     and is done
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from ckpt_archive.commit import layout
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Store, list_pages

MARGIN = timedelta(hours=1)
"""So long before its end a checkpoint counts as ended: clocks differ."""

PASS_LASTS = timedelta(hours=1)
"""A pass that has not ended after so long has died."""

LAST_GENERATION = 9999

FIRST_YEAR, LAST_YEAR = 1970, 9990
"""Of the days that can be an end."""

_FEW = 3
"""So many checkpoints are asked for one by one."""

_TAG = re.compile("[A-Za-z0-9._-]{1,200}")
_CLASS_NAME = re.compile("[a-z][a-z0-9-]{0,31}")
_CASE_ID = re.compile("[A-Za-z0-9._-]{1,64}")
_PASS_ID = re.compile("[0-9a-f]{1,64}")
_END = re.compile(
    rf"(?P<generation>[0-9]{{4}})-(?:ends-(?P<day>[0-9]{{8}})-(?P<ends>{_TAG.pattern})|keeps-(?P<keeps>{_TAG.pattern})"
    rf"|tagged-(?P<tagged>{_TAG.pattern})|(?P<word>revoked|cleared|ended))\.json"
)
_CLASS = re.compile(rf"class-(?P<number>[0-9]{{4}})-(?P<name>{_CLASS_NAME.pattern}|)\.json")
_CASE = re.compile(rf"case-(?P<case>{_CASE_ID.pattern})-(?P<number>[0-9]{{4}})-(?P<word>held|released)\.json")
_PASS = re.compile(rf"pass-(?P<seconds>[0-9]{{20}})-(?P<id>{_PASS_ID.pattern})-(?P<word>begun|ended)\.json")


@dataclass(frozen=True, slots=True, order=True)
class Pass:
    """Somebody who tags checkpoints of a run.

    Attributes:
        begun_at: When, to the second, by the store's clock.
        pass_id: Hexadecimal digits of its own.
    """

    begun_at: datetime
    pass_id: str


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
        passes: Who has begun to tag and is not known to have ended, oldest first; only a run has these.
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
    passes: tuple[Pass, ...] = ()
    strange: tuple[str, ...] = field(default=(), compare=False)

    def is_over(self, now: datetime) -> bool:
        """Whether its data is gone, or may be going."""
        return self.has_ended or (self.ends_at is not None and now >= self.ends_at - MARGIN)

    @property
    def is_open(self) -> bool:
        """Whether neither an end nor a tag is announced, and it has not ended."""
        return self.ends_at is None and not self.announced and not self.has_ended

    def passes_under_way(self, now: datetime) -> tuple[Pass, ...]:
        """Who may be tagging now: what was begun longer ago has died."""
        return tuple(item for item in self.passes if now - item.begun_at <= PASS_LASTS)

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
    passes: dict[Pass, set[str]] = {}
    strange: list[str] = []
    for name in names:
        if (found := _END.fullmatch(name)) and not (found["day"] and _day(found["day"]) is None):
            ends.setdefault(int(found["generation"]), []).append(found)
        elif found := _CLASS.fullmatch(name):
            classes.append((int(found["number"]), found["name"]))
        elif found := _CASE.fullmatch(name):
            cases.setdefault(found["case"], {}).setdefault(int(found["number"]), set()).add(found["word"])
        elif (found := _PASS.fullmatch(name)) and (begun_at := _second(found["seconds"])) is not None:
            passes.setdefault(Pass(begun_at, found["id"]), set()).add(found["word"])
        else:
            strange.append(name)
    words = {number: {item["word"] for item in items} for number, items in ends.items()}
    generation = _generation(words)
    current = ends.get(generation, [])
    days = [day for item in current if item["day"] and (day := _day(item["day"])) is not None]
    newest = {case: max(numbers) for case, numbers in cases.items()}
    number, assigned = max(classes, default=(0, ""))
    return Fate(
        generation=generation,
        ends_at=min(days, default=None),
        announced=tuple(sorted({item["ends"] or item["keeps"] for item in current if item["ends"] or item["keeps"]})),
        tagged=max((item["tagged"] for item in current if item["tagged"]), default=""),
        clearing=_clearing(words, generation),
        has_ended=any("ended" in said for said in words.values()),
        assigned=assigned or None,
        assigned_number=number,
        # Who holds and who releases at once: it stays held.
        cases=tuple(sorted(case for case, last in newest.items() if "held" in cases[case][last])),
        case_numbers=newest,
        passes=tuple(sorted(item for item, said in passes.items() if "ended" not in said)),
        strange=tuple(sorted(strange)),
    )


def _generation(words: Mapping[int, set[str]]) -> int:
    """The one that counts.

    Whoever says something in a generation has seen that the one before was taken back. So a listing that was made while
    both were written, and has only the later one, tells the same as one that has both.
    """
    taken_back = [number + 1 for number, said in words.items() if said & {"revoked", "cleared"}]
    return max([*taken_back, *words], default=0)


def _clearing(words: Mapping[int, set[str]], generation: int) -> int | None:
    """The newest generation before this one, unless all tags are known to have been removed after it was taken back."""
    closed = max((number for number in words if number < generation), default=None)
    cleared = max((number for number, said in words.items() if "cleared" in said), default=-1)
    return closed if closed is not None and closed > cleared else None


def _day(text: str) -> datetime | None:
    try:
        day = datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:  # a thirteenth month
        return None
    # Nobody of ours says anything else, and with these one can reckon on without falling off the calendar.
    return day if FIRST_YEAR <= day.year <= LAST_YEAR else None


def _second(text: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):  # after the year 9999
        return None


@dataclass(frozen=True, slots=True)
class Fates:
    """What was said about the checkpoints of a run.

    Attributes:
        run: The run.
        of: By checkpoint; only those about which something was said.
        whole: What was said about the run as a whole: its holds, and who tags.
        store_time: The store's clock when it was asked.
        strange: Keys among the statements that are none, sorted; what only has a strange name is in the fate.
    """

    run: str
    of: Mapping[Place, Fate]
    whole: Fate
    store_time: datetime
    strange: tuple[str, ...] = ()

    def fate(self, place: Place) -> Fate:
        """Of a checkpoint of this run."""
        return self.of.get(place, NOTHING_SAID)

    def cases(self, place: Place) -> tuple[str, ...]:
        """The cases for which a checkpoint is held, itself or with its run."""
        return tuple(sorted({*self.whole.cases, *self.fate(place).cases}))

    def is_over(self, place: Place) -> bool:
        """Whether a checkpoint's data is gone, or may be going."""
        return self.fate(place).is_over(self.store_time)


NOTHING_SAID = Fate()


def read_fates(store: Store, run: str) -> Fates:
    """What was said about a run's checkpoints: one listing per thousand statements."""
    about: dict[Place, list[str]] = {}
    whole: list[str] = []
    strange: list[str] = []
    now: datetime | None = None
    for page in list_pages(store, layout.retention_folder(run)):
        # Of the first page: what is said later is not known yet.
        now = now or page.store_time
        for info in page.objects:
            found = layout.statement_key(info.key)
            if found is None:
                strange.append(info.key)
            elif found.attempt is None or found.step is None:
                whole.append(found.name)
            else:
                about.setdefault(Place(run, found.attempt, found.step), []).append(found.name)
    assert now is not None  # a listing has a page
    fates = {place: fold(names) for place, names in about.items()}
    return Fates(run, fates, _of_run(whole), now, tuple(sorted(strange)))


def read_fates_of(store: Store, run: str, places: Sequence[Place]) -> Fates:
    """What was said about some checkpoints of a run, and about the run: as few listings as that takes."""
    if len(places) > _FEW:
        return read_fates(store, run)
    whole, now = read_run_fate(store, run)
    return Fates(run, {place: read_fate(store, place)[0] for place in places}, whole, now)


def read_fate(store: Store, place: Place) -> tuple[Fate, datetime]:
    """The fate of one checkpoint, without what was said about its run, and the store's clock: one listing."""
    names, now = _read(store, layout.checkpoint_statements(place.run, place.attempt, place.step))
    return fold(names), now


def read_run_fate(store: Store, run: str) -> tuple[Fate, datetime]:
    """What was said about a run as a whole, and the store's clock: one listing."""
    names, now = _read(store, layout.run_statements(run))
    return _of_run(names), now


def _of_run(names: list[str]) -> Fate:
    """A run as a whole can be held, and its checkpoints can be tagged; it has no end and no class."""
    ours = [name for name in names if _CASE.fullmatch(name) or _PASS.fullmatch(name)]
    said = fold(ours)
    return replace(said, strange=tuple(sorted({*names}.difference(ours).union(said.strange))))


def _read(store: Store, folder: str) -> tuple[list[str], datetime]:
    names: list[str] = []
    now: datetime | None = None
    for page in list_pages(store, folder):
        now = now or page.store_time
        names += [info.key.removeprefix(folder) for info in page.objects]
    assert now is not None  # a listing has a page
    return names, now


def end_name(generation: int, ends_at: datetime | None, tag: str) -> str:
    """The name of the statement that announces an end, or with None a tag that ends nothing.

    Raises:
        InvalidInputError: If it could not be read back.
    """
    if ends_at is None:
        return f"{_checked_generation(generation)}-keeps-{_checked(_TAG, tag, 'tag')}"
    utc = ends_at.astimezone(UTC)
    if (utc.hour, utc.minute, utc.second, utc.microsecond) != (0, 0, 0, 0):
        raise InvalidInputError(f"the end {ends_at} is no midnight UTC", hint="Data ends at midnight UTC.")
    return f"{_checked_generation(generation)}-ends-{utc:%Y%m%d}-{_checked(_TAG, tag, 'tag')}"


def tagged_name(generation: int, tag: str) -> str:
    """The name of the statement that all objects have this tag. Raises `InvalidInputError`."""
    return f"{_checked_generation(generation)}-tagged-{_checked(_TAG, tag, 'tag')}"


def word_name(generation: int, word: str) -> str:
    """The name of the statement "revoked", "cleared" or "ended". Raises `InvalidInputError`."""
    return f"{_checked_generation(generation)}-{word}"


def class_statement_name(number: int, name: str) -> str:
    """The name of the statement that gives a class; "" takes it back. Raises `InvalidInputError`."""
    return f"class-{_checked_number(number, 'class')}-{_checked(_CLASS_NAME, name, 'class') if name else ''}"


def case_name(case: str, number: int, *, held: bool) -> str:
    """The name of the statement that holds for a case, or releases. Raises `InvalidInputError`."""
    return f"case-{check_case(case)}-{_checked_number(number, 'case')}-{'held' if held else 'released'}"


def pass_name(item: Pass, *, ended: bool) -> str:
    """The name of the statement that a pass has begun, or has ended. Raises `InvalidInputError`."""
    _checked(_PASS_ID, item.pass_id, "pass")
    return f"pass-{int(item.begun_at.timestamp()):020d}-{item.pass_id}-{'ended' if ended else 'begun'}"


def check_case(case: str) -> str:
    """Return `case` if it may name a case, else raise `InvalidInputError`."""
    return _checked(_CASE_ID, case, "case")


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text):
        return text
    raise InvalidInputError(f"the {what} {text!r} is not allowed", hint=f"It must match {pattern.pattern}.")


def _checked_generation(generation: int) -> str:
    if 0 <= generation <= LAST_GENERATION:
        return f"{generation:04d}"
    raise InvalidInputError(
        f"the end of a checkpoint can not be announced for the {generation + 1}th time",
        hint="It is kept as it is: nothing more is said about its end.",
    )


def _checked_number(number: int, what: str) -> str:
    if 1 <= number <= LAST_GENERATION:
        return f"{number:04d}"
    raise InvalidInputError(
        f"the {what} can not be changed for the {number}th time", hint="Use another case, or leave it as it is."
    )
