"""What the rows of a batch depend on beside its records: what the log said before. A function of the log, nothing else.

So it is the same whether it was carried on from batch to batch, read back from the tables, or made by a replay; and rows
made by two projectors, or by a rebuild years later, are equal.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from ckpt_archive.index.limits import MAX_ANCESTORS
from ckpt_archive.log.digests import DigestSet
from ckpt_archive.place import Place
from ckpt_archive.strictjson import encode


def line_node(run: str, attempt: int) -> str:
    """A line of launches."""
    return f"line:{run}/{attempt}"


def artifact_node(digest: str) -> str:
    """A file or model that was made elsewhere."""
    return f"artifact:{digest}"


def source_node(uri: str) -> str:
    """Something that was read."""
    return f"source:{uri}"


@dataclass(frozen=True, slots=True)
class Way:
    """A way from a node to an ancestor.

    Attributes:
        descendant: Node.
        ancestor: Node.
        depth: How many edges.
        leaves: Where it leaves the ancestor; None for what has no steps.
    """

    descendant: str
    ancestor: str
    depth: int
    leaves: Place | None


class Closure:
    """All ancestors of every node, by the shortest way, kept as edges come in any order."""

    def __init__(self) -> None:
        self._ancestors: dict[str, dict[str, tuple[int, Place | None]]] = {}
        self._descendants: dict[str, set[str]] = {}
        self.dropped = 0

    def __contains__(self, node: str) -> bool:
        return node in self._ancestors or node in self._descendants

    def load(self, way: Way) -> None:
        """A way that is known already; of several between two nodes the shortest counts."""
        known = self._ancestors.get(way.descendant, {}).get(way.ancestor)
        if known is None or way.depth < known[0]:
            self._set(way)

    def add_edge(self, child: str, parent: str, leaves: Place | None) -> list[Way]:
        """The ways that are new, or shorter than all before, by an edge from `child` to `parent`.

        At most `MAX_ANCESTORS` of a node are followed; what is left out is counted in `dropped`.
        """
        above = [
            (parent, 0, leaves),
            *((node, depth, at) for node, (depth, at) in self._ancestors.get(parent, {}).items()),
        ]
        below = [
            (child, 0),
            *((node, self._ancestors[node][child][0]) for node in sorted(self._descendants.get(child, ()))),
        ]
        found: list[Way] = []
        for descendant, depth_below in below:
            ancestors = self._ancestors.get(descendant, {})
            for ancestor, depth_above, place in above:
                depth = depth_below + 1 + depth_above
                known = ancestors.get(ancestor)
                if ancestor == descendant or (known is not None and known[0] <= depth):
                    continue
                if known is None and len(ancestors) >= MAX_ANCESTORS:
                    self.dropped += 1
                    continue
                way = Way(descendant, ancestor, depth, place)
                self._set(way)
                ancestors = self._ancestors[descendant]
                found.append(way)
        return found

    def _set(self, way: Way) -> None:
        self._ancestors.setdefault(way.descendant, {})[way.ancestor] = (way.depth, way.leaves)
        self._descendants.setdefault(way.ancestor, set()).add(way.descendant)


@dataclass(slots=True)
class State:
    """What all batches up to one say.

    Attributes:
        number: Of the last one.
        runs: What is said about each run: a digest of it.
        sources: The smallest step that names each source of each launch.
        lines: The line of each launch that is known.
        closure: Of the lineage.
        layouts: Tables of tensors that are known.
    """

    number: int = 0
    runs: dict[str, int] = field(default_factory=dict)
    sources: dict[bytes, int] = field(default_factory=dict)
    lines: dict[tuple[str, int], int] = field(default_factory=dict)
    closure: Closure = field(default_factory=Closure)
    layouts: DigestSet = field(default_factory=DigestSet)

    def line_of(self, run: str, attempt: int) -> int:
        """The first attempt of a launch's line; of one that nobody has told of yet itself."""
        return self.lines.get((run, attempt), attempt)


def source_key(run: str, attempt: int, said: Iterable[object]) -> bytes:
    """What makes two mentions of a source the same: so many bits that two will not be taken for one."""
    return hashlib.blake2b(encode([run, attempt, *said]), digest_size=16).digest()
