"""What somebody's delete markers hide: in a bucket that keeps versions the bytes are still there, for a while."""

from ckpt_archive.commit import layout
from ckpt_archive.errors import DeniedError, UnsupportedError
from ckpt_archive.place import Place
from ckpt_archive.store.bucket import Bucket


def hidden_hint(bucket: Bucket | None, place: Place) -> str:
    """How to bring back what is hidden of a checkpoint's data, in sentences that end in a blank; "" if nothing is.

    Args:
        bucket: Of the archive, if its store has one.
        place: The checkpoint.
    """
    if bucket is None:
        return ""
    try:
        if not bucket.features().versioned:
            return ""
        found = [*bucket.versions(layout.data_folder(place.run, place.attempt, place.step))]
    except (DeniedError, UnsupportedError):
        return ""  # whoever may not list versions is told the rest
    marks = [item for item in found if item.is_latest and item.is_marker]
    keys = {item.key for item in marks}
    old = next((item for item in found if item.key in keys and not item.is_marker), None)
    if old is None:
        return ""
    return (
        f"Somebody deleted {len(keys)} of its objects on {max(item.modified for item in marks):%Y-%m-%d %H:%M} UTC, and the "
        f"bucket still has old versions, such as {old.version_id} of {old.key}: whoever may delete versions brings them "
        "back by deleting the delete markers, at once, because a rule may end old versions within a day. "
    )
