"""S3's lifecycle rules as values, refused where S3 refuses them. What is not modelled is an error, never ignored.

Sources: Amazon S3 User Guide, "Lifecycle configuration elements" and "Transitioning objects using Amazon S3 Lifecycle";
Amazon S3 API Reference, "PutBucketLifecycleConfiguration".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ckpt_archive.store.bucket import RawRule
from ckpt_archive.strictjson import Json

MOST_RULES = 1_000

WATERFALL = (
    "STANDARD",
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
)
"""From warm to cold; objects only ever move to the right ("Supported lifecycle transitions")."""

_MIN_DAYS = {"STANDARD_IA": 30, "ONEZONE_IA": 30}
_MOST_NEWER_VERSIONS = 100


class RefusedRuleError(ValueError):
    """S3 would refuse the configuration, or this model does not know what it means."""


@dataclass(frozen=True, slots=True)
class RuleFilter:
    """Which objects a rule is about: all that have all of this.

    Attributes:
        prefix: What their keys begin with.
        tags: What they are tagged with, at least.
        larger_than: They are larger than that; None for any size.
        smaller_than: They are smaller than that; None for any size.
    """

    prefix: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    larger_than: int | None = None
    smaller_than: int | None = None

    @property
    def has_size(self) -> bool:
        """Whether sizes are spoken of."""
        return self.larger_than is not None or self.smaller_than is not None

    def matches(self, key: str, tags: Mapping[str, str], size_bytes: int) -> bool:
        """Whether an object is one of them."""
        return (
            key.startswith(self.prefix)
            and all(tags.get(name) == value for name, value in self.tags.items())
            and (self.larger_than is None or size_bytes > self.larger_than)
            and (self.smaller_than is None or size_bytes < self.smaller_than)
        )


@dataclass(frozen=True, slots=True)
class Move:
    """A transition: exactly one of days and date."""

    storage_class: str
    days: int | None
    date: datetime | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        rule_id: Its name.
        enabled: Whether it is carried out.
        filter: Which objects it is about.
        expire_days: Age at which current versions expire.
        expire_date: Day from which on they expire.
        expire_lonely_markers: Whether delete markers without any version are removed.
        moves: Transitions of current versions.
        noncurrent_days: So long after they were replaced, noncurrent versions are removed.
        newer_noncurrent: So many of the newest noncurrent versions are kept all the same.
        abort_days: Uploads that were begun so long ago are aborted.
    """

    rule_id: str
    enabled: bool
    filter: RuleFilter
    expire_days: int | None = None
    expire_date: datetime | None = None
    expire_lonely_markers: bool = False
    moves: tuple[Move, ...] = ()
    noncurrent_days: int | None = None
    newer_noncurrent: int = 0
    abort_days: int | None = None


def parse_rules(raw: Sequence[RawRule]) -> tuple[Rule, ...]:
    """A bucket's rules.

    Raises:
        RefusedRuleError: If S3 would not take them.
    """
    if len(raw) > MOST_RULES:
        raise RefusedRuleError(f"{len(raw)} rules are more than {MOST_RULES}")
    rules = tuple(_rule(item) for item in raw)
    names = [rule.rule_id for rule in rules if rule.rule_id]
    if len(set(names)) < len(names):
        raise RefusedRuleError("two rules have the same ID")
    return rules


def _rule(raw: RawRule) -> Rule:
    members = _Members(raw, f"the rule {raw.get('ID', '')!r}")
    rule_id = members.text("ID", "")
    _require(len(rule_id) <= 255, members, "its ID is longer than 255 characters")
    status = members.text("Status")
    _require(status in {"Enabled", "Disabled"}, members, f"its status is {status!r}")
    _require(members.has("Filter") != members.has("Prefix"), members, "it needs either Filter or Prefix")
    chosen = _filter(members.inner("Filter")) if members.has("Filter") else RuleFilter(members.text("Prefix"))
    expiration = members.inner("Expiration")
    noncurrent = members.inner("NoncurrentVersionExpiration")
    abort = members.inner("AbortIncompleteMultipartUpload")
    acts = [name for name in ("Expiration", "Transitions", "NoncurrentVersionExpiration") if members.has(name)]
    _require(bool(acts) or members.has("AbortIncompleteMultipartUpload"), members, "it does nothing")
    rule = Rule(
        rule_id,
        status == "Enabled",
        chosen,
        expire_days=expiration.days("Days", 1),
        expire_date=expiration.date("Date"),
        expire_lonely_markers=expiration.flag("ExpiredObjectDeleteMarker"),
        moves=tuple(_move(item) for item in members.inners("Transitions")),
        noncurrent_days=noncurrent.days("NoncurrentDays", 1),
        newer_noncurrent=noncurrent.days("NewerNoncurrentVersions", 1) or 0,
        abort_days=abort.days("DaysAfterInitiation", 1),
    )
    for part in (members, expiration, noncurrent, abort):
        part.nothing_else()
    _check(rule, members)
    return rule


def _check(rule: Rule, members: "_Members") -> None:
    """What the elements of a rule may not be together."""
    said = [rule.expire_days is not None, rule.expire_date is not None, rule.expire_lonely_markers]
    _require(sum(said) == 1 or not members.has("Expiration"), members, "Expiration needs exactly one member")
    _require(
        not members.has("NoncurrentVersionExpiration") or rule.noncurrent_days is not None,
        members,
        "NoncurrentVersionExpiration needs NoncurrentDays",
    )
    _require(rule.newer_noncurrent <= _MOST_NEWER_VERSIONS, members, "NewerNoncurrentVersions is larger than 100")
    narrow = bool(rule.filter.tags) or rule.filter.has_size
    _require(not (narrow and rule.abort_days is not None), members, "uploads have neither tags nor sizes")
    _require(not (rule.filter.tags and rule.expire_lonely_markers), members, "delete markers have no tags")
    _require(
        len({move.storage_class for move in rule.moves}) == len(rule.moves), members, "two transitions to one class"
    )
    _require(len({move.days is None for move in rule.moves}) < 2, members, "days and dates are mixed")
    ages = [move.days for move in rule.moves if move.days is not None]
    if rule.expire_days is not None:
        _require(
            all(age < rule.expire_days for age in ages), members, "it expires before, or when, an object is to be moved"
        )
    ordered = sorted(rule.moves, key=lambda move: WATERFALL.index(move.storage_class))
    _require(
        sorted(ages) == [move.days for move in ordered if move.days is not None],
        members,
        "transitions go from a colder class to a warmer one",
    )


def _filter(members: "_Members") -> RuleFilter:
    given = len(members.left)
    _require(given <= 1, members, "Filter needs one member, or And")
    if members.has("And"):
        inner = members.inner("And")
        conditions = len(inner.said - {"Tags"}) + len(inner.tags("Tags", take=False))
        _require(conditions > 1, members, "And needs at least two conditions")
        tags = inner.tags("Tags")
        found = RuleFilter(
            inner.text("Prefix", ""), tags, inner.size("ObjectSizeGreaterThan"), inner.size("ObjectSizeLessThan")
        )
        inner.nothing_else()
    else:
        tag = members.inner("Tag")
        tags = {tag.text("Key"): tag.text("Value")} if tag.left else {}
        found = RuleFilter(
            members.text("Prefix", ""), tags, members.size("ObjectSizeGreaterThan"), members.size("ObjectSizeLessThan")
        )
        tag.nothing_else()
    members.nothing_else()
    return found


def _move(members: "_Members") -> Move:
    move = Move(members.text("StorageClass"), members.days("Days", 0), members.date("Date"))
    members.nothing_else()
    _require(move.storage_class in WATERFALL[1:], members, f"{move.storage_class} is no class to move to")
    _require((move.days is None) != (move.date is None), members, "a transition needs either Days or Date")
    least = _MIN_DAYS.get(move.storage_class, 0)
    _require(move.days is None or move.days >= least, members, f"{move.storage_class} needs {least} days at least")
    return move


class _Members:
    """The members of an element, each to be taken once."""

    def __init__(self, raw: Mapping[str, Json], what: str) -> None:
        self.left = dict(raw)
        self.said = frozenset(raw)
        self.what = what

    def has(self, name: str) -> bool:
        return name in self.said

    def text(self, name: str, default: str | None = None) -> str:
        value = self.left.pop(name, default)
        _require(isinstance(value, str), self, f"{name} is missing, or is no text")
        return str(value)

    def size(self, name: str) -> int | None:
        return self.days(name, 0)

    def days(self, name: str, least: int) -> int | None:
        value = self.left.pop(name, None)
        if value is None:
            return None
        _require(isinstance(value, int) and not isinstance(value, bool), self, f"{name} is no number")
        number = int(value)
        _require(number >= least, self, f"{name} is less than {least}")
        return number

    def flag(self, name: str) -> bool:
        value = self.left.pop(name, False)
        _require(isinstance(value, bool), self, f"{name} is neither true nor false")
        return bool(value)

    def date(self, name: str) -> datetime | None:
        value = self.left.pop(name, None)
        if value is None:
            return None
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00")).astimezone(UTC)
        _require(moment == midnight(moment), self, f"{name} is not midnight UTC")
        return moment

    def inner(self, name: str) -> "_Members":
        value = self.left.pop(name, {})
        _require(isinstance(value, Mapping), self, f"{name} is no element")
        return _Members(dict(value), f"{name} of {self.what}")

    def inners(self, name: str) -> list["_Members"]:
        items: Any = self.left.pop(name, [])
        return [_Members(item, f"{name} of {self.what}") for item in items]

    def tags(self, name: str, *, take: bool = True) -> dict[str, str]:
        items: Any = self.left.pop(name, []) if take else self.left.get(name, [])
        found = {item["Key"]: item["Value"] for item in items}
        _require(len(found) == len(items), self, "two conditions for one tag")
        return found

    def nothing_else(self) -> None:
        _require(not self.left, self, f"nobody knows what {', '.join(self.left)} means")


def _require(holds: bool, members: _Members, otherwise: str) -> None:
    if not holds:
        raise RefusedRuleError(f"{members.what}: {otherwise}")


def midnight(moment: datetime) -> datetime:
    """The midnight UTC at which a day begins."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def due_after(moment: datetime, days: int) -> datetime:
    """When something is so many days old, for S3: the days are added, and that is rounded up to the next midnight UTC.

    What is a midnight already stays one ("Lifecycle rules: based on an object's age").
    """
    exact = moment.astimezone(UTC) + timedelta(days=days)
    start = midnight(exact)
    return start if start == exact else start + timedelta(days=1)
