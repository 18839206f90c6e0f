"""What a bucket is set up for: asked of S3, tried where trying is harmless."""

from collections.abc import Callable, Iterator

from ckpt_archive.errors import CkptArchiveError, DeniedError, NotFoundError, UnavailableError
from ckpt_archive.store.probe import Capability, State
from ckpt_archive.store.s3 import S3Store

_Answer = tuple[State, str]


def features(store: S3Store, folder: str) -> Iterator[Capability]:
    """Versioning, Object Lock, lifecycle rules and tags of the bucket of `store`.

    Args:
        store: On which to ask.
        folder: A scratch folder that holds an object `first`.
    """
    questions: tuple[tuple[str, Callable[[], _Answer]], ...] = (
        ("versioning", lambda: _versioning(store)),
        ("object_lock", lambda: _object_lock(store)),
        ("lifecycle", lambda: _lifecycle(store)),
        ("tagging", lambda: _tagging(store, f"{folder}first")),
    )
    for name, ask in questions:
        try:
            state, meaning = ask()
        except (DeniedError, UnavailableError) as error:
            state, meaning = State.UNKNOWN, error.message
        except CkptArchiveError as error:
            state, meaning = State.NO, error.message
        yield Capability(name, state, meaning)


def _versioning(store: S3Store) -> _Answer:
    with store.asking("read the versioning of", store.bucket) as (client, _):
        answer = client.get_bucket_versioning(Bucket=store.bucket)
    if answer.get("Status") == "Enabled":
        return State.YES, "what is deleted stays as an old version, and is paid for, until a lifecycle rule removes it"
    return State.NO, "what is deleted is gone at once"


def _object_lock(store: S3Store) -> _Answer:
    try:
        with store.asking("read the Object Lock of", store.bucket) as (client, _):
            answer = client.get_object_lock_configuration(Bucket=store.bucket)
    except NotFoundError:
        answer = {}  # type: ignore[typeddict-item]
    if answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled":
        return State.YES, "objects can be held against deletion by anybody"
    return State.NO, "a legal hold binds ckpt-archive only: whoever may delete objects still can"


def _lifecycle(store: S3Store) -> _Answer:
    try:
        with store.asking("read the lifecycle rules of", store.bucket) as (client, _):
            rules = client.get_bucket_lifecycle_configuration(Bucket=store.bucket)["Rules"]
    except NotFoundError:
        rules = []
    if any("AbortIncompleteMultipartUpload" in rule for rule in rules):
        return State.YES, f"{len(rules)} rules are set, and incomplete uploads are removed"
    return State.YES, f"{len(rules)} rules are set, and none removes incomplete uploads"


def _tagging(store: S3Store, key: str) -> _Answer:
    tags = [{"Key": "ckpt-archive-probe", "Value": "1"}]
    with store.asking("tag", key) as (client, _):
        client.put_object_tagging(
            Bucket=store.bucket,
            Key=store.full_key(key),
            Tagging={"TagSet": tags},  # type: ignore[typeddict-item]
        )
        kept = client.get_object_tagging(Bucket=store.bucket, Key=store.full_key(key))["TagSet"]
    if kept == tags:
        return State.YES, "retention can mark checkpoints with their class"
    return State.NO, "tags are lost: retention by class does not work here"
