"""The row of batches `log/seq/1, 2, 3 …`: where it ends, what it holds, and how the next one is added.

A batch is created only by somebody who has read the one before, conditionally: so there is no gap, and of many who add at
once one is first; the others go on from his.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.commit import layout
from ckpt_archive.commit.writeonce import check_as_sent, create_once, read_record
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import IntegrityError, NotFoundError
from ckpt_archive.executor import Executor
from ckpt_archive.log.batch import Batch
from ckpt_archive.store.protocol import Store

_READS_IN_FLIGHT = 16
# A full batch takes a few megabytes: so many of them may be in memory at once.
_READ_AHEAD = 16

_HINT = "The log was changed behind its back: restore this object from a copy of the bucket."


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch as it stands in the store.

    Attributes:
        batch: What it says.
        sha256: Of its bytes: what the next one names.
        modified: When it was created; None where the store does not tell.
    """

    batch: Batch
    sha256: str
    modified: datetime | None = None

    @property
    def number(self) -> int:
        """Its number."""
        return self.batch.number


def newest_number(store: Store, hint: int = 0) -> int:
    """The number of the newest batch; 0 if there is none.

    Costs one listing if `hint` is right or less than 1,000 batches behind. Without one: about 2 log₂ n requests.

    Args:
        store: Where the archive is.
        hint: A number that is known to have been sealed; 0 for none.
    """
    if hint > 0:
        page = store.list(layout.SEQUENCE, start_after=layout.sequence_batch(hint - 1) if hint > 1 else "")
        numbers = [number for info in page.objects if (number := _number(info.key))]
        if numbers and page.next_token is None:
            return max(numbers)
        if numbers:
            return _gallop(store, max(numbers))
        # Whoever gave the hint has seen another archive.
    return _gallop(store, 0)


def _number(key: str) -> int:
    try:
        return layout.sequence_number(key)
    except IntegrityError:  # Whatever it is, no batch follows from it.
        return 0


def _gallop(store: Store, known: int) -> int:
    """The newest number, if `known` is sealed (or 0)."""
    low, stride = known, 1
    while _is_sealed(store, low + stride):
        low, stride = low + stride, stride * 2
    high = low + stride
    while high - low > 1:
        middle = (low + high) // 2
        if _is_sealed(store, middle):
            low = middle
        else:
            high = middle
    return low


def _is_sealed(store: Store, number: int) -> bool:
    try:
        store.head(layout.sequence_batch(number))
    except NotFoundError:
        return False
    return True


def read_batch(store: Store, archive_id: str, number: int) -> Sealed:
    """One batch.

    Raises:
        IntegrityError: If it is missing, malformed, or another batch than its key says.
        InvalidInputError: If it needs a newer release.
    """
    key = layout.sequence_batch(number)
    try:
        stored = read_record(store, key)
    except NotFoundError as error:
        raise IntegrityError(f"batch {number} of the log, {key}, is missing", hint=_HINT) from error
    return _decoded(stored.data, key, archive_id, number, stored.info.modified)


def _decoded(data: bytes, key: str, archive_id: str, number: int, modified: datetime | None) -> Sealed:
    try:
        batch = Batch.decode(data, key)
    except IntegrityError as error:
        raise IntegrityError(f"batch {number} of the log is damaged: {error.message}", hint=_HINT) from error
    if batch.archive_id != archive_id:
        raise IntegrityError(
            f"{key} is of the archive {batch.archive_id}, not of this one, {archive_id}: it is what was there before",
            hint="Move log/ elsewhere, or give the new archive a prefix of its own.",
        )
    if batch.number != number:
        raise IntegrityError(f"{key} holds batch {batch.number}", hint=_HINT)
    return Sealed(batch, sha256_hex(data), modified)


def read_batches(store: Store, executor: Executor, archive_id: str, first: int, last: int) -> Iterator[Sealed]:
    """The batches from `first` to `last`, in order, each checked against the one before it.

    Some are read ahead, in parallel; memory does not depend on how many are asked for.

    Raises:
        IntegrityError: As `read_batch`; also if one does not follow the one before.
    """
    before: Sealed | None = None

    def read(number: int) -> Sealed:
        return read_batch(store, archive_id, number)

    for start in range(first, last + 1, _READ_AHEAD):
        numbers = range(start, min(start + _READ_AHEAD, last + 1))
        found = {sealed.number: sealed for sealed in executor.map_unordered(read, numbers, limit=_READS_IN_FLIGHT)}
        for number in numbers:
            sealed = found.pop(number)
            if before is not None:
                check_follows(before, sealed)
            yield sealed
            before = sealed


def check_follows(before: Sealed, after: Sealed) -> None:
    """Check that a batch is the one that was added to another.

    Raises:
        IntegrityError: If not.
    """
    batch = after.batch
    if batch.previous != before.sha256:
        problem = f"names {batch.previous or 'nothing'} as the batch before, which has the SHA-256 {before.sha256}"
    elif batch.first_entry != before.batch.end_entry:
        problem = f"begins at entry {batch.first_entry}, but {before.batch.end_entry} stand before it"
    elif batch.sealed_at < before.batch.sealed_at:
        problem = "was sealed before the one before it"
    else:
        return
    raise IntegrityError(f"batch {batch.number} of the log {problem}", hint=_HINT)


def add_batch(store: Store, batch: Batch, *, read_back: bool = False) -> tuple[bool, Sealed]:
    """Add a batch, if nobody has added another one meanwhile.

    Args:
        store: Where the archive is.
        batch: The next one.
        read_back: Whether it is read again once it is created: for a store that does not compare what it is sent with a
            checksum.

    Returns:
        Whether `batch` stands now, and the batch of that number that stands.

    Raises:
        IntegrityError: If what stands there is no batch of this archive.
        UnavailableError: If the store does not answer: it may have been added.
    """
    key = layout.sequence_batch(batch.number)
    data = batch.encode()
    there = create_once(store, key, data)
    if there is not None and there != data:
        return False, _decoded(there, key, batch.archive_id, batch.number, None)
    if there is None and read_back:
        check_as_sent(store, key, data)
    return True, Sealed(batch, sha256_hex(data))
