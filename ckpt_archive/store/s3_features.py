"""What a bucket is set up for: asked of S3, tried where trying is harmless."""

from collections.abc import Callable, Iterator

from ckpt_archive.errors import CkptArchiveError, DeniedError, UnavailableError
from ckpt_archive.store.bucket import BucketFeatures, RawRule
from ckpt_archive.store.probe import Capability, State
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_bucket import S3Bucket

_Answer = tuple[State, str]

_OUR_RULES = "ckpt-archive:"
"""What the ids of rules begin with that `retention apply` writes, for this archive and others."""


def features(store: S3Store, folder: str) -> Iterator[Capability]:
    """Versioning, Object Lock, lifecycle rules and tags of the bucket of `store`.

    Args:
        store: On which to ask.
        folder: A scratch folder that holds an object `first`.
    """
    bucket = S3Bucket(store)
    questions: tuple[tuple[str, Callable[[], _Answer]], ...] = (
        ("versioning", lambda: _versioning(bucket.features())),
        ("object_lock", lambda: _object_lock(bucket.features())),
        ("lifecycle", lambda: _lifecycle(bucket.read_rules(), bucket.prefix)),
        ("tagging", lambda: _tagging(bucket, f"{folder}first")),
    )
    for name, ask in questions:
        try:
            state, meaning = ask()
        except (DeniedError, UnavailableError) as error:
            state, meaning = State.UNKNOWN, error.message
        except CkptArchiveError as error:
            state, meaning = State.NO, error.message
        yield Capability(name, state, meaning)


def _versioning(found: BucketFeatures) -> _Answer:
    if found.versioned:
        return State.YES, "what is deleted stays as an old version, and is paid for, until a lifecycle rule removes it"
    return State.NO, "what is deleted is gone at once"


def _object_lock(found: BucketFeatures) -> _Answer:
    if found.object_lock:
        return State.YES, "a legal hold is put on every object as well: nobody deletes what is held, by whatever tool"
    return State.NO, "a legal hold binds ckpt-archive only: whoever may delete objects still can"


def _lifecycle(rules: tuple[RawRule, ...], prefix: str) -> _Answer:
    ours = sum(str(rule.get("ID", "")).startswith(_OUR_RULES) for rule in rules)
    told = f"{ours} rules of ckpt-archive are set and {len(rules) - ours} of others, which are left alone"
    if any(_ends_uploads(rule, prefix) for rule in rules):
        return State.YES, f"{told}; incomplete uploads are removed"
    return State.YES, f"{told}; none removes incomplete uploads, which are paid for: `ckpt-archive retention apply`"


def _ends_uploads(rule: RawRule, prefix: str) -> bool:
    """Whether it removes the incomplete uploads of this archive."""
    chosen = rule.get("Filter")
    both = chosen.get("And") if isinstance(chosen, dict) else None
    begins = next(
        (str(each["Prefix"]) for each in (both, chosen, rule) if isinstance(each, dict) and "Prefix" in each), ""
    )
    return "AbortIncompleteMultipartUpload" in rule and rule.get("Status") == "Enabled" and prefix.startswith(begins)


def _tagging(bucket: S3Bucket, key: str) -> _Answer:
    tags = {"ckpt-archive-probe": "1"}
    bucket.write_tags(key, tags)
    if bucket.read_tags(key) == tags:
        return State.YES, "retention can mark checkpoints with their class"
    return State.NO, "tags are lost: retention by class does not work here"
