"""Any S3 API as a bucket: tags, locks, lifecycle rules, versions, thawing. Nothing is retried.

Rules are everybody's, and most of them are not ours. They are handed on as the SDK reads them, and if the server says
something about a rule that this SDK does not know, they are not handed on at all: writing them back would lose it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ckpt_archive.errors import DeniedError, InvalidInputError, ThrottledError, UnavailableError, UnsupportedError
from ckpt_archive.store import bucket as terms
from ckpt_archive.store import keys, s3_rules
from ckpt_archive.store.bucket import (
    BucketFeatures,
    NotSetError,
    ObjectLockState,
    ObjectVersion,
    RawRule,
    Temperature,
    UnderWayError,
    VersionPage,
    Warmth,
)
from ckpt_archive.store.s3 import S3Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PAGE = 1000
_RESTORE = re.compile(r'ongoing-request="(?P<ongoing>true|false)"(?:,\s*expiry-date="(?P<until>[^"]+)")?')


class S3Bucket:
    """The bucket of a store. Any number of threads may use it.

    Args:
        store: Whose connections, bucket and prefix it uses.
    """

    def __init__(self, store: S3Store) -> None:
        self._store = store

    @property
    def name(self) -> str:
        """See `Bucket.name`."""
        return self._store.bucket

    @property
    def prefix(self) -> str:
        """See `Bucket.prefix`."""
        return self._store.full_key("")

    def features(self) -> BucketFeatures:
        """See `Bucket.features`."""
        versioned = False
        with suppress(UnsupportedError), self._store.asking("read the versioning of", self.name) as (client, _):
            versioned = client.get_bucket_versioning(Bucket=self.name).get("Status") == "Enabled"
        try:
            with self._store.asking("read the Object Lock of", self.name) as (client, _):
                answer = client.get_object_lock_configuration(Bucket=self.name)
        except (NotSetError, UnsupportedError):
            return BucketFeatures(versioned, object_lock=False)
        enabled = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
        return BucketFeatures(versioned, object_lock=enabled)

    def read_rules(self) -> tuple[RawRule, ...]:
        """See `Bucket.read_rules`."""
        return self._rules()[0]

    def write_rules(self, rules: Sequence[RawRule]) -> None:
        """See `Bucket.write_rules`."""
        if not rules:
            with self._store.asking("remove the lifecycle rules of", self.name) as (client, _):
                client.delete_bucket_lifecycle(Bucket=self.name)
            return
        # Says from which size on objects are moved, for all rules together; what is not said again is forgotten.
        smallest = self._rules()[1]
        said: dict[str, Any] = {"TransitionDefaultMinimumObjectSize": smallest} if smallest else {}
        # The SDK takes times as texts, and refuses what it can not send before anything is sent.
        configuration: Any = {"Rules": [dict(rule) for rule in rules]}
        with self._store.asking("write the lifecycle rules of", self.name) as (client, _):
            client.put_bucket_lifecycle_configuration(Bucket=self.name, LifecycleConfiguration=configuration, **said)

    def read_tags(self, key: str) -> Mapping[str, str]:
        """See `Bucket.read_tags`."""
        found: dict[str, str] = {}
        with suppress(NotSetError), self._store.asking("read the tags of", key) as (client, _):
            answer = client.get_object_tagging(Bucket=self.name, Key=self._full(key))
            found = {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}
        return found

    def write_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """See `Bucket.write_tags`."""
        full = self._full(key)
        with self._store.asking("tag", key) as (client, _):
            if tags:
                pairs: Any = [{"Key": name, "Value": value} for name, value in sorted(tags.items())]
                client.put_object_tagging(Bucket=self.name, Key=full, Tagging={"TagSet": pairs})
            else:
                client.delete_object_tagging(Bucket=self.name, Key=full)

    def read_lock(self, key: str) -> ObjectLockState:
        """See `Bucket.read_lock`."""
        # Not by HEAD: to whoever lacks the right to see a lock, HEAD says the same as if there were none.
        full = self._full(key)
        hold: Any = {}
        with suppress(NotSetError), self._about_locks("read the legal hold of", key) as client:
            hold = client.get_object_legal_hold(Bucket=self.name, Key=full).get("LegalHold", {})
        lock: Any = {}
        with suppress(NotSetError), self._about_locks("read the lock of", key) as client:
            lock = client.get_object_retention(Bucket=self.name, Key=full).get("Retention", {})
        return ObjectLockState(hold.get("Status") == "ON", lock.get("Mode", ""), lock.get("RetainUntilDate"))

    def write_legal_hold(self, key: str, *, on: bool) -> None:
        """See `Bucket.write_legal_hold`."""
        full = self._full(key)
        with self._about_locks("hold" if on else "release", key) as client:
            client.put_object_legal_hold(Bucket=self.name, Key=full, LegalHold={"Status": "ON" if on else "OFF"})

    def write_retention(self, key: str, mode: str, until_at: datetime) -> None:
        """See `Bucket.write_retention`."""
        full = self._full(key)
        wanted: Any = {"Mode": mode, "RetainUntilDate": until_at.astimezone(UTC)}
        with self._about_locks("lock", key) as client:
            client.put_object_retention(Bucket=self.name, Key=full, Retention=wanted)

    def temperature(self, key: str) -> Temperature:
        """See `Bucket.temperature`."""
        with self._store.asking("find", key) as (client, _):
            answer = client.head_object(Bucket=self.name, Key=self._full(key))
            size = answer["ContentLength"]
        name = answer.get("StorageClass", "")
        # Intelligent-Tiering says apart whether it has put the object to where it must be fetched from.
        is_cold = terms.is_cold(name) or bool(answer.get("ArchiveStatus"))
        warmth, until_at = _warmth(key, is_cold, answer.get("Restore", ""))
        return Temperature(key, size, "" if name == "STANDARD" else name, warmth, until_at)

    def request_thaw(self, key: str, *, days: int, tier: str) -> None:
        """See `Bucket.request_thaw`."""
        found = self.temperature(key)
        if found.warmth is Warmth.WARM:
            return
        wanted: Any = {"GlacierJobParameters": {"Tier": tier}}
        if found.storage_class != "INTELLIGENT_TIERING":
            # What that brings back stays until nobody has read it for a while; to say for how long is refused.
            wanted["Days"] = days
        with suppress(UnderWayError), self._store.asking("thaw", key) as (client, _):
            client.restore_object(Bucket=self.name, Key=self._full(key), RestoreRequest=wanted)

    def version_page(self, prefix: str, token: tuple[str, str] | None = None) -> VersionPage:
        """See `Bucket.version_page`."""
        after = {} if token is None else {"KeyMarker": token[0], "VersionIdMarker": token[1]}
        with self._store.asking("list the versions of", prefix or "everything") as (client, _):
            answer: Any = client.list_object_versions(
                Bucket=self.name,
                Prefix=self.prefix + prefix,
                MaxKeys=_PAGE,
                **{name: text for name, text in after.items() if text},  # type: ignore[arg-type]
            )
            is_last = not answer["IsTruncated"]
        found = [self._version(item, is_marker=False) for item in answer.get("Versions", ())]
        found += [self._version(item, is_marker=True) for item in answer.get("DeleteMarkers", ())]
        found.sort(key=lambda item: item.modified, reverse=True)
        found.sort(key=lambda item: (item.key, not item.is_latest))
        following = answer.get("NextKeyMarker", ""), answer.get("NextVersionIdMarker", "")
        # A page that does not lead on ends the walk, instead of never ending it.
        ends = is_last or following in (token, ("", ""))
        return VersionPage(tuple(found), None if ends else following)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """See `Bucket.versions`."""
        return terms.all_versions(self, prefix)

    @contextmanager
    def _about_locks(self, verb: str, key: str) -> Iterator["S3Client"]:
        """The SDK's client for one request, whose failure is looked into: servers call the same things by many names."""
        try:
            with self._store.asking(verb, key) as (client, _):
                yield client
        except UnsupportedError:
            raise
        except InvalidInputError as error:
            if self.features().object_lock:
                raise
            raise UnsupportedError(
                f"could not {verb} {key}: the bucket {self.name} has no Object Lock",
                hint="Its owner can switch it on, together with versioning.",
            ) from error
        except UnavailableError as error:
            if not isinstance(error, DeniedError | ThrottledError):
                # SeaweedFS and moto have an internal error where there is no such object.
                self._store.head(key)
            raise

    def _full(self, key: str) -> str:
        # With a '/' before it: wherever in the bucket somebody put what was adopted.
        keys.check_key(key.removeprefix("/"))
        return self._store.full_key(key)

    def _version(self, item: Any, *, is_marker: bool) -> ObjectVersion:
        return ObjectVersion(
            key=item["Key"][len(self.prefix) :],
            version_id=item.get("VersionId") or "null",
            is_latest=item.get("IsLatest", False),
            is_marker=is_marker,
            modified=item["LastModified"],
            size_bytes=item.get("Size", 0),
        )

    def _rules(self) -> tuple[tuple[RawRule, ...], str]:
        """The rules, and from which size on all of them together move objects ("" where nothing is said)."""
        try:
            with self._store.asking("read the lifecycle rules of", self.name) as (client, _):
                answer: Any = client.get_bucket_lifecycle_configuration(Bucket=self.name)
                rules = s3_rules.rules_of(answer, self.name)
        except NotSetError:
            return (), ""
        return tuple(rules), answer.get("TransitionDefaultMinimumObjectSize", "")


def _warmth(key: str, is_cold: bool, said: str) -> tuple[Warmth, datetime | None]:
    """What the answer's ``x-amz-restore`` means."""
    if not said:
        return (Warmth.COLD if is_cold else Warmth.WARM), None
    found = _RESTORE.search(said)
    if found is None:
        raise UnavailableError(f"the store says of {key} what nobody understands: x-amz-restore: {said[:80]}")
    if found["ongoing"] == "true":
        return Warmth.THAWING, None
    return Warmth.THAWED, parsedate_to_datetime(found["until"]) if found["until"] else None
