"""Small objects that are created once: whoever finds the key taken goes on with what stands there.

So it does not matter whether an earlier try landed and its answer was lost, or somebody else was first: both are answered by
reading, and the caller compares.
"""

from ckpt_archive.errors import AlreadyExistsError, InvalidInputError
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Store, StoredBytes
from ckpt_archive.strictjson import MAX_RECORD_BYTES


def create_once(store: Store, key: str, data: bytes) -> bytes | None:
    """Create the object.

    Returns:
        None if this call is known to have created it, else the bytes that stand there, which may be `data` too.

    Raises:
        InvalidInputError: If no reader would accept a record of that size.
    """
    check_size(key, data)
    try:
        store.create(key, Body.of(data))
    except AlreadyExistsError:
        return read_record(store, key).data
    return None


def read_record(store: Store, key: str) -> StoredBytes:
    """Read a record whole. Raises `NotFoundError`."""
    return store.read(key, limit_bytes=MAX_RECORD_BYTES)


def check_size(key: str, data: bytes) -> None:
    """Refuse a record that no reader would accept.

    Raises:
        InvalidInputError: If it is too long.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise InvalidInputError(
            f"the record {key} would have {len(data)} bytes, more than the {MAX_RECORD_BYTES} that can be read back",
            hint="Write fewer and larger files, or give it fewer labels, metrics and sources.",
        )
