"""Legal holds of the bucket itself, on all objects of a checkpoint: against everybody, also against rules that are not ours.

The last object is held when all others are, and released before them: so that one can tell from that one.
"""

from collections.abc import Sequence

from ckpt_archive.commit import catalog
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.plans.survey import data_objects
from ckpt_archive.store.bucket import Bucket

_OBJECTS_IN_FLIGHT = 8


def locking_bucket(connection: Connection) -> Bucket | None:
    """The archive's bucket, if it has Object Lock."""
    bucket = connection.bucket
    return bucket if bucket is not None and bucket.features().object_lock else None


def hold_objects(machine: Machine, connection: Connection, bucket: Bucket, place: Place) -> int:
    """Hold a checkpoint's objects, also those that are held; how many."""
    *others, last = [*_keys(machine, connection, place)] or [""]
    count = _write(machine, bucket, others, on=True)
    return count + (_write(machine, bucket, [last], on=True) if last else 0)


def release_objects(machine: Machine, connection: Connection, bucket: Bucket, place: Place) -> int:
    """Release a checkpoint's objects, whoever had held them; how many."""
    *others, last = [*_keys(machine, connection, place)] or [""]
    count = _write(machine, bucket, [last], on=False) if last else 0
    return count + _write(machine, bucket, others, on=False)


def _keys(machine: Machine, connection: Connection, place: Place) -> list[str]:
    """All objects of a checkpoint, always in the same order: what lies where its data is, or what it has adopted."""
    keys = [info.key for info in data_objects(connection.store, place)]
    if keys:
        return keys
    try:
        return catalog.named_objects(connection.store, machine.executor, place)
    except (IntegrityError, InvalidInputError, NotFoundError):
        return []  # its records are damaged, which is told elsewhere


def _write(machine: Machine, bucket: Bucket, keys: Sequence[str], *, on: bool) -> int:
    """Hold objects, or release them; how many are there."""

    def write(key: str) -> bool:
        try:
            bucket.write_legal_hold(key, on=on)
        except NotFoundError:
            return False
        return True

    return sum(machine.executor.map_unordered(write, keys, limit=_OBJECTS_IN_FLIGHT))
