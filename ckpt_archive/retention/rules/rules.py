"""Lifecycle rules: what a policy makes of them, how S3 writes them, and how those of a bucket differ. Values only.

A bucket has one lifecycle configuration, which belongs to everybody who has rules in it. Ours are known by their ids; all
others are foreign, and go back as they came.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ckpt_archive.commit import layout
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.names import CLASS_NAME
from ckpt_archive.retention.policy.file import MAX_RULES
from ckpt_archive.retention.policy.storage_classes import COLD, STORAGE_CLASSES
from ckpt_archive.retention.policy.values import TAG_KEY, Policy, RetentionClass, Transition
from ckpt_archive.retention.rules.raw_rules import conditions, days_of, is_broader, known_members
from ckpt_archive.store.bucket import RawRule
from ckpt_archive.strictjson import Json

PENDING_DAYS = 90
"""Markers below log/pending/ are of no use once the log has them, which takes minutes."""

NONCURRENT_DAYS = 1
INDEX_NONCURRENT_DAYS = 7
"""What is in a versioned bucket stays so long after its deletion; of the index, long enough to mend a mistake."""

_OURS = "ckpt-archive:"
_MAX_ID_CHARACTERS = 255
_MOVE = re.compile(r"(?P<storage>[A-Z_]+)-(?P<days>[1-9][0-9]{0,5})d")
_KEEP = re.compile(r"(?P<days>[1-9][0-9]{0,5})d|forever")
_OWN_NAME = re.compile(r"class:[A-Za-z0-9._-]{1,200}|abort|markers|index-versions")


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """A rule of ours.

    Attributes:
        id: See `rule_id`.
        prefix: What the keys begin with, the archive's own prefix included.
        tag: The value of `TAG_KEY` that objects must have; "" for all objects.
        expire_days: Age at which objects end; None: never.
        transitions: By age, ascending.
        noncurrent_days: Old versions end so long after they were replaced or deleted; None: never.
        abort_days: Uploads that were begun so long ago are removed; None: never.
        clears_markers: Whether marks of deletion that hide nothing any more are removed.
    """

    id: str
    prefix: str
    tag: str = ""
    expire_days: int | None = None
    transitions: tuple[Transition, ...] = ()
    noncurrent_days: int | None = None
    abort_days: int | None = None
    clears_markers: bool = False

    def to_json(self) -> dict[str, Json]:
        """As S3's API takes it."""
        tag = {"Key": TAG_KEY, "Value": self.tag}
        rule: dict[str, Json] = {
            "ID": self.id,
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": self.prefix, "Tags": [tag]}} if self.tag else {"Prefix": self.prefix},
        }
        if self.expire_days is not None:
            rule["Expiration"] = {"Days": self.expire_days}
        if self.clears_markers:
            rule["Expiration"] = {"ExpiredObjectDeleteMarker": True}
        if self.transitions:
            rule["Transitions"] = [
                {"Days": move.after_days, "StorageClass": move.storage_class} for move in self.transitions
            ]
        if self.noncurrent_days is not None:
            rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": self.noncurrent_days}
        if self.abort_days is not None:
            rule["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": self.abort_days}
        return rule

    @classmethod
    def from_json(cls, raw: RawRule) -> "LifecycleRule | None":
        """Read a rule however its server spells it; None for one that says what rules of ours never say."""
        asked = conditions(raw)
        days = days_of(raw)
        if asked is None or days is None or not known_members(raw) or asked.has_limits:
            return None
        tags = dict(asked.tags)
        if len(asked.tags) > 1 or set(tags) - {TAG_KEY}:
            return None
        moves = sorted(days.transitions)
        return cls(
            id=str(raw.get("ID", "")),
            prefix=asked.prefix,
            tag=tags.get(TAG_KEY, ""),
            expire_days=days.expire,
            transitions=tuple(Transition(after, storage) for after, storage in moves),
            noncurrent_days=days.noncurrent,
            abort_days=days.abort,
            clears_markers=days.clears_markers,
        )


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule of ours that is not as it should be.

    Attributes:
        before: As the bucket has it.
        after: As it should be.
    """

    before: RawRule
    after: LifecycleRule


@dataclass(frozen=True, slots=True)
class RuleDifference:
    """How the rules of a bucket differ from those wanted.

    Attributes:
        add: Wanted, and not there.
        change: There, and not as wanted.
        remove: Ours, and not wanted any more.
        same: There as wanted.
        foreign: Somebody else's, in their order.
        broader: Ids of those in `change` that are about more objects than wanted, or about them sooner: dangerous.
    """

    add: tuple[LifecycleRule, ...] = ()
    change: tuple[RuleChange, ...] = ()
    remove: tuple[RawRule, ...] = ()
    same: tuple[LifecycleRule, ...] = ()
    foreign: tuple[RawRule, ...] = ()
    broader: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.add or self.change or self.remove)

    def configuration(self) -> tuple[RawRule, ...]:
        """All rules that the bucket is to have: the foreign ones unchanged, then ours, sorted."""
        ours_ = [*self.add, *self.same, *(item.after for item in self.change)]
        return (*self.foreign, *(rule.to_json() for rule in sorted(ours_, key=lambda rule: rule.id)))


def rule_id(prefix: str, name: str) -> str:
    """The id of a rule of ours, at most 255 characters.

    Args:
        prefix: The archive's, as in `Bucket.prefix`.
        name: ``class:<tag>``, ``abort``, ``markers`` or ``index-versions``.
    """
    whole = f"{_OURS}{prefix}:{name}"
    return whole if len(whole) <= _MAX_ID_CHARACTERS else f"{_OURS}~{_digest(prefix)}:{name}"


def ours(raw: RawRule, prefix: str) -> bool:
    """Whether a rule was written by us for the archive of that prefix."""
    identity = raw.get("ID")
    if not isinstance(identity, str):
        return False
    name = identity
    for head in (f"{_OURS}{prefix}:", f"{_OURS}~{_digest(prefix)}:"):
        if identity.startswith(head):
            name = identity[len(head) :]
    return name is not identity and _OWN_NAME.fullmatch(name) is not None and rule_id(prefix, name) == identity


def rules_of(policy: Policy, prefix: str, tags_in_use: Iterable[str] = ()) -> tuple[LifecycleRule, ...]:
    """The rules of a policy, sorted by id.

    Args:
        policy: It.
        prefix: The archive's, as in `Bucket.prefix`.
        tags_in_use: Values of `TAG_KEY` that objects have, or will have: those of earlier policies keep their rules. Who has
            a tag that says nothing has no rule, and is kept.
    """
    wanted = {item.tag: item for item in policy.classes}
    for tag in tags_in_use:
        terms = terms_of(tag)
        if terms is not None and tag not in wanted:
            name, keep_days, transitions = terms
            wanted[tag] = RetentionClass(name, keep_days, transitions=transitions)
    found = [rule for tag, item in wanted.items() if (rule := _class_rule(item, tag, prefix)) is not None]
    found += [
        LifecycleRule(rule_id(prefix, "abort"), prefix, abort_days=policy.abort_incomplete_days),
        LifecycleRule(
            rule_id(prefix, "markers"),
            prefix + layout.PENDING,
            expire_days=PENDING_DAYS,
            noncurrent_days=NONCURRENT_DAYS,
        ),
        LifecycleRule(
            rule_id(prefix, "index-versions"),
            prefix + layout.INDEX,
            noncurrent_days=INDEX_NONCURRENT_DAYS,
            clears_markers=True,
        ),
    ]
    return tuple(sorted(found, key=lambda rule: rule.id))


def _class_rule(item: RetentionClass, tag: str, prefix: str) -> LifecycleRule | None:
    moves = tuple(move for move in item.transitions if move.storage_class != COLD)
    if item.keep_days is None and not moves:
        return None  # a rule that does nothing is refused by S3
    return LifecycleRule(
        rule_id(prefix, f"class:{tag}"),
        prefix + layout.DATA,
        tag=tag,
        expire_days=item.keep_days,
        transitions=moves,
        # What is kept for ever and deleted all the same was deleted by mistake: its old version stays.
        noncurrent_days=None if item.keep_days is None else NONCURRENT_DAYS,
    )


def does_as_its_tag_says(raw: RawRule, prefix: str) -> bool:
    """Whether a rule is about one tag, and does with it what we would, whatever its id is."""
    found = LifecycleRule.from_json(raw)
    terms = None if found is None else terms_of(found.tag)
    if found is None or terms is None:
        return False
    name, keep_days, transitions = terms
    meant = _class_rule(RetentionClass(name, keep_days, transitions=transitions), found.tag, prefix)
    return meant is not None and replace(found, id=meant.id) in (meant, without_transitions(meant))


def without_transitions(rule: LifecycleRule) -> LifecycleRule | None:
    """The rule for a store that moves nothing; None if nothing is left of it."""
    left = replace(rule, transitions=())
    does = (left.expire_days, left.noncurrent_days, left.abort_days)
    return left if left.clears_markers or any(days is not None for days in does) else None


def difference(wanted: Sequence[LifecycleRule], found: Sequence[RawRule], prefix: str) -> RuleDifference:
    """How the rules of a bucket differ from those wanted, however its server spells them.

    Args:
        wanted: All that are to be ours.
        found: The bucket's, everybody's.
        prefix: The archive's, as in `Bucket.prefix`.

    Raises:
        InvalidInputError: If the bucket would have more than 1,000 rules.
    """
    own: dict[str, list[RawRule]] = {}
    foreign: list[RawRule] = []
    for raw in found:
        if ours(raw, prefix):
            own.setdefault(str(raw["ID"]), []).append(raw)
        else:
            foreign.append(raw)
    if len(wanted) + len(foreign) > MAX_RULES:
        raise InvalidInputError(
            f"the bucket would have {len(wanted) + len(foreign)} lifecycle rules, {len(foreign)} of them not ours",
            hint=f"A bucket can have {MAX_RULES}: use fewer classes, or a bucket of its own.",
        )
    add: list[LifecycleRule] = []
    change: list[RuleChange] = []
    same: list[LifecycleRule] = []
    broader: list[str] = []
    remove: list[RawRule] = []
    for rule in wanted:
        first, *twins = own.pop(rule.id, [None])
        remove += [twin for twin in twins if twin is not None]
        if first is None:
            add.append(rule)
        elif first.get("Status") == "Enabled" and LifecycleRule.from_json(first) == rule:
            same.append(rule)
        else:
            change.append(RuleChange(first, rule))
            if is_broader(first, rule.to_json()):
                broader.append(rule.id)
    remove += [raw for raws in own.values() for raw in raws]
    return RuleDifference(
        add=tuple(add),
        change=tuple(change),
        remove=tuple(remove),
        same=tuple(same),
        foreign=tuple(foreign),
        broader=tuple(broader),
    )


def terms_of(tag: str) -> tuple[str, int | None, tuple[Transition, ...]] | None:
    """What a tag says: class, days (None: for ever) and transitions; None if it is no tag of ours."""
    name, _, rest = tag.partition(".")
    kept, *moves = rest.split(".")
    keep = _KEEP.fullmatch(kept)
    if not CLASS_NAME.fullmatch(name) or keep is None:
        return None
    transitions: list[Transition] = []
    for text in moves:
        move = _MOVE.fullmatch(text)
        if move is None or move["storage"] not in STORAGE_CLASSES:
            return None
        transitions.append(Transition(int(move["days"]), move["storage"]))
    return name, int(keep["days"]) if keep["days"] else None, tuple(transitions)


def _digest(prefix: str) -> str:
    return hashlib.sha256(prefix.encode("utf-8", "surrogatepass")).hexdigest()[:16]
