"""What a policy asks for and the store, or the policy itself, can not give: told before anybody relies on it."""

from collections.abc import Iterator

from ckpt_archive.retention.policy.values import TRASH, Policy
from ckpt_archive.store.bucket import Bucket

_COLD = "COLD"


def lacking(policy: Policy, bucket: Bucket | None) -> Iterator[str]:
    """Sentences for people.

    Args:
        policy: The policy.
        bucket: The archive's; None: a folder.
    """
    locked = [item.name for item in policy.classes if item.lock is not None]
    if locked and (bucket is None or not bucket.features().object_lock):
        where = "the store" if bucket is None else "the bucket"
        yield (
            f"{where} has no Object Lock, so nothing is locked, though the policy says so of {', '.join(locked)}: "
            "use a bucket that was made with Object Lock"
        )
    moved = [item.name for item in policy.classes if any(to.storage_class == _COLD for to in item.transitions)]
    if moved and bucket is not None:
        yield f"a bucket has no second root, so nothing is moved to {_COLD}, though the policy says so of {', '.join(moved)}"
    if not policy.default and any(item.name != TRASH for item in policy.classes):
        yield 'the policy has no default class: what no class chooses is kept for ever; say default = "…" if it is to end'
