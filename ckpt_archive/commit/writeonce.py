"""Small objects that are created once: whoever finds the key taken goes on with what stands there.

So it does not matter whether an earlier try landed and its answer was lost, or somebody else was first: both are answered by
reading, and the caller compares.
"""

from ckpt_archive.errors import AlreadyExistsError, IntegrityError, InvalidInputError
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


def check_as_sent(store: Store, key: str, data: bytes) -> None:
    """Read a record back from a store that does not compare what it is sent with a checksum.

    Raises:
        IntegrityError: If other bytes stand there.
    """
    if read_record(store, key).data != data:
        raise IntegrityError(
            f"{key}, read back, has other bytes than were sent",
            hint="They changed on the way or in the store, which does not check them: have the storage owner remove this "
            "object, then archive again.",
        )


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
