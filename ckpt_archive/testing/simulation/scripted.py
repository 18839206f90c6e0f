"""A run that follows a script: some operations, one after the other, a crash in the last of them, and what must follow.

One trainer on one node, and an agent's work in processes of its own; nothing goes wrong but the crashes. Whatever was
running, a new launch resumes and a new agent settles, and then nothing may be left to wish for: there was no fault that
would excuse a gap, a leftover or an error.
"""

import random
from collections.abc import Callable
from functools import partial

from ckpt_archive.agent.relief import relieve
from ckpt_archive.commit import catalog
from ckpt_archive.commit.committing import finish_commits
from ckpt_archive.commit.latest import latest
from ckpt_archive.errors import NotFoundError
from ckpt_archive.local.launches import load_launches, read_attempt
from ckpt_archive.local.ring import SealedShare, scan
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.patience import Patience
from ckpt_archive.place import Place
from ckpt_archive.restore.result import Restored
from ckpt_archive.run import Run
from ckpt_archive.ship import sealed as shipping
from ckpt_archive.ship.numbering import number_launch
from ckpt_archive.testing.simulation.diary import Files, Slot
from ckpt_archive.testing.simulation.faults import EFFECTS, Crash
from ckpt_archive.testing.simulation.job import write
from ckpt_archive.testing.simulation.memory import Memory
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Process, State
from ckpt_archive.testing.simulation.script import Operation, Order, Script, ScriptedNode, Word
from ckpt_archive.testing.simulation.shelf import STAGING, not_durable, tree_of
from ckpt_archive.testing.simulation.stage import Stage
from ckpt_archive.testing.simulation.world import World

RUN = "run"
_MOST_PASSES = 8
_MOST_RECOVERIES = 4


class Scripted(Stage):
    """A life.

    Args:
        world: Where it plays.
        script: What happens.

    Attributes:
        marks: The number of I/Os before each operation of the word, and when the word was done.
        recovered_io: The number of I/Os when everybody had recovered.
        effects: The numbers of the I/Os that had an effect: of those that may have one, not all succeed.
    """

    def __init__(self, world: World, script: Script) -> None:
        self.effects: set[int] = set()
        super().__init__(world, 1, None, is_brief=True)
        self.node = ScriptedNode(world, "node-0", script.loss)
        self.nodes = [self.node]
        self._script = script
        self._memory = Memory()
        self._launches = self._step = 0
        self._asked_for: set[Slot] = set()
        self._newest: Files | None = None
        self._had_survivor = False
        self.marks: list[int] = []
        self.recovered_io = 0

    def play(self) -> None:
        """From beginning to end."""
        self._trainer(partial(self._work, self._script.word, self._script.start.before))
        self.world.run()
        for _ in range(_MOST_RECOVERIES):
            if self._recover():
                break
        else:
            raise AssertionError("nobody recovers")
        self.recovered_io = self.world.ios
        self.is_closing = True
        self._check_settled()
        auditor = Node(self.world, "auditor")
        self.spawn("auditor", auditor, partial(self._audit, auditor))
        self.world.run()

    # --- the trainer ---------------------------------------------------------------------------------------------------

    def _trainer(self, main: Callable[[], object]) -> Process:
        self._launches += 1
        return self.spawn(f"trainer-{self._launches}", self.node, main)

    def _begin(self) -> tuple[Run, str]:
        """A launch begins and resumes."""
        number, node = self._launches, self.node
        key = f"{RUN}-{number}"
        run = self.archive(node).run(
            RUN,
            staging=STAGING,
            keep_local=1,
            promote=self._script.start.promote,
            launch_key=key,
            agent="external",
            on_error="raise",
        )
        self._memory.begins(number, node.name, zombies=False)
        restored = run.resume()
        files = None if restored is None else self._returned(node, restored)
        self._memory.resumed(number, files, sure=True)
        self._newest = files
        return run, key

    def _work(self, word: Word, before: Word = ()) -> None:
        """A trainer's process: what is left of the word."""
        run, key = self._begin()
        for operation in before:
            self._perform(operation, run, key)
        for number, operation in enumerate(word):
            self.marks.append(self.world.ios)
            if operation is Operation.RESTART:
                assert self.process is not None
                self._trainer(partial(self._work, word[number + 1 :]))
                self.world.kill(self.process)
            if not self._perform(operation, run, key):
                return
        self.marks.append(self.world.ios)
        # A last step, so that there is a place for a crash when everything is done and everybody knows.
        self.node.disk.stat(STAGING)

    def _perform(self, operation: Operation, run: Run, key: str) -> bool:
        """Do it; whether whoever did it has lived to see its end."""
        if operation is Operation.SAVE:
            self._save(run, key)
            return True
        if operation is Operation.RESTORE:
            self._restore(run)
            return True
        main = {
            Operation.PROMOTE: self._promote,
            Operation.UPLOAD: self._upload,
            Operation.COMMIT: self._commit,
            Operation.EVICT: self._evict,
        }[operation]
        worker = self.spawn(operation.value, self.node, main)
        self.world.wait_for(worker)
        if worker.state is State.DONE:
            return True
        if self._script.order is Order.AGENT:
            # The trainer has seen nothing of it, and lives on.
            while not self._settled_by(self.spawn("settling", self.node, self._settle)):
                pass
            self._had_survivor = True
        return False

    def _settled_by(self, agent: Process) -> bool:
        self.world.wait_for(agent)
        return agent.state is State.DONE

    def _save(self, run: Run, key: str) -> None:
        node, process = self.node, self.process
        assert process is not None
        self._step += 1
        slot = Slot(RUN, key, self._step, 0)
        files = _content(self._step)
        note = self.diary.begin(slot, files, process)
        self._memory.tries(self._launches, slot, files)
        with run.checkpoint(slot.step, metrics={"loss": 0.5}) as checkpoint:
            write(node, str(checkpoint.path), files)
        assert checkpoint.staged, f"{slot} was not saved"
        assert not checkpoint.duplicate
        self.diary.acknowledge(note)
        self.shelf.acknowledged(note, node)
        self._memory.acknowledged(self._launches, slot, files)
        self._newest = files

    def _restore(self, run: Run) -> None:
        """What the trainer itself gets, and what anybody gets from the archive."""
        restored = self._or_nothing(lambda: run.restore(to="/home/trainer"))
        files = None if restored is None else self._returned(self.node, restored)
        assert files == self._newest, f"{restored} is not the newest one"
        wanted = self.oracle.expected_latest(RUN)
        restored = self._or_nothing(lambda: self.archive(self.node).restore(RUN, to="/home/archive"))
        if restored is not None:
            self._returned(self.node, restored)
        answer = None if restored is None else (restored.attempt, restored.step)
        assert answer == wanted, f"latest is {answer}, and should be {wanted}"

    def _or_nothing(self, restore: Callable[[], Restored]) -> Restored | None:
        """What a restore returns; None if it says that there is nothing, and what to do about that."""
        try:
            return restore()
        except NotFoundError as error:
            refusal = error
        assert refusal.hint, f"{refusal} does not say what to do"
        return None

    def _returned(self, node: Node, restored: Restored) -> Files:
        """What a restore has returned, which must be what was saved."""
        files = tree_of(node.disk.find(str(restored.path)))
        if restored.source == "archive":
            assert restored.attempt is not None
            self.oracle.check_archived((RUN, restored.attempt, restored.step), files)
        assert files == _content(restored.step), f"step {restored.step} came back different"
        return files

    # --- pieces of an agent's pass -------------------------------------------------------------------------------------

    @property
    def _staging(self) -> RunStaging:
        return Staging(self.node.machine(), STAGING).run(RUN)

    def _promote(self) -> None:
        """Somebody asks for the newest checkpoint."""
        shares = scan(self._staging)
        if shares:
            shares[-1].promote({"rule": "milestone", "name": "asked for"})
            key = self.shelf.key_of(self.node, RUN, shares[-1].launch)
            assert key is not None
            self._asked_for.add(Slot(RUN, key, shares[-1].step, 0))

    def _upload(self) -> None:
        """As far as the receipt, for all that is promoted."""
        connection = self.connect(self.node, Patience.MEDIUM)
        for share in self._pinned():
            if not share.has_receipt:
                launches = {launch.ordinal: launch for launch in load_launches(share.staging)}
                attempt = number_launch(connection, share.staging, launches[share.launch])
                place = Place(RUN, attempt, share.step)
                shipping._contribute(self.node.machine(), connection, share, place, None)  # noqa: SLF001 - the seam

    def _commit(self) -> None:
        """The manifest, for all that has a receipt; if nothing has, there must be nothing to commit."""
        connection, machine = self.connect(self.node, Patience.MEDIUM), self.node.machine()
        begun = [share for share in self._pinned() if share.has_receipt]
        for share in begun:
            known = read_attempt(share.staging, share.launch)
            assert known is not None, f"{share} has a receipt, and its launch no number"
            report = shipping.ship(machine, connection, share, known.attempt)
            assert report.state is shipping.Shipped.ARCHIVED, f"{share} has a receipt, and is {report}"
        if not begun:
            for run, attempt in list(self.oracle.launches):
                left = finish_commits(connection.store, machine.executor, connection.archive_id, run, attempt)
                assert not left, f"nothing has a receipt, but to commit is {left}"

    def _evict(self) -> None:
        run = self._staging
        relieve(run, load_launches(run), scan(run), self.agent_settings, under_way=None)

    def _pinned(self) -> list[SealedShare]:
        return [share for share in scan(self._staging) if share.is_pinned]

    # --- after the crash -----------------------------------------------------------------------------------------------

    def _recover(self) -> bool:
        """Everybody begins again; whether they came to an end."""
        mains = [self._resume_and_save, self._settle]
        if self._script.order is Order.AGENT and not self._had_survivor:
            mains.insert(0, self._settle)
        for main in mains:
            process = self._trainer(main) if main == self._resume_and_save else self.spawn("agent", self.node, main)
            self.world.run()
            if process.state is State.KILLED:
                return False
        return True

    def _resume_and_save(self) -> None:
        run, key = self._begin()
        if Operation.RESTORE in self._script.word:
            self._restore(run)
        self._save(run, key)

    def _settle(self) -> None:
        """An agent works until nothing is left to do."""
        agent = self.agent(self.node)
        for _ in range(_MOST_PASSES):
            done = agent.step()
            assert not done.troubles, f"nothing is wrong, but the agent says: {done.troubles}"
            if not (done.archived or done.pending or done.untold):
                return
        raise AssertionError(f"an agent does not come to an end: {done}")

    def _check_settled(self) -> None:
        node = self.node
        for slot in self._asked_for:
            assert slot in self.oracle.slots, f"{slot} was asked for, and is not archived"
        for held in self.shelf.held.values():
            assert not held.promoted or held.save.slot in self.oracle.slots, f"{held.save.slot} is not archived"
        assert not self.oracle.gaps, f"nothing was given up, but recorded are {self.oracle.gaps}"
        newest = max(self.shelf.held.values(), key=lambda held: held.order)
        ring = [path for path, inode in node.disk.tree(f"{STAGING}/{RUN}/ring") if "seal.json" in inode.entries]
        assert ring == [newest.path], f"{newest.path} should be in the ring, and is {ring}"
        assert newest.is_whole(), f"{newest.save.slot} is not what was saved"
        assert not_durable(node.disk, newest.path) is None, f"{newest.save.slot} is not durable"
        left = [path for room in ("tmp", "trash") for path, _ in node.disk.tree(f"{STAGING}/{RUN}/{room}")]
        # A lock that came back with a power loss lies there, empty, until that folder is asked for again.
        left += [path for path, _ in node.disk.tree("/home") if ".partial-" in path]
        left += [path for path, _ in node.disk.tree(STAGING) if "/.new-" in path]
        if not any(crash.what is Crash.NODE for crash in self.world.options.crashes):
            left += [path for path, _ in node.disk.tree(f"{STAGING}/{RUN}/quarantine")]
        assert not left, f"left behind are {left}"
        assert not self.store.bucket.uploads, f"uploads were left behind: {self.store.bucket.uploads}"

    def _audit(self, node: Node) -> None:
        """Whatever is committed restores, and latest is what it must be."""
        archive, store = self.archive(node), self.connect(node, Patience.LONG).store
        found = latest(store, RUN)
        answer = None if found is None else (found.attempt, found.step)
        assert answer == self.oracle.expected_latest(RUN), f"latest is {answer}"
        for _, attempt, step in self.oracle.archived:
            self._returned(node, archive.restore(RUN, step, attempt=attempt, to="/out"))
        listed = {(place.run, place.attempt, place.step) for place in catalog.places(store, RUN)}
        assert listed == set(self.oracle.archived), f"listed are {listed}, committed {set(self.oracle.archived)}"

    def after_io(self, kind: str, detail: str) -> None:
        """See `Watcher`: what somebody asked for goes only when it is archived, too."""
        if kind in EFFECTS:
            self.effects.add(self.world.ios)
        if kind == "disk.rename" and "/trash/" in detail:
            held = self.shelf.held.get(self.node.disk.find(detail))
            asked_for = held is not None and held.save.slot in self._asked_for
            assert not asked_for or (held and held.save.slot in self.oracle.slots), f"{detail} was not archived"
        super().after_io(kind, detail)


def _content(step: int) -> Files:
    """The files of a step: one is sent in two parts, one is packed with others."""
    chance = random.Random(f"content {step}")
    return {"0/model.bin": chance.randbytes(100), "0/sub/state.bin": chance.randbytes(20)}
