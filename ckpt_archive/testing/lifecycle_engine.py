"""A small model of how S3 carries out lifecycle rules: what is due, and since when; then some of it is done, never more.

Sources, all of the Amazon S3 User Guide: "Lifecycle rules: based on an object's age" (days are added to the creation and
rounded up to the next midnight UTC); "Lifecycle rules: based on a specific date"; "Expiring objects" (what is due is queued
and removed asynchronously; in a versioned bucket the current version gets a delete marker); "How Amazon S3 calculates how
long an object has been noncurrent"; "Supported lifecycle transitions" (never back to a warmer class; objects smaller than
128 KiB are not moved unless a filter speaks of sizes); "How Amazon S3 handles conflicts in lifecycle configurations"
(permanent deletion before transition before delete markers; the shorter expiration; the colder class); "Managing object
lifecycle with Object Lock" (a locked version is not removed, a delete marker may be put on top of it); "Configuring a bucket
lifecycle configuration to delete incomplete multipart uploads".
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ckpt_archive.store.bucket import RawRule
from ckpt_archive.testing.lifecycle_configuration import WATERFALL, Rule, due_after, parse_rules

SMALLEST_MOVED_BYTES = 128 << 10


class Act(enum.StrEnum):
    """What an engine does."""

    EXPIRE = "expire"
    """Remove an object that has no versions."""
    MARK = "mark"
    """Put a delete marker on top of the current version."""
    REMOVE_VERSION = "remove version"
    """Remove a noncurrent version for good."""
    REMOVE_MARKER = "remove marker"
    """Remove a delete marker below which nothing is."""
    MOVE = "move"
    """Move to another storage class."""
    ABORT = "abort"
    """Abort an upload."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, as an engine sees it.

    Attributes:
        key: In the bucket, with the archive's prefix.
        version_id: Of it; "" in a bucket without versions.
        created_at: By the store's clock.
        size_bytes: Length.
        tags: Its tags.
        storage_class: Where it lies.
        is_latest: Whether it is the current one.
        is_marker: Whether it is a delete marker.
        is_locked: Whether retention or a legal hold protects it now.
        noncurrent_since: When its successor was created; None for the current one.
        newer_noncurrent: How many noncurrent versions of the key are newer.
        is_alone: Whether the key has no other version.
    """

    key: str
    version_id: str
    created_at: datetime
    size_bytes: int
    tags: Mapping[str, str]
    storage_class: str = "STANDARD"
    is_latest: bool = True
    is_marker: bool = False
    is_locked: bool = False
    noncurrent_since: datetime | None = None
    newer_noncurrent: int = 0
    is_alone: bool = True


@dataclass(frozen=True, slots=True)
class Begun:
    """A multipart upload."""

    key: str
    upload_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """Something that an engine may do now.

    Attributes:
        act: What.
        key: With what.
        version_id: Which version, or which upload.
        since: From when on it was allowed.
        rule_id: By which rule.
        storage_class: Where it is moved to; "" otherwise.
    """

    act: Act
    key: str
    version_id: str
    since: datetime
    rule_id: str
    storage_class: str = ""


class Executed(Protocol):
    """A bucket whose rules are carried out; keys are whole ones."""

    def rules(self) -> Sequence[RawRule]:
        """Its lifecycle rules."""
        ...

    def now(self) -> datetime:
        """Its clock."""
        ...

    def is_versioned(self) -> bool:
        """Whether what is deleted stays as an old version."""
        ...

    def all_versions(self) -> Iterable[Version]:
        """Everything in it."""
        ...

    def all_uploads(self) -> Iterable[Begun]:
        """The uploads under way."""
        ...

    def carry_out(self, due: Due) -> None:
        """Do it."""
        ...


def run_engine(
    bucket: Executed, choose: Callable[[Due], bool] = lambda _: True, *, smallest_moved: int = SMALLEST_MOVED_BYTES
) -> tuple[Due, ...]:
    """Let the engine do what is due, or some of it; what was done.

    Args:
        bucket: Where.
        choose: Whether it gets to something today; it is told of everything that is due.
        smallest_moved: Smaller objects are not moved unless a filter speaks of sizes; a bucket of S3 may say 0, and other
            servers do.
    """
    rules = [rule for rule in parse_rules(bucket.rules()) if rule.enabled]
    now, versioned = bucket.now(), bucket.is_versioned()
    done = []
    for due in due_now(
        rules, bucket.all_versions(), bucket.all_uploads(), now, versioned=versioned, smallest_moved=smallest_moved
    ):
        if choose(due):
            bucket.carry_out(due)
            done.append(due)
    return tuple(done)


def due_now(
    rules: Sequence[Rule],
    versions: Iterable[Version],
    uploads: Iterable[Begun],
    now: datetime,
    *,
    versioned: bool,
    smallest_moved: int = SMALLEST_MOVED_BYTES,
) -> Iterator[Due]:
    """What may be done now: at most one thing with each version."""
    for version in sorted(versions, key=lambda item: (item.key, item.version_id)):
        possible = [
            due for rule in rules for due in _of_version(rule, version, now, smallest_moved, versioned=versioned)
        ]
        if possible:
            yield min(possible, key=_preference)
    for upload in uploads:
        # An upload has no tags; rules with tags can not be about uploads.
        chosen = [rule for rule in rules if rule.abort_days is not None and upload.key.startswith(rule.filter.prefix)]
        ends = [Due(Act.ABORT, upload.key, upload.upload_id, _abort_at(rule, upload), rule.rule_id) for rule in chosen]
        yield from sorted((due for due in ends if due.since <= now), key=lambda due: due.since)[:1]


_ORDER = (Act.EXPIRE, Act.REMOVE_VERSION, Act.REMOVE_MARKER, Act.MOVE, Act.MARK, Act.ABORT)


def _preference(due: Due) -> tuple[int, int, datetime]:
    colder = -WATERFALL.index(due.storage_class) if due.storage_class else 0
    return _ORDER.index(due.act), colder, due.since


def _abort_at(rule: Rule, upload: Begun) -> datetime:
    assert rule.abort_days is not None
    return due_after(upload.started_at, rule.abort_days)


def _of_version(rule: Rule, version: Version, now: datetime, smallest_moved: int, *, versioned: bool) -> Iterator[Due]:
    if not rule.filter.matches(version.key, version.tags, version.size_bytes):
        return
    if version.is_marker:
        if rule.expire_lonely_markers and version.is_latest and version.is_alone:
            yield Due(Act.REMOVE_MARKER, version.key, version.version_id, version.created_at, rule.rule_id)
        yield from _noncurrent(rule, version, now)
        return
    if not version.is_latest:
        yield from _noncurrent(rule, version, now)
        return
    since = _since(version.created_at, rule.expire_days, rule.expire_date)
    if since is not None and since <= now and (versioned or not version.is_locked):
        yield Due(Act.MARK if versioned else Act.EXPIRE, version.key, version.version_id, since, rule.rule_id)
    for move in rule.moves:
        since = _since(version.created_at, move.days, move.date)
        is_colder = WATERFALL.index(move.storage_class) > WATERFALL.index(version.storage_class or "STANDARD")
        is_large = version.size_bytes >= smallest_moved or rule.filter.has_size
        if since is not None and since <= now and is_colder and is_large:
            yield Due(Act.MOVE, version.key, version.version_id, since, rule.rule_id, move.storage_class)


def _noncurrent(rule: Rule, version: Version, now: datetime) -> Iterator[Due]:
    if rule.noncurrent_days is None or version.noncurrent_since is None or version.is_locked:
        return
    since = due_after(version.noncurrent_since, rule.noncurrent_days)
    if since <= now and version.newer_noncurrent >= rule.newer_noncurrent:
        yield Due(Act.REMOVE_VERSION, version.key, version.version_id, since, rule.rule_id)


def _since(created_at: datetime, days: int | None, date: datetime | None) -> datetime | None:
    return date if days is None else due_after(created_at, days)
