"""Which keys and which sizes a store of ours takes, and how a listing is cut into pages. Rules only, no I/O."""

from collections.abc import Iterable

from ckpt_archive import errors
from ckpt_archive.names import check_object_key, is_object_key
from ckpt_archive.store.protocol import ObjectInfo, PartInfo, StoreLimits

# S3's limit (Amazon S3 User Guide, "ListObjectsV2").
MAX_PAGE = 1000

check_key = check_object_key
is_key = is_object_key


def full(prefix: str, key: str) -> str:
    """The key in the bucket: below `prefix`, or, with a '/' before it, wherever in the bucket somebody put that object."""
    return key[1:] if key.startswith("/") else prefix + key


def check_size(size_bytes: int, what: str, limits: StoreLimits) -> None:
    """Check that one request may carry `size_bytes`, else raise `InvalidInputError`."""
    if size_bytes > limits.max_part_size_bytes:
        raise errors.InvalidInputError(
            f"{what} has {size_bytes} bytes, but the store takes at most {limits.max_part_size_bytes} in one request",
            hint="Use smaller parts.",
        )


def check_part_number(number: int, what: str, limits: StoreLimits) -> None:
    """Check that there may be a part `number`, else raise `InvalidInputError`."""
    if not 1 <= number <= limits.max_parts:
        raise errors.InvalidInputError(
            f"{what} can not have a part {number}", hint=f"Parts are numbered from 1 to {limits.max_parts}."
        )


def check_joinable(what: str, parts: Iterable[PartInfo], held: Iterable[PartInfo], limits: StoreLimits) -> None:
    """Check that `parts` are 1 to N, that the store holds exactly these, and that only the last one is small.

    Raises:
        InvalidInputError: Naming the first part that is wrong.
    """
    asked, stored = tuple(parts), {part.number: part for part in held}
    problem = "no part was named" if not asked else ""
    for number, part in enumerate(asked, start=1):
        if part.number != number:
            problem = f"part {part.number} was named where part {number} is due"
        elif stored.get(number) != part:
            problem = f"the store does not hold part {number} as it was named"
        elif number < len(asked) and part.size_bytes < limits.min_part_size_bytes:
            problem = f"part {number} has only {part.size_bytes} bytes"
        if problem:
            break
    if problem:
        raise errors.InvalidInputError(
            f"{what} can not be joined: {problem}", hint="List the parts and send those that are missing or wrong."
        )


def page_size(limit: int) -> int:
    """How many names one page may hold when `limit` were asked for."""
    if limit < 1:
        raise errors.InvalidInputError(f"a page of {limit} keys can not be listed", hint="Ask for 1 to 1,000.")
    return min(limit, MAX_PAGE)


def folded(key: str, prefix: str, delimiter: str) -> str:
    """The folder that stands for `key` in a listing of `prefix`, or "" if it is shown itself."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return key[: end + len(delimiter)] if end >= 0 else ""


def missing(key: str, url: str) -> errors.NotFoundError:
    """The error for a key that is not there."""
    return errors.NotFoundError(f"there is no object {key} in {url}")


def gone(key: str, upload_id: str, url: str) -> errors.UploadGoneError:
    """The error for an upload that is not there."""
    return errors.UploadGoneError(
        f"there is no upload {upload_id} of {key} in {url}", hint="It was completed or given up: look at the object."
    )


def taken(key: str, url: str) -> errors.AlreadyExistsError:
    """The error for a create that came second."""
    return errors.AlreadyExistsError(f"there is already an object {key} in {url}", hint="Read it and compare.")


def refused(key: str, sent: int, computed: int) -> errors.ChecksumRefusedError:
    """The error for a body that was not what its checksum says."""
    return errors.ChecksumRefusedError(
        f"the bytes sent for {key} have the CRC32C {computed:08x}, not {sent:08x}",
        hint="They changed after they were digested.",
    )


def check_current(info: ObjectInfo, etag: str | None) -> None:
    """Check that an object still is the one a reader began with, if it says which, else raise `ConflictError`."""
    if etag is not None and info.etag != etag:
        raise errors.ConflictError(
            f"{info.key} was replaced while it was read",
            hint="Nothing may replace an object: find out who did, and retry.",
        )


def check_range(info: ObjectInfo, offset: int, length: int) -> None:
    """Check that an object has the bytes asked for, else raise `IntegrityError`."""
    if offset < 0 or length < 0 or offset + length > info.size_bytes:
        raise errors.IntegrityError(
            f"{info.key} has {info.size_bytes} bytes, not the {offset + length} asked for",
            hint="Its receipt and the object disagree: verify this checkpoint.",
        )


def check_small(info: ObjectInfo, limit_bytes: int) -> None:
    """Check that an object may be read whole, else raise `IntegrityError`."""
    if info.size_bytes > limit_bytes:
        raise errors.IntegrityError(
            f"{info.key} has {info.size_bytes} bytes, more than the {limit_bytes} such a record may have",
            hint="It was not written by ckpt-archive: find out who did.",
        )
