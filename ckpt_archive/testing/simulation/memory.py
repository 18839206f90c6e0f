"""What a restart must find: the story of a run as whoever watched it would tell it.

Only where the story is simple can it be told: all launches on one node, one after the other, nothing spoilt. There a
launch goes on from the last save that was acknowledged, or from one that came after it and whose writer died before it
was told.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ckpt_archive.testing.simulation.diary import Files, Slot


@dataclass(slots=True)
class _Chapter:
    """A launch: what it went on from if somebody chose that, and what it saved since, the last acknowledged one first."""

    chosen: Files | None = None
    perhaps: Files | None = None
    acknowledged: Files | None = None
    tried: list[Files] = field(default_factory=list)


@dataclass(slots=True)
class Memory:
    """The story of a run.

    Attributes:
        steps: The steps that were ever acknowledged.
    """

    steps: set[int] = field(default_factory=set)
    _chapters: dict[int, _Chapter] = field(default_factory=dict)
    _nodes: set[str] = field(default_factory=set)
    _simple: bool = True

    def begins(self, launch: int, node: str, *, zombies: bool) -> None:
        """A launch begins."""
        self._nodes.add(node)
        self._simple = self._simple and not zombies and len(self._nodes) == 1
        self._chapters[launch] = _Chapter()

    def gave_up(self, launch: int) -> None:
        """It could not tell where to go on, or had chosen something that could not be had: who knows what it recorded."""
        del launch
        self._simple = False

    def chose(self, launch: int, files: Files | None) -> None:
        """It went back to this; None if that was gone before anybody could look."""
        self._chapters[launch].chosen = files
        self._simple = self._simple and files is not None

    def may_choose(self, launch: int, files: Files | None) -> None:
        """It has restored this: with its first save it will have gone back to it."""
        self._chapters[launch].perhaps = files
        self._simple = self._simple and files is not None

    def tries(self, launch: int, slot: Slot, files: Files) -> None:
        """It is about to save this."""
        del slot
        self._chapters[launch].tried.append(files)

    def acknowledged(self, launch: int, slot: Slot, files: Files) -> None:
        """It was told that this is staged."""
        chapter = self._chapters[launch]
        chapter.acknowledged, chapter.tried = files, []
        chapter.chosen, chapter.perhaps = chapter.chosen or chapter.perhaps, None
        self.steps.add(slot.step)

    def resumed(self, launch: int, files: Files | None, *, sure: bool) -> None:
        """A launch goes on from this; nothing that was acknowledged is lost."""
        self._simple = self._simple and sure
        if not self._simple:
            return
        allowed = list(self._answers(launch))
        assert files in allowed, (
            f"launch {launch} went on from {_brief(files)}, not from one of {[*map(_brief, allowed)]}"
        )

    def _answers(self, launch: int) -> Iterator[Files | None]:
        for number in sorted((number for number in self._chapters if number < launch), reverse=True):
            chapter = self._chapters[number]
            yield from chapter.tried
            if chapter.acknowledged is not None:
                yield chapter.acknowledged
                return
            if chapter.chosen is not None:
                yield chapter.chosen
                return
            if chapter.tried and chapter.perhaps is not None:
                yield chapter.perhaps
        yield None


def _brief(files: Files | None) -> str:
    return "nothing" if files is None else f"{next(iter(files.values()), b'')[:4].hex()}…"
