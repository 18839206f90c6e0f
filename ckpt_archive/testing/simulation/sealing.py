"""Lives of the log: writers of all kinds of records beside sealers, all of which may be killed and begin again."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.decision import Action, Decision, decide
from ckpt_archive.commit.event import Event, record_event
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.commit.marker import read_marker, store_time
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.log import plan
from ckpt_archive.log.reconcile import reconcile
from ckpt_archive.log.sync import seal
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import Listing
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, INLINE, archive_files
from ckpt_archive.testing.sealed_log import Log, check_log, check_marks
from ckpt_archive.testing.simulation.clock import BEGINNING
from ckpt_archive.testing.simulation.executor import SimExecutor
from ckpt_archive.testing.simulation.faults import Fault
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Process, State, Watcher
from ckpt_archive.testing.simulation.scheduler import MICROSECONDS
from ckpt_archive.testing.simulation.store import SimStore
from ckpt_archive.testing.simulation.world import World

NEVER = frozenset((Fault.ROT, Fault.TRUNCATED, Fault.REPLACED))
"""What the log does not promise to survive: objects that change in the store."""

_DAY_SECONDS = 86_400.0
_LATE_SECONDS = 600.0
_PAGE = 3
_BATCH = 4
_MOST_RESTARTS = 60

Work = Callable[[], None]


class ShortPages(SimStore):
    """A store that lists a few names at a time, so that a few markers make a long listing."""

    def list(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = 1000,
        start_after: str = "",
    ) -> Listing:
        """See `Store.list`."""
        return super().list(prefix, delimiter=delimiter, token=token, limit=min(limit, _PAGE), start_after=start_after)


@contextmanager
def small_batches() -> Iterator[None]:
    """While the context lasts, batches hold a few entries, so that a few records fill several."""
    before = plan.MOST_ENTRIES
    plan.MOST_ENTRIES = _BATCH
    try:
        yield
    finally:
        plan.MOST_ENTRIES = before


class Site(Watcher):
    """Writers and sealers. Whoever is killed, or has failed, begins again.

    Args:
        world: Where.
        writers: How many write.
        sealers: How many seal.
    """

    def __init__(self, world: World, *, writers: int, sealers: int) -> None:
        self.world = world
        self.store = ShortPages(world)
        create_archive(self.store, ARCHIVE_ID, BEGINNING)
        self.nodes = [Node(world, f"node-{number}") for number in range(3)]
        self._chance = random.Random(f"site {world.seed}")
        self._restarts = 0
        self._again: dict[Process, Work] = {}
        self._is_closing = False
        world.watch(self)
        for number in range(writers):
            node = self._chance.choice(self.nodes)
            deeds = list(self._deeds(node, f"run-{self._chance.randrange(2)}", number))
            self._begin(f"writer-{number}", node, partial(self._write, node, deeds))
        for number in range(sealers):
            node = self._chance.choice(self.nodes)
            passes = self._chance.choice((3, 5, 8))
            self._begin(f"sealer-{number}", node, partial(self._seal, node, [passes]))

    def ended(self, process: Process) -> None:
        """See `Watcher`."""
        work = self._again.pop(process, None)
        if work is not None and process.state is State.KILLED and self._restarts < _MOST_RESTARTS:
            self._restarts += 1
            node = next(node for node in self.nodes if node is process.node)
            self._begin(process.name, node, work)

    def converge(self) -> Log:
        """Let everything be well for some days, then check what must be so by then."""
        self.world.run()
        self.world.calm()
        # What is still on its way lands, and a single pass finds it: in here nobody stands still for two hours.
        self.world.sleep(_LATE_SECONDS)
        self.nodes[0].spawn("last", self._seal_all)
        self.world.run()
        check_marks(self.store, ARCHIVE_ID, check_log(self.store, ARCHIVE_ID))
        # A week later nobody waits for what never comes.
        for _ in range(9):
            self.world.sleep(_DAY_SECONDS)
            self.nodes[0].spawn("last", self._seal_all)
            self.world.run()
        log = check_log(self.store, ARCHIVE_ID)
        assert not log.batches or not log.batches[-1].batch.unresolved
        for key in log.findings:
            # Nothing in these lives is wrong but that somebody died between a marker and its record.
            marker = read_marker(self.store.bucket.get(key).data, key)
            assert marker.record_key not in self.store.bucket.objects, f"{log.findings[key]}"
        before = len(log.batches)
        report = reconcile(self.store, INLINE, ARCHIVE_ID, "check")
        assert (report.sealed, report.findings, report.newest) == (0, 0, before), "something came without a marker"
        return log

    def _begin(self, name: str, node: Node, work: Work) -> None:
        self._again[node.spawn(name, work)] = work

    # --- writers -------------------------------------------------------------------------------------------------------

    def _deeds(self, node: Node, run: str, number: int) -> Iterator[Work]:
        """What a writer does, one thing after the other; each may be done again from its beginning."""
        chance = self._chance
        for index in range(chance.randint(2, 5)):
            step = 10 * index + (0 if chance.random() < 0.3 else number)
            kind = chance.choice(("commit", "commit", "launch", "decision", "event"))
            if kind == "commit":
                yield partial(self._commit, node, Place(run, 0, step), chance.choice((b"one", b"two")))
            elif kind == "launch":
                yield partial(self._launch, node, run, f"key-{number}-{index}")
            elif kind == "decision":
                yield partial(self._decide, Place(run, 0, step), f"writer {number}")
            else:
                event_id = f"{chance.getrandbits(128):032x}"
                yield partial(self._tell, event_id, Place(run, 0, step))

    def _write(self, node: Node, deeds: list[Work]) -> None:
        while deeds:
            node.clock.sleep(self._chance.choice((0.0, 1.0, 30.0, 900.0)))
            try:
                deeds[0]()
            except CkptArchiveError:
                # Most writers try again; some are never heard of again.
                if self._chance.random() < 0.2:
                    deeds.pop(0)
                continue
            deeds.pop(0)

    def _commit(self, node: Node, place: Place, data: bytes) -> None:
        del node
        archive_files(self.store, place, {"file": data}, executor=SimExecutor(self.world))

    def _launch(self, node: Node, run: str, key: str) -> None:
        request = LaunchRequest(ARCHIVE_ID, run, key, 1, node.clock.now(), now=node.clock.now)
        open_launch(self.store, request, lambda _: Resumption(None, explicit=False))

    def _decide(self, place: Place, who: str) -> None:
        decide(
            self.store,
            Decision(ARCHIVE_ID, place.run, place.attempt, place.step, Action.GAP, "lost", who, BEGINNING),
        )

    def _tell(self, event_id: str, place: Place) -> None:
        event = Event(ARCHIVE_ID, "verified", event_id, BEGINNING, places=(place,))
        record_event(self.store, event, store_time(self.store))

    # --- sealers -------------------------------------------------------------------------------------------------------

    def _seal(self, node: Node, left: list[int]) -> None:
        while left[0] > 0:
            left[0] -= 1
            # Most are started by the clock, and so at once.
            seconds = self._chance.choice((0.0, 1.0, 60.0, 600.0, 600.0, 4000.0))
            self.world.sleep(seconds - self.world.now_us / MICROSECONDS % seconds if seconds > 1 else seconds)
            try:
                self._seal_once(budget=self._chance.choice((None, None, 0, 1)))
            except CkptArchiveError:
                continue

    def _seal_all(self) -> None:
        report = seal(self.store, SimExecutor(self.world), ARCHIVE_ID, "last")
        assert report.is_complete

    def _seal_once(self, budget: int | None = None) -> None:
        steps = iter(range(1_000 if budget is None else budget))
        if self._chance.random() < 0.05:
            report = reconcile(self.store, SimExecutor(self.world), ARCHIVE_ID, "reconciler")
            assert report.sealed == 0, "something came without a marker"
            return
        # A guess that is too low is as good as none; one that is too high is found out.
        hint = self._chance.choice((0, 0, 1, 2, 7))
        seal(
            self.store,
            SimExecutor(self.world),
            ARCHIVE_ID,
            "sealer",
            hint=hint,
            go_on=lambda: next(steps, None) is not None,
            sweep=self._chance.random() < 0.1,
        )


def sealing_life(world: World) -> None:
    """Two or three writers beside two or three sealers; at the end the log is what there is."""
    chance = random.Random(f"sealing {world.seed}")
    with small_batches():
        Site(world, writers=chance.choice((2, 3)), sealers=chance.choice((1, 2, 3))).converge()
