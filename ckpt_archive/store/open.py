"""From an archive's URL to the store it names."""

import random
import threading
from collections.abc import Callable, Iterable
from functools import partial
from urllib.parse import unquote, urlsplit

from ckpt_archive.clock import Clock
from ckpt_archive.disk.protocol import FileSystem
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.store.bucket import Bucket
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.keys import check_key
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.probe import Capability
from ckpt_archive.store.protocol import Store
from ckpt_archive.store.retry import RetryingStore, RetryPolicy
from ckpt_archive.store.retrying_bucket import RetryingBucket
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_bucket import S3Bucket
from ckpt_archive.store.s3_connection import Connection
from ckpt_archive.store.s3_features import features

_HINT = "An archive is s3://BUCKET/PREFIX, file:///ABSOLUTE/PATH, or memory://NAME for tests."

_memories: dict[str, MemoryStore] = {}
_memories_lock = threading.Lock()


def open_store(
    url: str,
    *,
    fs: FileSystem,
    clock: Clock,
    policy: RetryPolicy | None = None,
    chance: random.Random | None = None,
    throttled: Callable[[], None] | None = None,
    connection: Connection | None = None,
) -> RetryingStore:
    """The store at `url`, insisting as `policy` says. Nothing is asked of it yet.

    Args:
        url: ``s3://bucket/prefix``, ``file:///absolute/path`` or ``memory://name``.
        fs: The file system of ``file`` URLs.
        clock: Of this machine.
        policy: How long to insist.
        chance: Draws the pauses between tries.
        throttled: Told each time the store asked for fewer requests.
        connection: Which S3 server, if the AWS SDK is not to find out itself.

    Raises:
        InvalidInputError: If no store can have this URL.
    """
    store = connect(url, fs=fs, clock=clock, connection=connection)
    return RetryingStore(store, clock, policy, chance, throttled=throttled)


def connect(
    url: str, *, fs: FileSystem, clock: Clock, connection: Connection | None = None
) -> S3Store | FileStore | MemoryStore:
    """The bare store at `url`, which asks once and does not insist; see `open_store`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # Not quoted, nor chained, for the reason below.
        raise InvalidInputError(
            "the archive URL can not be one: what it says about a host is none", hint=_HINT
        ) from None
    if parts.username is not None or parts.password is not None:
        # Not quoted: it may hold a password.
        raise InvalidInputError(
            f"the archive URL {parts.scheme}://… has a user name in it",
            hint="Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role.",
        )
    try:
        path = unquote(parts.path, errors="strict")
        url.encode()
        path.encode()
    except UnicodeError as error:
        raise _wrong(url, "it is not valid UTF-8") from error
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise _wrong(url, "it has a '?' or '#'")
    match parts.scheme:
        case "s3":
            return _s3(url, parts.netloc, parts.path, connection)
        case "file":
            if parts.netloc not in ("", "localhost"):
                raise _wrong(url, f"{parts.netloc!r} is where no host may stand: the path begins with a third '/'")
            return FileStore(fs, _absolute(url, path), clock=clock)
        case "memory":
            return _memory(url, clock)
        case "http" | "https":
            raise _wrong(
                url, "it is not the URL of a bucket", "Use s3://BUCKET/PREFIX, and AWS_ENDPOINT_URL for the server."
            )
        case _:
            raise _wrong(url, "it does not begin with s3://, file:// or memory://")


def features_of(store: S3Store | FileStore | MemoryStore) -> Callable[[str], Iterable[Capability]] | None:
    """What `probe` can ask this kind of store beyond its verbs, as its argument `more`."""
    return partial(features, store) if isinstance(store, S3Store) else None


def bucket_of(store: Store) -> Bucket | None:
    """The bucket that a store is in; it insists if the store does. None where there are no tags, locks and rules.

    A store in memory has one bucket: that which was made for it, else a plain one.
    """
    match store:
        case RetryingStore():
            inner = bucket_of(store.inner)
            return None if inner is None else RetryingBucket(inner, store.insistence)
        case S3Store():
            return S3Bucket(store)
        case MemoryStore():
            with store.lock:
                return store.keeper if isinstance(store.keeper, MemoryBucket) else MemoryBucket(store)
        case _:
            return None


def _wrong(url: str, problem: str, hint: str = _HINT) -> InvalidInputError:
    return InvalidInputError(f"the archive URL {url!r} is not allowed: {problem}", hint=hint)


def _s3(url: str, bucket: str, path: str, connection: Connection | None) -> S3Store:
    # Wider than AWS's rule for new buckets: other servers, and old buckets, have '_' and capitals.
    if not (
        3 <= len(bucket) <= 255
        and bucket.isascii()
        and bucket.replace(".", "").replace("-", "").replace("_", "").isalnum()
    ):
        raise _wrong(url, f"{bucket!r} can not be a bucket's name" if bucket else "it names no bucket")
    prefix = path.strip("/")
    if prefix:
        try:
            check_key(prefix)
        except InvalidInputError as error:
            raise _wrong(url, f"{prefix!r} can not be a prefix", error.hint) from error
    return S3Store(bucket, prefix, connection=connection)


def _absolute(url: str, path: str) -> str:
    if not path.strip("/") or "\0" in path:
        raise _wrong(url, "it names no folder")
    if any(component in (".", "..") for component in path.split("/")):
        raise _wrong(url, "it has the component '.' or '..'")
    return "/" + "/".join(component for component in path.split("/") if component)


def _memory(url: str, clock: Clock) -> MemoryStore:
    """The same one for the same URL, as long as this process lives."""
    with _memories_lock:
        return _memories.setdefault(url, MemoryStore(url, clock=clock))
