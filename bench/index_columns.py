"""Columns of made-up rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from index_world import digests

# Domains of digests: what they are of.
MANIFEST, FILE, PACK, LAYOUT, CONFIG, EVENT, BATCH, ARTIFACT, COMMIT, POLICY, SOURCE, KEY = range(10, 22)
# Domains of chance.
NOISE = range(30, 50)

Columns = dict[str, pa.Array]


@dataclass(frozen=True)
class Part:
    """Checkpoints of a month: launch and ordinal of each, in the order of the table, and when it was committed."""

    launch: np.ndarray
    ordinal: np.ndarray
    committed: np.ndarray

    def only(self, mask: np.ndarray) -> "Part":
        return Part(self.launch[mask], self.ordinal[mask], self.committed[mask])


class Texts:
    """A column of few different texts: numbers into a list."""

    def __init__(self, values: list[str]) -> None:
        self.values = pa.array(values, pa.string())

    def __call__(self, numbers: np.ndarray, mask: np.ndarray | None = None) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32), mask=mask), self.values)


def hexes(domain: int, numbers: np.ndarray, mask: np.ndarray | None = None, words: int = 4) -> pa.Array:
    """A column of digests; masked ones are NULL."""
    made = digests(domain, numbers if mask is None else numbers[~mask], words)
    kept = (
        np.full(len(numbers), words * 16, np.int32) if mask is None else np.where(mask, 0, words * 16).astype(np.int32)
    )
    offsets = np.zeros(len(numbers) + 1, np.int32)
    np.cumsum(kept, out=offsets[1:])
    valid = None if mask is None else pa.array(~mask).buffers()[1]
    return pa.Array.from_buffers(pa.string(), len(numbers), [valid, pa.py_buffer(offsets), pa.py_buffer(made)])


def times(micros: np.ndarray, mask: np.ndarray | None = None) -> pa.Array:
    return pa.array(micros.astype(np.int64), mask=mask).cast(pa.timestamp("us", "UTC"))
