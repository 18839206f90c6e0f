"""Records by their keys, many at a time: from memory if they were just read, else from the store. A problem is a value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ckpt_archive import errors
from ckpt_archive.executor import Executor
from ckpt_archive.index import limits
from ckpt_archive.store.protocol import Store

_IN_FLIGHT = 16
_IN_A_ROW = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a record could not be read, for people."""

    text: str


class Kept(Protocol):
    """Records that were read a moment ago."""

    def take(self, key: str) -> bytes | None:
        """The bytes, once; None if they are not here."""
        ...


class Fetcher:
    """Reads records.

    Args:
        store: Where the archive is.
        executor: Runs the reads.
        kept: What need not be read again.
    """

    def __init__(self, store: Store, executor: Executor, kept: Kept | None = None) -> None:
        self._store = store
        self._executor = executor
        self._kept = kept

    def records(self, keys: Sequence[str]) -> list[bytes | Problem]:
        """These records, in this order. One that is large is read alone, so memory is bounded by their number.

        Raises:
            UnavailableError: If the store does not answer.
        """
        found: list[bytes | Problem | None] = [None if self._kept is None else self._kept.take(key) for key in keys]
        missing = [index for index, data in enumerate(found) if data is None]

        for index, data in self._read_all([(index, keys[index], limits.SMALL_RECORD_BYTES) for index in missing]):
            found[index] = data
        for index in missing:
            if isinstance(found[index], _Large):
                found[index] = self._read(keys[index], limits.MAX_RECORD_BYTES)
        return [
            data if data is not None else Problem(f"{key} is missing") for key, data in zip(keys, found, strict=True)
        ]

    def sized(self, wanted: Sequence[tuple[str, int]]) -> list[bytes | Problem]:
        """Records whose length is known; one that is longer is not read."""
        found: list[bytes | Problem | None] = [
            None if self._kept is None else self._kept.take(key) for key, _ in wanted
        ]
        missing = [(index, *wanted[index]) for index, data in enumerate(found) if data is None]
        for index, data in self._read_all(missing):
            found[index] = data
        return [
            data if data is not None else Problem(f"{key} is missing")
            for (key, _), data in zip(wanted, found, strict=True)
        ]

    def _read_all(self, wanted: Sequence[tuple[int, str, int]]) -> Iterator[tuple[int, bytes | Problem]]:
        """These records, by index, in any order; to hand each to a thread alone would cost more than reading it."""
        each = min(_IN_A_ROW, max(1, len(wanted) // (2 * _IN_FLIGHT)))

        def read(some: Sequence[tuple[int, str, int]]) -> list[tuple[int, bytes | Problem]]:
            return [(index, self._read(key, limit_bytes)) for index, key, limit_bytes in some]

        runs = (wanted[start : start + each] for start in range(0, len(wanted), each))
        for some in self._executor.map_unordered(read, runs, limit=_IN_FLIGHT):
            yield from some

    def _read(self, key: str, limit_bytes: int) -> bytes | Problem:
        try:
            return self._store.read(key, limit_bytes=limit_bytes).data
        except errors.NotFoundError:
            return Problem(f"{key} is missing")
        except (errors.IntegrityError, errors.InvalidInputError) as error:
            return _Large(error.message)


class _Large(Problem):
    """It may be too long for its turn."""
