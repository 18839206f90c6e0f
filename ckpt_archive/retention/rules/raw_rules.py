"""Lifecycle rules as servers spell them: what they are about, what they do, and whether one is about more than another.

Servers give back the same rule in other words: a prefix in or beside the filter, a conjunction of one tag as that tag, a
conjunction of a prefix alone as a prefix, transitions in another order, fields that are empty. And some forget conditions
they do not know, which makes a rule delete what it was not about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.store.bucket import RawRule
from ckpt_archive.strictjson import Json


@dataclass(frozen=True, slots=True)
class Conditions:
    """Which objects a rule is about.

    Attributes:
        prefix: What their keys begin with.
        tags: What they must have.
        above_bytes: They must be larger; -1: no condition.
        below_bytes: They must be smaller; None: no condition.
        newer_versions: So many newer noncurrent versions are spared; 0: none.
    """

    prefix: str
    tags: frozenset[tuple[str, str]]
    above_bytes: int = -1
    below_bytes: int | None = None
    newer_versions: int = 0

    @property
    def has_limits(self) -> bool:
        """Whether there are conditions on sizes or numbers of versions."""
        return self.above_bytes >= 0 or self.below_bytes is not None or self.newer_versions > 0

    def covers(self, other: "Conditions") -> bool:
        """Whether all that `other` is about, this is about too."""
        return (
            other.prefix.startswith(self.prefix)
            and self.tags <= other.tags
            and self.above_bytes <= other.above_bytes
            and (self.below_bytes is None or (other.below_bytes is not None and self.below_bytes >= other.below_bytes))
            and self.newer_versions <= other.newer_versions
        )


@dataclass(frozen=True, slots=True)
class Days:
    """What a rule does, and when; None: never.

    Attributes:
        expire: Age at which objects end.
        noncurrent: Old versions end so long after.
        abort: Uploads are removed so long after their begin.
        clears_markers: Whether marks of deletion that hide nothing are removed.
        transitions: Age and storage class, in the order of the server.
    """

    expire: int | None
    noncurrent: int | None
    abort: int | None
    clears_markers: bool
    transitions: tuple[tuple[int, str], ...]


_MEMBERS: Mapping[str, frozenset[str]] = {
    "Expiration": frozenset({"Days", "ExpiredObjectDeleteMarker"}),
    "NoncurrentVersionExpiration": frozenset({"NoncurrentDays"}),
    "AbortIncompleteMultipartUpload": frozenset({"DaysAfterInitiation"}),
}
_KNOWN = frozenset({"ID", "Status", "Prefix", "Filter", "Transitions", *_MEMBERS})


def known_members(raw: RawRule) -> bool:
    """Whether a rule has no member that rules of ours do not have; empty ones do not count."""
    return all(
        not value
        or (name in _KNOWN and (name not in _MEMBERS or (isinstance(value, Mapping) and _set(value) <= _MEMBERS[name])))
        for name, value in raw.items()
    )


def conditions(raw: RawRule) -> Conditions | None:
    """Which objects a rule is about; None if it says what nobody here understands."""
    given = raw.get("Filter") or {}
    both = given.get("And") or {} if isinstance(given, Mapping) else None
    old = raw.get("NoncurrentVersionExpiration") or {}
    if not isinstance(given, Mapping) or not isinstance(both, Mapping) or not isinstance(old, Mapping):
        return None
    if _set(given) - {"Prefix", "Tag", "And", "ObjectSizeGreaterThan", "ObjectSizeLessThan"}:
        return None
    if _set(both) - {"Prefix", "Tags", "ObjectSizeGreaterThan", "ObjectSizeLessThan"}:
        return None
    tags = [*([given["Tag"]] if given.get("Tag") else []), *(both.get("Tags") or [])]
    prefixes = [text for text in (raw.get("Prefix"), given.get("Prefix"), both.get("Prefix")) if text]
    above = [size for part in (given, both) if (size := part.get("ObjectSizeGreaterThan")) is not None]
    below = [size for part in (given, both) if (size := part.get("ObjectSizeLessThan")) is not None]
    try:
        return Conditions(
            # Servers that give two prefixes mean the same one twice; the longest is the narrowest.
            prefix=max(map(str, prefixes), key=len, default=""),
            tags=frozenset((str(tag["Key"]), str(tag["Value"])) for tag in tags),
            above_bytes=max(map(int, above), default=-1),
            below_bytes=min(map(int, below), default=None),
            newer_versions=int(old.get("NewerNoncurrentVersions") or 0),
        )
    except (KeyError, TypeError, ValueError):
        return None


def days_of(raw: RawRule) -> Days | None:
    """What a rule does; None if it says what nobody here understands."""
    expiration = raw.get("Expiration") or {}
    old = raw.get("NoncurrentVersionExpiration") or {}
    uploads = raw.get("AbortIncompleteMultipartUpload") or {}
    moves = raw.get("Transitions") or []
    if not all(isinstance(part, Mapping) for part in (expiration, old, uploads)) or not isinstance(moves, Sequence):
        return None
    try:
        return Days(
            expire=_number(expiration.get("Days")),
            noncurrent=_number(old.get("NoncurrentDays")),
            abort=_number(uploads.get("DaysAfterInitiation")),
            clears_markers=bool(expiration.get("ExpiredObjectDeleteMarker")),
            transitions=tuple((int(move["Days"]), str(move["StorageClass"])) for move in moves),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def is_broader(found: RawRule, wanted: RawRule) -> bool:
    """Whether a rule ends, moves or removes anything that the wanted one spares, or does so sooner.

    What nobody understands counts as broader: doubt keeps data.
    """
    if found.get("Status") == "Disabled":
        return False
    asked, meant = conditions(found), conditions(wanted)
    does, should = days_of(found), days_of(wanted)
    if asked is None or meant is None or does is None or should is None:
        return True
    # A condition that another rule did not have narrows it, so that less may vanish.
    if not meant.covers(asked):
        return True
    sooner = any(
        _sooner(actual, intended)
        for actual, intended in (
            (does.expire, should.expire),
            (does.noncurrent, should.noncurrent),
            (does.abort, should.abort),
        )
    )
    return sooner or _moves_sooner(does.transitions, should.transitions) or _adds_actions(found, wanted)


def endangers(raw: RawRule, prefix: str) -> bool:
    """Whether a foreign rule may end data of the archive of that prefix, whatever the policy says."""
    if raw.get("Status") == "Disabled":
        return False
    ends = raw.get("Expiration") or {}
    if not (isinstance(ends, Mapping) and _set(ends) - {"ExpiredObjectDeleteMarker"}):
        return False
    asked = conditions(raw)
    return asked is None or asked.prefix.startswith(prefix) or prefix.startswith(asked.prefix)


def lost_on_the_way(written: Sequence[RawRule], found: Sequence[RawRule]) -> tuple[str, ...]:
    """What a server made of rules that it took, in sentences; () if they are the same.

    Args:
        written: What it was given, foreign ones too.
        found: What it says now.
    """
    problems: list[str] = []
    left = list(found)
    spelled = [canonical(rule) for rule in found]
    for rule in written:
        name = _name(rule)
        meant = canonical(rule)
        if meant in spelled:
            at = spelled.index(meant)
            del left[at], spelled[at]
            continue
        at = next((at for at, other in enumerate(left) if rule.get("ID") and other.get("ID") == rule["ID"]), -1)
        if at < 0:
            problems.append(f"the rule {name} is not there")
            continue
        other = left[at]
        del left[at], spelled[at]
        kind = "became broader" if is_broader(other, rule) else "came back changed"
        problems.append(f"the rule {name} {kind}: {_what_differs(rule, other)}")
    problems += [f"the rule {_name(rule)} is there and was not written" for rule in left]
    return tuple(problems)


def canonical(raw: RawRule) -> Json:
    """A rule in one spelling: equal for rules that mean the same."""
    asked = conditions(raw)
    rest = {name: _plain(value) for name, value in raw.items() if name not in ("Prefix", "Filter") and value}
    for name in ("Transitions", "NoncurrentVersionTransitions"):
        moves = rest.get(name)
        if isinstance(moves, list):
            rest[name] = sorted(moves, key=repr)
    if asked is None:
        return rest | {"Filter": _plain(raw.get("Filter")), "Prefix": raw.get("Prefix")}
    narrows = [asked.prefix, sorted(asked.tags), asked.above_bytes, asked.below_bytes]
    return rest | {"Filter": narrows}


def _what_differs(written: RawRule, found: RawRule) -> str:
    before, after = canonical(written), canonical(found)
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return ", ".join(names)


def _name(raw: RawRule) -> str:
    return repr(raw.get("ID") or "without an id")


def _plain(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {
            name: _plain(item) for name, item in value.items() if item is not None and item != {} and item is not False
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _set(members: Mapping[str, Json]) -> set[str]:
    """The names of members that say anything."""
    return {name for name, value in members.items() if value is not None and value is not False and value != {}}


def _number(value: Json) -> int | None:
    return None if value is None else int(value)


def _sooner(actual: int | None, intended: int | None) -> bool:
    return actual is not None and (intended is None or actual < intended)


def _moves_sooner(actual: Sequence[tuple[int, str]], intended: Sequence[tuple[int, str]]) -> bool:
    wanted: dict[str, int] = {}
    for after, storage in intended:
        wanted[storage] = min(after, wanted.get(storage, after))
    return any(storage not in wanted or after < wanted[storage] for after, storage in actual)


def _adds_actions(found: RawRule, wanted: RawRule) -> bool:
    """Whether one does anything whose like the other does not do at all, such as ending on a date."""
    for name in ("Expiration", "NoncurrentVersionExpiration", "NoncurrentVersionTransitions"):
        extra, meant = found.get(name) or {}, wanted.get(name) or {}
        if isinstance(extra, Mapping) and isinstance(meant, Mapping):
            if _set(extra) - _set(meant) - {"NewerNoncurrentVersions"}:
                return True
        elif extra != meant:
            return True
    return False
