"""The bucket of a store in memory: what S3 promises of tags, locks, rules, versions and thawing, and what servers lack."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ckpt_archive.errors import ColdError, DeniedError, InvalidInputError, NotFoundError, UnsupportedError
from ckpt_archive.store import bucket as terms
from ckpt_archive.store import keys
from ckpt_archive.store.bucket import (
    BucketFeatures,
    ObjectLockState,
    ObjectVersion,
    RawRule,
    Temperature,
    VersionPage,
    Warmth,
)
from ckpt_archive.store.memory import MemoryObject, MemoryStore
from ckpt_archive.store.protocol import ObjectInfo, list_all
from ckpt_archive.strictjson import Json

MAX_RULES = 1000
MAX_TAGS = 10

_PAGE = 1000
_MODES = ("GOVERNANCE", "COMPLIANCE")
_FORGOTTEN = ("ObjectSizeGreaterThan", "ObjectSizeLessThan", "NewerNoncurrentVersions")

# The longest that AWS says it takes (Amazon S3 User Guide, "Understanding archive retrieval options").
_THAW_HOURS = {
    ("GLACIER", "Expedited"): 0.1,
    ("GLACIER", "Standard"): 5,
    ("GLACIER", "Bulk"): 12,
    ("DEEP_ARCHIVE", "Standard"): 12,
    ("DEEP_ARCHIVE", "Bulk"): 48,
}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The current version of an object, as a lifecycle engine sees it.

    Attributes:
        key: Relative to the archive's prefix.
        created: When.
        size_bytes: Length.
        storage_class: "" for the default one.
        tags: All of them.
        version_id: ``null`` where nothing is versioned.
        lock: What stands against its deletion.
    """

    key: str
    created: datetime
    size_bytes: int
    storage_class: str
    tags: Mapping[str, str]
    version_id: str
    lock: ObjectLockState


@dataclass(slots=True)
class _Version:
    """Of an object; without `etag` a mark that it was deleted. `stored` is its bytes, once it is not current any more."""

    version_id: str
    etag: str
    modified: datetime
    size_bytes: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    lock: ObjectLockState = field(default_factory=ObjectLockState)
    stored: MemoryObject | None = None
    thawed_at: datetime | None = None
    cold_again_at: datetime | None = None


class MemoryBucket:
    """The bucket of a store in memory, which from then on refuses to read what is cold and to delete what is locked.

    Args:
        store: Whose objects.
        prefix: What the archive's keys are said to begin with in the bucket.
        versioned: Whether what is deleted stays as an old version.
        object_lock: Whether objects can be locked. (S3 asks for versions too; here an unversioned bucket may have it.)
        transitions: Whether rules may have transitions; else such a configuration is refused as a whole, as by SeaweedFS.
        forgets_conditions: Whether rules lose conditions on size and on newer versions, as on moto and Ceph RGW.
    """

    def __init__(
        self,
        store: MemoryStore,
        *,
        prefix: str = "",
        versioned: bool = False,
        object_lock: bool = False,
        transitions: bool = True,
        forgets_conditions: bool = False,
    ) -> None:
        self._store = store
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._features = BucketFeatures(versioned, object_lock)
        self._transitions = transitions
        self._forgets_conditions = forgets_conditions
        self._rules: tuple[RawRule, ...] = ()
        self._versions: dict[str, list[_Version]] = {}
        self._names = 0
        store.keeper = self

    @property
    def name(self) -> str:
        """See `Bucket.name`."""
        return self._store.url

    @property
    def prefix(self) -> str:
        """See `Bucket.prefix`."""
        return self._prefix

    def features(self) -> BucketFeatures:
        """See `Bucket.features`."""
        return self._features

    def read_rules(self) -> tuple[RawRule, ...]:
        """See `Bucket.read_rules`."""
        return copy.deepcopy(self._rules)

    def write_rules(self, rules: Sequence[RawRule]) -> None:
        """See `Bucket.write_rules`."""
        named = [rule["ID"] for rule in rules if "ID" in rule]
        twice = len(set(map(str, named))) < len(named)
        if len(rules) > MAX_RULES or twice or not all(map(_is_rule, rules)):
            raise InvalidInputError(
                f"{self.name} does not take these {len(rules)} rules",
                hint=f"A bucket has at most {MAX_RULES} lifecycle rules, each with an ID of its own, a Status and a Filter.",
            )
        moving = ("Transitions", "NoncurrentVersionTransitions")
        if not self._transitions and any(rule.get(name) for rule in rules for name in moving):
            raise UnsupportedError(
                f"could not write the lifecycle rules of {self.name}: NotImplemented",
                hint="This server does not do that: do without, or use another store.",
            )
        kept = copy.deepcopy(tuple(rules))
        self._rules = tuple(_forgotten(rule) for rule in kept) if self._forgets_conditions else kept

    def read_tags(self, key: str) -> Mapping[str, str]:
        """See `Bucket.read_tags`."""
        with self._store.lock:
            return dict(self._current(key).tags)

    def write_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """See `Bucket.write_tags`."""
        if len(tags) > MAX_TAGS:
            raise InvalidInputError(f"{key} can not have {len(tags)} tags", hint=f"At most {MAX_TAGS}.")
        with self._store.lock:
            self._current(key).tags = dict(tags)

    def read_lock(self, key: str) -> ObjectLockState:
        """See `Bucket.read_lock`."""
        with self._store.lock:
            return self._lockable(key).lock

    def write_legal_hold(self, key: str, *, on: bool) -> None:
        """See `Bucket.write_legal_hold`."""
        with self._store.lock:
            version = self._lockable(key)
            version.lock = ObjectLockState(on, version.lock.mode, version.lock.until_at)

    def write_retention(self, key: str, mode: str, until_at: datetime) -> None:
        """See `Bucket.write_retention`."""
        with self._store.lock:
            version = self._lockable(key)
            if mode not in _MODES or until_at <= self._store.clock.now():
                raise InvalidInputError(
                    f"{key} can not be locked in mode {mode!r} until {until_at}",
                    hint=f"A lock has one of the modes {' and '.join(_MODES)}, and ends in the future.",
                )
            held = version.lock
            stands = held.until_at is not None and held.until_at > self._store.clock.now()
            if stands and held.until_at is not None and (until_at < held.until_at or (held.mode, mode) == _MODES[::-1]):
                raise DeniedError(
                    f"{key} is locked in mode {held.mode} until {held.until_at}", hint="A lock can only be made longer."
                )
            version.lock = ObjectLockState(held.legal_hold, mode, until_at)

    def temperature(self, key: str) -> Temperature:
        """See `Bucket.temperature`."""
        with self._store.lock:
            info = self._store.head(keys.check_key(key))
            version = self._known(info)
            return Temperature(key, info.size_bytes, info.storage_class, *self._warmth(info, version))

    def request_thaw(self, key: str, *, days: int, tier: str) -> None:
        """See `Bucket.request_thaw`."""
        with self._store.lock:
            info = self._store.head(keys.check_key(key))
            version = self._known(info)
            warmth, _ = self._warmth(info, version)
            hours = _THAW_HOURS.get((info.storage_class, tier))
            if warmth in (Warmth.WARM, Warmth.THAWING):
                return
            if hours is None or days < 1:
                raise InvalidInputError(
                    f"{key} can not be thawed from {info.storage_class} for {days} days with the tier {tier!r}",
                    hint="Tiers are Standard and Bulk, from GLACIER also Expedited.",
                )
            now = self._store.clock.now()
            if warmth is Warmth.COLD:
                version.thawed_at = now + timedelta(hours=hours)
            since = max(now, version.thawed_at or now)
            version.cold_again_at = _midnight_after(since + timedelta(days=days))

    def version_page(self, prefix: str, token: tuple[str, str] | None = None) -> VersionPage:
        """See `Bucket.version_page`."""
        with self._store.lock:
            found = list(self._all(prefix))
        start = 0 if token is None else 1 + [(item.key, item.version_id) for item in found].index(token)
        page = tuple(found[start : start + _PAGE])
        more = start + _PAGE < len(found)
        return VersionPage(page, (page[-1].key, page[-1].version_id) if more else None)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """See `Bucket.versions`."""
        return terms.all_versions(self, prefix)

    def objects(self, prefix: str = "") -> tuple[StoredObject, ...]:
        """The current versions, as a lifecycle engine sees them."""
        with self._store.lock:
            found = [(info, self._known(info)) for info in list_all(self._store, prefix)]
            return tuple(
                StoredObject(
                    info.key,
                    version.modified,
                    info.size_bytes,
                    info.storage_class,
                    dict(version.tags),
                    version.version_id,
                    version.lock,
                )
                for info, version in found
            )

    def expire(self, key: str) -> None:
        """Do what an engine does to an object that is due: delete it, which leaves an old version where there are versions.

        Raises:
            DeniedError: If it is locked, and the bucket has no versions.
        """
        self._store.delete(key)

    def move(self, key: str, storage_class: str) -> None:
        """Do what an engine does to an object whose transition is due. Raises `NotFoundError`."""
        self._store.move(key, storage_class)

    def remove_version(self, key: str, version_id: str) -> None:
        """Delete one version, or one mark, for good. If it was the current one, the one before it is that again.

        Raises:
            DeniedError: If it is locked.
            NotFoundError: If there is no such version.
        """
        with self._store.lock:
            for info in list_all(self._store, key):
                self._known(info)
            versions = self._versions.get(key, [])
            at = next((at for at, version in enumerate(versions) if version.version_id == version_id), None)
            if at is None:
                raise NotFoundError(f"there is no version {version_id} of {key} in {self.name}")
            self._check_unlocked(key, versions[at])
            was_current = at == len(versions) - 1
            del versions[at]
            if was_current:
                self._store.drop(key)
                if versions and (stored := versions[-1].stored) is not None:
                    self._store.put_back(stored)

    def reading(self, info: ObjectInfo) -> None:
        """See `Keeper.reading`."""
        warmth, _ = self._warmth(info, self._known(info))
        if warmth in (Warmth.COLD, Warmth.THAWING):
            raise ColdError(
                f"could not read {info.key} in {self.name}: it lies in {info.storage_class}",
                hint="Thaw it first: `ckpt-archive thaw RUN STEP`.",
            )

    def deleting(self, key: str, found: MemoryObject | None) -> None:
        """See `Keeper.deleting`."""
        version = None if found is None else self._known(found.info)
        if self._features.versioned:
            if version is not None:
                version.stored = found
            self._versions.setdefault(key, []).append(_Version(self._next_name(), "", self._store.clock.now()))
        elif version is not None:
            self._check_unlocked(key, version)
            del self._versions[key]

    def _next_name(self) -> str:
        self._names += 1
        return f"version-{self._names}"

    def _current(self, key: str) -> _Version:
        whole = keys.full("", key)
        return self._known(self._store.head(keys.check_key(whole)))

    def _lockable(self, key: str) -> _Version:
        if not self._features.object_lock:
            raise UnsupportedError(
                f"{self.name} has no Object Lock",
                hint="This bucket has no Object Lock: it can be switched on by the bucket's owner, with versioning.",
            )
        return self._current(key)

    def _known(self, info: ObjectInfo) -> _Version:
        """What is known of an object that is there: something since it was first asked about."""
        versions = self._versions.setdefault(info.key, [])
        # An ETag of this store names one object for ever.
        if not versions or versions[-1].etag != info.etag:
            assert info.modified is not None
            name = self._next_name() if self._features.versioned else "null"
            versions.append(_Version(name, info.etag, info.modified, info.size_bytes))
        return versions[-1]

    def _warmth(self, info: ObjectInfo, version: _Version) -> tuple[Warmth, datetime | None]:
        now = self._store.clock.now()
        if not terms.is_cold(info.storage_class):
            return Warmth.WARM, None
        if version.thawed_at is None or version.cold_again_at is None or now >= version.cold_again_at:
            return Warmth.COLD, None
        return (Warmth.THAWED, version.cold_again_at) if now >= version.thawed_at else (Warmth.THAWING, None)

    def _check_unlocked(self, key: str, version: _Version) -> None:
        lock = version.lock
        if lock.legal_hold or (lock.until_at is not None and lock.until_at > self._store.clock.now()):
            raise DeniedError(
                f"could not delete {key} in {self.name}: it is {'held' if lock.legal_hold else 'locked'}",
                hint="A legal hold has to be released first; a lock has to run out.",
            )

    def _all(self, prefix: str) -> Iterator[ObjectVersion]:
        for info in list_all(self._store, prefix):
            self._known(info)
        for key in sorted(key for key in self._versions if key.startswith(prefix)):
            for index, version in enumerate(reversed(self._versions[key])):
                yield ObjectVersion(
                    key=key,
                    version_id=version.version_id,
                    is_latest=index == 0,
                    is_marker=not version.etag,
                    modified=version.modified,
                    size_bytes=version.size_bytes,
                )


def _is_rule(rule: RawRule) -> bool:
    return rule.get("Status") in ("Enabled", "Disabled") and ("Filter" in rule or "Prefix" in rule)


def _forgotten(rule: RawRule) -> RawRule:
    def without(value: Json) -> Json:
        if isinstance(value, dict):
            return {name: without(item) for name, item in value.items() if name not in _FORGOTTEN}
        return [without(item) for item in value] if isinstance(value, list) else value

    return {name: without(value) for name, value in rule.items()}


def _midnight_after(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day if day == moment else day + timedelta(days=1)
