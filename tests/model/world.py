"""Two nodes, their trainers and agents, and archives; and what the reference model knows of each of them."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.restore.result import Restored
from ckpt_archive.run import Run
from ckpt_archive.testing.archives import read_tree
from tests.model.local import Decided, Launch, Ring
from tests.model.premises import Premises
from tests.model.reference import Archived, Facts, Refused, Tree, together

NODES = ("a", "b")
SOLO, DUO, PUSHED = "solo", "duo", "pushed"

NAMES = st.sampled_from(["model.bin", "optim.bin", "layers/0/w", "layers/1/w", "ü/Ω.safetensors", "b.json"])
BAD_NAMES = st.sampled_from(
    ["a\x07b", "re\u0301sume\u0301", "zero\u200bwidth", "MODEL.bin", "Layers/2", "back\\slash", "/".join("d" * 33)]
)
CONTENT = st.builds(
    lambda letter, size: letter * size, st.sampled_from([b"x", b"y"]), st.sampled_from([0, 1, 300, 2001])
)
FILES = st.dictionaries(NAMES, CONTENT, min_size=1, max_size=3)
ANY_FILES = st.one_of(FILES, FILES, FILES, st.dictionaries(st.one_of(NAMES, BAD_NAMES), CONTENT, max_size=4))
METRICS = st.dictionaries(
    st.sampled_from(["loss", "λ"]), st.sampled_from([0, 1.5, float("nan"), float("-inf"), 10**30]), max_size=2
)
RULES = st.sampled_from([(1, None), (2, None), (2, 1), (3, 1)])
NUMBER = st.integers(0, 100)


def written(metrics: Mapping[str, Any]) -> str:
    """Metrics as text, in which NaN is NaN."""
    return repr(sorted((name, str(value)) for name, value in metrics.items()))


def facts(metrics: Mapping[str, Any], key: str = "") -> Facts:
    """What a writer says of its share."""
    return {**({"key": key} if key else {}), "metrics": written(metrics)}


class Killed(BaseException):
    """The process is dead."""


@dataclass(eq=False)
class Trainer:
    """A training process."""

    node: str
    name: str
    key: str
    rank: int
    keep: int
    rule: tuple[int, int | None]
    run: Run
    launch: Launch | None = None
    restored: Decided | None = None
    newest: int = 0
    alive: bool = True

    @property
    def writers(self) -> int:
        return 1 if self.name == SOLO else 2


class World(RuleBasedStateMachine):
    """What there is; subclasses say what is done with it."""

    premises: type[Premises] = Premises
    failed = 0
    """Requests that failed because a rule said so, of all examples."""

    def __init__(self) -> None:
        super().__init__()
        shm = Path("/dev/shm")  # a sync costs nothing there
        self.folder = Path(tempfile.mkdtemp(prefix="model-", dir=shm if shm.is_dir() else None))
        self.site = self.premises(self.folder)
        self.nodes = {name: self.site.node(name) for name in NODES}
        self.agents = {name: self.nodes[name].agent() for name in NODES}
        self.archive = self.site.node("office").archive()
        self.archives = {SOLO: Archived(), DUO: Archived(), PUSHED: Archived()}
        self.rings = {(name, run): Ring() for name in NODES for run in (SOLO, DUO)}
        self.trainers: list[Trainer] = []
        self.numbers = 0

    # What is known, and what is asked

    @property
    def now(self) -> float:
        return self.site.clock.monotonic()

    def of(self, run: str) -> Archived | None:
        """The archive's side of a run, while it answers."""
        return None if self.site.down else self.archives[run]

    def ring(self, trainer: Trainer) -> Ring:
        return self.rings[trainer.node, trainer.name]

    def expect(self, does: Callable[[], Any], should: Callable[[], Any]) -> tuple[Any, Any] | None:
        """Do something, and what the model says of it; None if both refuse, alike."""
        self.site.clock.sleep(1)
        wanted, error = None, ""
        try:
            wanted = should()
        except Refused as refused:
            error = str(refused)
        try:
            got = does()
        except CkptArchiveError as raised:
            refusal = raised
        else:
            assert not error, f"{got!r} instead of {error}"
            return got, wanted
        assert type(refusal).__name__ == error, f"{refusal!r} instead of {error or wanted!r}"
        return None

    def check_restored(self, node: str, run: str, restored: Restored | None, found: Decided | None) -> None:
        """The step and bytes that were restored are those that the model knows there."""
        if found is None or restored is None:
            assert (found, restored) == (None, None)
            return
        shares = [] if found.point is None else self.rings[node, run].of(found.point)
        if found.point is not None and shares:
            expected: tuple[int, Tree] = found.point[1], together(share.tree for share in shares)
        else:
            assert found.spot is not None
            expected = found.spot[1], self.archives[run].manifests[found.spot]
        assert restored.step == expected[0]
        assert read_tree(restored.path) == expected[1]

    def new_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def let_work(self, node: str) -> None:
        """One pass, in which everything is due."""
        self.site.clock.sleep(60)
        self.agents[node].step()
        self.worked(node)

    def worked(self, node: str) -> None:
        """What the model says of a pass."""
        for name in (DUO, SOLO):
            ring, archive = self.rings[node, name], self.of(name)
            if archive is not None:
                ring.ship(archive, self.now)
            kept = ring.kept()
            if name == DUO:
                # When another writer has no newer one is for the real code to guess: it may keep more.
                there = set(self.nodes[node].ring(DUO))
                kept = [item for item in ring.shares if item in kept or (item.launch, item.step) in there]
            ring.shares = kept
