"""What an archive and its nodes must answer, as plain dicts and lists; written from docs/format.md and docs/design alone.

It has no files, no requests, no crashes and no retries: what is done is done at once. Errors are named by their class.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Tree = Mapping[str, bytes]
Spot = tuple[int, int]
"""(attempt, step) in the archive."""
Point = tuple[int, int]
"""(local launch, step) in a ring."""


Facts = Mapping[str, str]
"""Metrics and labels, as text."""


class Refused(Exception):  # noqa: N818  (what the product raises is an error; that it does is not)
    """The product must raise the error of this name."""


@dataclass
class Attempt:
    """A launch as the archive knows it."""

    number: int
    key: str
    recorded: float
    origin: Spot | None
    branch: int
    answered: tuple[int, int | None] | None  # what "latest" was when it began
    late: bool


@dataclass
class Archived:
    """One run in the archive."""

    attempts: list[Attempt] = field(default_factory=list)
    receipts: dict[Spot, dict[int, tuple[str, int, Tree]]] = field(default_factory=dict)
    manifests: dict[Spot, Tree] = field(default_factory=dict)
    facts: dict[Spot, dict[int, Facts]] = field(default_factory=dict)  # what each writer said
    gaps: set[Spot] = field(default_factory=set)

    def newest_of(self, attempt: int) -> Spot | None:
        return max((spot for spot in self.manifests if spot[0] == attempt), default=None)

    def on_time(self) -> Attempt | None:
        return next((item for item in reversed(self.attempts) if not item.late), None)

    def latest(self) -> Spot | None:
        """The newest checkpoint of the newest attempt that has one, but nothing from before the last choice."""
        last = self.on_time()
        if last is None:
            return None
        for item in reversed(self.attempts):
            newest = self.newest_of(item.number)
            if newest is not None and not item.late and item.number >= last.branch:
                return newest
        if last.answered is None:
            return None
        attempt, step = last.answered
        return self.newest_of(attempt) if step is None else (attempt, step)

    def find(self, step: int | None = None) -> Spot:
        """A step that is committed, of the newest attempt that has it; "latest" for None."""
        spot = (
            self.latest() if step is None else max((item for item in self.manifests if item[1] == step), default=None)
        )
        if spot is None or spot not in self.manifests:
            raise Refused("NotFoundError")
        return spot

    def attempt_of(self, key: str) -> Attempt | None:
        return next((item for item in reversed(self.attempts) if item.key == key), None)

    def record(
        self,
        key: str,
        now: float,
        *,
        origin: Spot | None = None,
        chosen: bool = False,
        ended_since: float | None = None,  # when a launch began that has ended already
        after: int = -1,
        anew: bool = False,
    ) -> Attempt:
        """The record of a launch, found or created."""
        known = self.attempt_of(key)
        if known is not None and not anew:
            return known
        number, last, latest = len(self.attempts), self.on_time(), self.latest()
        late = ended_since is not None and last is not None and last.number > after and last.recorded > ended_since
        branch = 0 if last is None else last.branch
        answered: tuple[int, int | None] | None = None
        if late and last is not None:
            answered = (last.number, None)
        elif chosen and origin is not None:
            branch, answered = number, origin
        elif latest is not None:
            answered = (latest[0], None) if latest[0] >= branch else (last.answered if last is not None else None)
        elif last is not None:
            answered = last.answered
        self.attempts.append(Attempt(number, key, now, origin, branch, answered, late))
        return self.attempts[-1]

    def contribute(self, spot: Spot, rank: int, key: str, writers: int, tree: Tree, facts: Facts) -> str:
        """One writer's share: "awaiting", "committed" or "already-committed"."""
        shares = self.receipts.setdefault(spot, {})
        if rank in shares and shares[rank][2] != tree:
            raise Refused("ConflictError")
        if any(item[:2] != (key, writers) for item in shares.values()):
            raise Refused("ConflictError")
        shares[rank] = (key, writers, tree)
        self.facts.setdefault(spot, {}).setdefault(rank, facts)
        if spot in self.manifests:
            return "already-committed"
        if len(shares) < writers:
            return "awaiting"
        self.manifests[spot] = together(item[2] for _, item in sorted(shares.items()))
        return "committed"


def together(trees: Iterable[Tree]) -> Tree:
    """The tree to which several writers contribute."""
    whole: dict[str, bytes] = {}
    for tree in trees:
        if any(whole.get(path, data) != data for path, data in tree.items()):
            raise Refused("ConflictError")
        whole |= tree
    if not is_a_tree(whole):
        raise Refused("ConflictError")
    return whole


def is_a_tree(paths: Iterable[str]) -> bool:
    """Whether files of these names may stand in one checkpoint (docs/format.md, file names)."""
    spelled: dict[str, set[str]] = {}
    files = set(paths)
    for path in files:
        parts = path.split("/")
        if len(path.encode()) > 1000 or len(parts) > 32 or unicodedata.normalize("NFC", path) != path:
            return False
        if any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts) or "\\" in path:
            return False
        if any(unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") for letter in path):
            return False
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            spelled.setdefault(name.casefold(), set()).add(name)
            if depth < len(parts) and name in files:
                return False
    return all(len(names) == 1 for names in spelled.values())
