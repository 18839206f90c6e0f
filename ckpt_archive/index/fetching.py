"""Records by their keys, many at a time: from memory if they were just read, else from the store; what is wrong is a value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ckpt_archive import errors
from ckpt_archive.executor import Executor
from ckpt_archive.index import limits
from ckpt_archive.store.protocol import Store

_IN_FLIGHT = 16


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

        def read(index: int) -> tuple[int, bytes | Problem]:
            return index, self._read(keys[index], limits.SMALL_RECORD_BYTES)

        for index, data in self._executor.map_unordered(read, missing, limit=_IN_FLIGHT):
            found[index] = data
        for index in missing:
            if isinstance(found[index], _Large):
                found[index] = self._read(keys[index], limits.MAX_RECORD_BYTES)
        return [
            data if data is not None else Problem(f"{key} is missing") for key, data in zip(keys, found, strict=True)
        ]

    def sized(self, wanted: Sequence[tuple[str, int]]) -> list[bytes | Problem]:
        """Records whose length is known; one that is longer is not read."""
        found: list[bytes | Problem] = [Problem("")] * len(wanted)

        def read(index: int) -> tuple[int, bytes | Problem]:
            key, size_bytes = wanted[index]
            kept = None if self._kept is None else self._kept.take(key)
            return index, kept if kept is not None else self._read(key, size_bytes)

        for index, data in self._executor.map_unordered(read, range(len(wanted)), limit=_IN_FLIGHT):
            found[index] = data
        return found

    def _read(self, key: str, limit_bytes: int) -> bytes | Problem:
        try:
            return self._store.read(key, limit_bytes=limit_bytes).data
        except errors.NotFoundError:
            return Problem(f"{key} is missing")
        except (errors.IntegrityError, errors.InvalidInputError) as error:
            return _Large(error.message)


class _Large(Problem):
    """It may be too long for its turn."""


Fetch = Callable[[Sequence[str]], list[bytes | Problem]]
