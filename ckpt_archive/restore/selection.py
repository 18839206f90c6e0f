"""Which files of a checkpoint are wanted. Rules only."""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import InvalidInputError, NotFoundError
from ckpt_archive.strictjson import encode


@dataclass(frozen=True, slots=True)
class Selection:
    """Files by pattern and by writer.

    Attributes:
        include: Shell patterns (`fnmatch`) on the whole path, in which ``*`` also matches ``/``; empty for all files.
        rank: Only this writer's files; None for all writers.
    """

    include: tuple[str, ...] = ()
    rank: int | None = None

    @classmethod
    def of(cls, include: str | Iterable[str], rank: int | None) -> "Selection":
        """From what a caller may give: one pattern or several."""
        patterns = (include,) if isinstance(include, str) else tuple(include)
        return cls(tuple(pattern for pattern in patterns if pattern), rank)

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.include and self.rank is None

    @property
    def suffix(self) -> str:
        """Tells two selections of one checkpoint apart in folder names; "" for all of it."""
        if self.everything:
            return ""
        return "-" + sha256_hex(encode([sorted(self.include), self.rank]))[:8]

    def takes(self, path: str) -> bool:
        """Whether a file of a wanted writer is wanted."""
        return not self.include or any(fnmatch.fnmatchcase(path, pattern) for pattern in self.include)

    def check(self, paths: Iterable[str], place: object) -> None:
        """Refuse to have chosen nothing.

        Raises:
            NotFoundError: If patterns were given and no path is taken.
        """
        there = list(paths)
        if self.include and not any(self.takes(path) for path in there):
            raise NotFoundError(
                f"no file of {place} matches {' or '.join(map(repr, self.include))}",
                hint=f"It holds {', '.join(map(repr, there[:5]))}{', …' if len(there) > 5 else ''}.",
            )

    def check_rank(self, writers: int) -> None:
        """Refuse a writer that the checkpoint does not have.

        Raises:
            InvalidInputError: If `rank` is not below `writers`.
        """
        if self.rank is not None and not 0 <= self.rank < writers:
            raise InvalidInputError(
                f"there is no rank {self.rank} among {writers} writers", hint=f"Use 0 to {writers - 1}."
            )
