"""A set of texts that takes about twenty bytes for each, however long they are: all keys of an archive fit into memory."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import overload

_WIDTH = 16
_BUCKETS = 256
# Merging is the smaller part of adding, and what is not merged yet the smaller part of memory.
_FEWEST_FRESH = 64
_FRESH_SHARE = 8


class DigestSet:
    """Remembers which texts it was given, by digests of 128 bits: two are hardly ever mistaken for one.

    Args:
        texts: The first ones.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        # Of each bucket: digests in order, one after the other; and those that came since.
        self._sorted = [b""] * _BUCKETS
        self._fresh: list[set[bytes]] = [set() for _ in range(_BUCKETS)]
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Remember a text."""
        digest = _digest(text)
        bucket = digest[0]
        if _is_among(self._sorted[bucket], digest):
            return
        fresh = self._fresh[bucket]
        fresh.add(digest)
        if len(fresh) > max(_FEWEST_FRESH, len(self._sorted[bucket]) // (_WIDTH * _FRESH_SHARE)):
            self._sorted[bucket] = b"".join(sorted([*_Digests(self._sorted[bucket]), *fresh]))
            fresh.clear()

    def __contains__(self, text: str) -> bool:
        digest = _digest(text)
        bucket = digest[0]
        return digest in self._fresh[bucket] or _is_among(self._sorted[bucket], digest)

    def __len__(self) -> int:
        return sum(map(len, self._fresh)) + sum(map(len, self._sorted)) // _WIDTH


class _Digests(Sequence[bytes]):
    """Packed digests, seen as a sequence."""

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def __len__(self) -> int:
        return len(self._packed) // _WIDTH

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._packed[index * _WIDTH : (index + 1) * _WIDTH]


def _is_among(packed: bytes, digest: bytes) -> bool:
    if not packed:
        return False
    digests = _Digests(packed)
    index = bisect_left(digests, digest)
    return index < len(digests) and digests[index] == digest


def _digest(text: str) -> bytes:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=_WIDTH).digest()
