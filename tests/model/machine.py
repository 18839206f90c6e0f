"""Trainers, agents and people do as they please with the real code; the reference model says what must come of it."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis import target
from hypothesis.errors import InvalidArgument
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from ckpt_archive.errors import CkptArchiveError, NotFoundError, UnavailableError
from ckpt_archive.local.launches import load_launches
from ckpt_archive.promotion import Every
from ckpt_archive.restore.result import Restored
from ckpt_archive.run import Run
from ckpt_archive.ship.push import PushReport
from ckpt_archive.testing.archives import read_tree, write_tree
from ckpt_archive.testing.hooked import Request
from ckpt_archive.testing.site import write
from tests.model.premises import Premises
from tests.model.reference import (
    Archived,
    Decided,
    Facts,
    Launch,
    Promotes,
    Refused,
    Ring,
    Spot,
    Tree,
    is_a_tree,
    together,
)

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


class Machine(RuleBasedStateMachine):
    """Everything on a store in memory; subclasses choose another one."""

    premises: type[Premises] = Premises
    failed = 0
    """Requests that failed because a rule said so, of all examples."""
    solos = Bundle("solos")
    duos = Bundle("duos")

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

    def teardown(self) -> None:
        """The end: everything that was promised is there."""
        try:
            self.site.down = False
            self.verify_and_examine()
            with suppress(InvalidArgument):  # outside of a search
                target(float(sum(len(model.manifests) for model in self.archives.values())), label="committed")
        finally:
            for trainer in self.trainers:
                trainer.run.finish()
            self.site.close()
            shutil.rmtree(self.folder)

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

    # Trainers

    @rule(target=solos, node=st.sampled_from(NODES), keep=st.integers(1, 3), every=RULES)
    def start_solo(self, node: str, keep: int, every: tuple[int, int | None]) -> Trainer:
        return self.start(node, SOLO, f"key-{self.new_number()}", 0, keep, every)

    @initialize(target=solos, keep=st.integers(1, 3), every=RULES)
    def two_begin(self, keep: int, every: tuple[int, int | None]) -> Any:
        return multiple(*(self.start_solo(node, keep, every) for node in NODES))

    @initialize(target=duos)
    def a_pair_begins(self) -> Any:
        return self.start_duo((2, 1))

    @rule(target=solos, node=st.sampled_from(NODES))
    def start_solo_again(self, node: str) -> Any:
        """With the key of the newest launch, if that has ended."""
        launches = self.rings[node, SOLO].launches
        if not launches or launches[-1].living:
            return multiple()
        for before in self.trainers:
            if before.node == node and before.key == launches[-1].key:
                return self.start(node, SOLO, before.key, 0, before.keep, before.rule)
        return multiple()

    @rule(target=duos, rule=st.sampled_from([(1, None), (2, 1)]))
    def start_duo(self, rule: tuple[int, int | None]) -> Any:
        for trainer in self.trainers:
            if trainer.name == DUO:
                self.end(trainer)
        key = f"key-{self.new_number()}"
        return multiple(*(self.start(node, DUO, key, rank, 2, rule) for rank, node in enumerate(NODES)))

    def start(self, node: str, name: str, key: str, rank: int, keep: int, every: tuple[int, int | None]) -> Trainer:
        writers = 1 if name == SOLO else 2
        run = self.nodes[node].run(
            name,
            launch_key=key,
            rank=rank,
            writers=writers,
            keep_local=keep,
            promote=Every(*every),
            labels={"key": key},
        )
        trainer = Trainer(node, name, key, rank, keep, every, run)
        self.trainers.append(trainer)
        return trainer

    @rule(trainer=consumes(solos))
    def end_solo(self, trainer: Trainer) -> None:
        self.end(trainer)

    @rule(trainer=st.one_of(solos, duos), works=st.booleans(), last=st.booleans())
    def flush(self, trainer: Trainer, works: bool, last: bool) -> None:
        """Wait for a moment, at the end perhaps, in which the agent works or does not."""
        if not trainer.alive:
            return
        self.site.clock.sleep(60)
        ring = self.ring(trainer)
        waits = any(share.pinned for share in ring.shares)

        def work() -> None:
            self.site.clock.meanwhile = lambda: None  # one pass; and the agent itself may sleep
            self.agents[trainer.node].step()

        if works:
            self.site.clock.meanwhile = work
        try:
            done = (trainer.run.finish if last else trainer.run.flush)(timeout_seconds=0.15)
        finally:
            self.site.clock.meanwhile = lambda: None
        if works and waits:
            self.worked(trainer.node)
        left = [share for share in ring.shares if share.pinned]
        assert done == (not left), f"flush says {done}, and {left} are left"
        if last:
            self.end(trainer)

    def end(self, trainer: Trainer) -> None:
        trainer.run.finish()
        if trainer.alive and trainer.launch is not None:
            trainer.launch.living -= 1
        trainer.alive = False

    def begun(self, trainer: Trainer) -> Launch:
        """The model's launch of a trainer, begun if need be."""
        if trainer.launch is None:
            trainer.launch = self.ring(trainer).begin(trainer.key, trainer.writers, trainer.keep, self.now)
        return trainer.launch

    @rule(trainer=solos, ahead=st.sampled_from([1, 1, 1, 2, 0]), files=ANY_FILES, metrics=METRICS)
    def save_solo(self, trainer: Trainer, ahead: int, files: Tree, metrics: Mapping[str, Any]) -> None:
        self.save(trainer, trainer.newest + ahead, files, metrics)

    @rule(
        trainer=duos, ahead=st.sampled_from([1, 1, 1, 0]), content=CONTENT, shared=st.sampled_from([b"1", b"1", b"2"])
    )
    def save_duo(self, trainer: Trainer, ahead: int, content: bytes, shared: bytes) -> None:
        self.save(trainer, trainer.newest + ahead, {f"rank-{trainer.rank}": content, "config.json": shared}, {})

    def save(self, trainer: Trainer, step: int, files: Tree, metrics: Mapping[str, Any]) -> None:
        if not trainer.alive:
            return
        checkpoint = trainer.run.checkpoint(step, metrics=metrics)
        with checkpoint:
            write(checkpoint, files)
        ring, launch = self.ring(trainer), self.begun(trainer)
        if trainer.restored is not None:
            if launch.decided is None and not any(share.launch == launch.ordinal for share in ring.shares):
                launch.decided = trainer.restored
            trainer.restored = None
        if not is_a_tree(files) or not (files or trainer.writers > 1):
            expected = False, False
            ring.missed[launch.ordinal, step, trainer.rank] = None
        else:
            expected = ring.seal(launch, step, trainer.rank, files, Promotes(*trainer.rule), facts(metrics, launch.key))
            trainer.newest = step
        assert (checkpoint.staged, checkpoint.duplicate) == expected

    @rule(trainer=solos)
    def resume_solo(self, trainer: Trainer) -> None:
        if trainer.alive:
            ring, launch = self.ring(trainer), self.begun(trainer)
            self.restore_as(trainer, trainer.run.resume, lambda: ring.resume(launch, self.of(SOLO), self.now))

    @rule(trainer=solos)
    def restore_latest(self, trainer: Trainer) -> None:
        if trainer.alive:
            ring, launch = self.ring(trainer), self.begun(trainer)
            self.restore_as(trainer, trainer.run.restore, lambda: ring.restore_latest(launch, self.of(SOLO), self.now))

    @rule(trainer=duos)
    def resume_duo(self, trainer: Trainer) -> None:
        if trainer.alive:
            ring, launch = self.ring(trainer), self.begun(trainer)
            self.restore_as(
                trainer,
                trainer.run.resume,
                lambda: ring.resume_recorded(launch, trainer.rank, self.of(DUO), self.now),
            )

    @rule(trainer=solos, step=st.integers(1, 6))
    def restore_solo(self, trainer: Trainer, step: int) -> None:
        if trainer.alive:
            ring = self.ring(trainer)
            found = self.restore_as(trainer, lambda: trainer.run.restore(step), lambda: ring.find(step, self.of(SOLO)))
            if found is not None:
                trainer.restored = Decided(found.point, found.spot, chosen=True)

    @rule(trainer=solos, step=st.integers(1, 6))
    def roll_back(self, trainer: Trainer, step: int) -> None:
        if not trainer.alive:
            return
        ring = self.ring(trainer)

        def should() -> Decided:
            archive = self.of(SOLO)
            if archive is None:
                raise Refused("UnavailableError")
            found = ring.find(step, archive)
            if found.point is not None:
                origin = ring.launches[found.point[0]]
                found = Decided(found.point, (ring.number(origin, archive, self.now).number, step))
            if trainer.launch is not None:
                trainer.launch.living -= 1
            launch = ring.begin(f"rollback-{self.new_number()}", 1, trainer.keep, self.now)
            launch.attempt = archive.record(launch.key, self.now, origin=found.spot, chosen=True)
            launch.decided = Decided(found.point, found.spot, chosen=True)
            trainer.launch = launch
            trainer.newest = step
            return found

        self.restore_as(trainer, lambda: trainer.run.rollback(step), should)
        if len(load_launches(self.nodes[trainer.node].of(SOLO))) > len(ring.launches):
            # Refused when it had begun already. It stays: its record may have landed, and answer "latest" from then on.
            if trainer.launch is not None:
                trainer.launch.living -= 1
            trainer.launch = ring.begin(f"refused-{self.new_number()}", 1, trainer.keep, self.now)

    @rule(target=solos, trainer=solos, steps=st.integers(1, 3), back=st.integers(1, 6))
    def go_back_and_die_at_once(self, trainer: Trainer, steps: int, back: int) -> Any:
        """The next launch must go on from there, and not from what was abandoned."""
        if not trainer.alive:
            return multiple()
        for _ in range(steps):
            self.save(trainer, trainer.newest + 1, {"model.bin": b"%d" % trainer.newest}, {})
        self.roll_back(trainer, back)
        self.end(trainer)
        following = self.start_solo(trainer.node, trainer.keep, trainer.rule)
        self.resume_solo(following)
        return following

    def restore_as(
        self, trainer: Trainer, does: Callable[[], Restored | None], should: Callable[[], Decided | None]
    ) -> Decided | None:
        """Restore in a trainer."""
        answers = self.expect(does, should)
        if answers is None:
            return None
        found: Decided | None = answers[1]
        self.check_restored(trainer.node, trainer.name, answers[0], found)
        if found is not None:
            trainer.newest = max(trainer.newest, answers[0].step)
        return found

    # Agents

    @rule(node=st.sampled_from(NODES))
    def agent_works(self, node: str) -> None:
        self.let_work(node)

    @rule(node=st.sampled_from(NODES))
    def agent_begins_again(self, node: str) -> None:
        self.agents[node] = self.nodes[node].agent()

    @rule(node=st.sampled_from(NODES), requests=st.integers(0, 40), answered=st.booleans())
    def agent_is_killed_and_another_one_works(self, node: str, requests: int, answered: bool) -> None:
        left = requests

        def dies(request: Request) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        if answered:
            self.site.after = dies
        else:
            self.site.before = dies
        with suppress(Killed):
            self.agents[node].step()
        self.site.before = self.site.after = lambda request: None
        self.agents[node] = self.nodes[node].agent()
        self.let_work(node)

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

    @rule(node=st.sampled_from(NODES), which=NUMBER)
    def promote(self, node: str, which: int) -> None:
        ring = self.rings[node, SOLO]
        if ring.shares:
            chosen = ring.shares[which % len(ring.shares)]
            for share in self.nodes[node].shares(SOLO):
                if (share.launch, share.step) == (chosen.launch, chosen.step):
                    share.promote({"rule": "milestone", "name": "best"})
            chosen.promoted = True

    @rule(node=st.sampled_from(NODES))
    def node_is_lost(self, node: str) -> None:
        for trainer in self.trainers:
            if trainer.node == node:
                self.end(trainer)
        shutil.rmtree(self.folder / node, ignore_errors=True)
        self.nodes[node] = self.site.node(node)
        self.agents[node] = self.nodes[node].agent()
        for name in (SOLO, DUO):
            self.rings[node, name] = Ring()

    # The store

    @rule()
    def store_goes_or_comes(self) -> None:
        self.site.down = not self.site.down

    # People

    @rule(
        run=st.sampled_from([PUSHED, PUSHED, SOLO]),
        step=st.integers(1, 4),
        files=ANY_FILES,
        again=st.booleans(),
        anew=st.booleans(),
        writer=st.sampled_from([(0, 1), (0, 1), (0, 2), (1, 2)]),
        metrics=METRICS,
    )
    def push(
        self,
        run: str,
        step: int,
        files: Tree,
        again: bool,
        anew: bool,
        writer: tuple[int, int],
        metrics: Mapping[str, Any],
    ) -> None:
        rank, writers = writer
        archive = self.archives[run]
        if again and (known := [spot for spot in archive.manifests if spot[1] == step]):
            files = archive.manifests[max(known)]
        folder = write_tree(self.folder / f"push-{self.new_number()}", files)

        def should() -> tuple[int, str]:
            if not (files or writers > 1) or not is_a_tree(files) or (anew and writers > 1):
                raise Refused("InvalidInputError")
            if self.site.down:
                raise Refused("UnavailableError")
            attempt = archive.record(f"push:{run}", self.now, anew=anew).number
            return attempt, archive.contribute((attempt, step), rank, f"push:{run}", writers, files, facts(metrics))

        def does() -> PushReport:
            return self.archive.push(folder, run, step, rank=rank, writers=writers, new_attempt=anew, metrics=metrics)

        answers = self.expect(does, should)
        if answers is not None:
            assert (answers[0].attempt, answers[0].state) == answers[1]
        shutil.rmtree(folder)

    @rule(run=st.sampled_from([SOLO, DUO, PUSHED]), step=st.one_of(st.none(), st.integers(1, 6)))
    def restore(self, run: str, step: int | None) -> None:
        folder = self.folder / f"restored-{self.new_number()}"

        def should() -> Spot:
            if self.site.down:
                raise Refused("UnavailableError")
            return self.archives[run].find(step)

        answers = self.expect(lambda: self.archive.restore(run, step, to=folder, exact_folder=True), should)
        if answers is not None:
            assert (answers[0].attempt, answers[0].step) == answers[1]
            tree = self.archives[run].manifests[answers[1]]
            assert read_tree(folder) == tree
            shown = self.archive.show(run, answers[0].step, attempt=answers[0].attempt)
            assert {file.path: file.size_bytes for file in shown.files} == {path: len(tree[path]) for path in tree}
            assert len(shown.receipts) == len(self.archives[run].receipts[answers[1]])
            shutil.rmtree(folder)

    @rule()
    def verify_and_examine(self) -> None:
        if self.site.down:
            return
        report = self.archive.verify(deep=True)
        assert not report.findings
        assert report.checkpoints == sum(len(item.manifests) for item in self.archives.values())
        for line in self.archive.runs():
            spot = (line.newest_attempt, line.newest_step)
            assert spot == (self.archives[line.run].latest() or (None, None))
            assert (line.committed_at is None) == (spot not in self.archives[line.run].manifests)
        assert [line.run for line in self.archive.runs()] == sorted(r for r, m in self.archives.items() if m.manifests)
        said = Counter(item.what for item in self.archive.doctor())
        wanted: Counter[str] = Counter()
        for model in self.archives.values():
            for spot, shares in model.receipts.items():
                if spot not in model.manifests and spot not in model.gaps:
                    wanted["awaiting writers"] += 1
                elif spot not in model.manifests and any(any(share[2].values()) for share in shares.values()):
                    wanted["given up"] += 1
            wanted["gaps"] += len({attempt for attempt, _ in model.gaps - model.manifests.keys()})
        assert said == wanted, f"doctor says {said}, and should say {wanted}"

    @rule(node=st.sampled_from(NODES))
    def drain(self, node: str) -> None:
        """Done exactly if nothing promoted and no gap is left."""
        if not (self.folder / node).is_dir():
            return
        self.site.clock.sleep(60)
        report = self.nodes[node].daemon().drain(0)
        self.worked(node)
        rings = [self.rings[node, name] for name in (SOLO, DUO)]
        left = any(ring.missed or any(share.pinned for share in ring.shares) for ring in rings)
        assert report.done == (not left)

    @rule(requests=st.integers(0, 30), landed=st.booleans())
    def one_request_will_fail(self, requests: int, landed: bool) -> None:
        """Nobody must notice: whoever asked asks again."""
        left = requests

        def fails(request: Request) -> None:
            nonlocal left
            left -= 1
            if left == -1 and request.verb != "start_upload":
                type(self).failed += 1
                raise UnavailableError("the answer was lost", hint="Try again.")

        if landed:
            self.site.after = fails
        else:
            self.site.before = fails

    # What holds at any time

    @invariant()
    def archive_holds_what_the_model_holds(self) -> None:
        down, self.site.down = self.site.down, False
        for run, model in self.archives.items():
            try:
                listed = self.archive.checkpoints(run)
            except NotFoundError:
                listed = []
            assert [(item.attempt, item.step) for item in listed] == sorted(model.manifests, reverse=True)
            for item in listed:
                tree = model.manifests[item.attempt, item.step]
                assert (item.files, item.size_bytes) == (len(tree), sum(map(len, tree.values())))
                assert {**item.labels, "metrics": written(item.metrics)} == model.facts[item.attempt, item.step][0]
            try:
                place = self.archive.find(run)
                latest = (place.attempt, place.step)
            except NotFoundError:
                latest = None
            assert latest == model.latest()
        self.site.down = down

    @invariant()
    def rings_hold_what_the_model_holds(self) -> None:
        for (node, run), model in self.rings.items():
            here, wanted = sorted(self.nodes[node].ring(run)), sorted((item.launch, item.step) for item in model.shares)
            assert here == wanted, f"{node} holds {here} of {run}, and should hold {wanted}"
