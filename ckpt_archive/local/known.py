"""What a process that looks again and again has already read: records that are written once, by the name they stand under.

A look at the name spares reading the record, and walking what it describes. Whoever is about to do what can not be undone
forgets it all first and looks afresh.
"""

from typing import TypeVar

from ckpt_archive.disk.protocol import FileStat

T = TypeVar("T")

# More than any ring holds; a process that works for months forgets what was evicted long ago.
_MOST = 4096


class Known:
    """Values by path, each as long as the file under that name is the same: inode, size and time."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[FileStat, object]] = {}

    def value(self, path: str, stat: FileStat, kind: type[T]) -> T | None:
        """What was read there, if nothing has changed since."""
        found = self._values.get(path)
        if found is None or found[0] != stat or not isinstance(found[1], kind):
            return None
        return found[1]

    def learn(self, path: str, stat: FileStat, value: object) -> None:
        """Remember what was read; `stat` was asked before it was."""
        if len(self._values) >= _MOST:
            self._values.clear()
        self._values[path] = (stat, value)

    def forget(self) -> None:
        """From here on everything is read anew."""
        self._values.clear()
