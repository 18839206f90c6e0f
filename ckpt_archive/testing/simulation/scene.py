"""A small site on which one thing is done while one call goes wrong; and what must be so on it afterwards.

Where `lives` let everything go wrong at once, here it is one fault at one place. The same oracles judge every I/O.
"""

from functools import partial

from ckpt_archive.agent.node import Pass
from ckpt_archive.disk.protocol import Kind
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.promotion import Every
from ckpt_archive.restore.result import Restored
from ckpt_archive.run import Run
from ckpt_archive.testing.simulation.diary import Files, Slot
from ckpt_archive.testing.simulation.inode import below
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.process import Main
from ckpt_archive.testing.simulation.scheduler import MICROSECONDS
from ckpt_archive.testing.simulation.shelf import STAGING, Held, tree_of
from ckpt_archive.testing.simulation.stage import Stage
from ckpt_archive.testing.simulation.world import World

RUN = "run"
OUT = "/out"

_RESTORED_TO = (OUT, f"{STAGING}/{RUN}/resumed")
_MOST_PASSES = 40
_LATE_SECONDS = 400.0


class UsersError(Exception):
    """What the training code's own calls raise."""


def content(step: int, rank: int = 0) -> Files:
    """What is saved as a step: one file in several parts, two that are packed together, one of them empty."""
    return {
        f"{rank}/model.bin": bytes((step * 31 + rank * 7 + number) % 251 for number in range(150)),
        f"{rank}/sub/state.bin": bytes([step, rank] * 15),
        f"{rank}/empty": b"",
    }


class Scene(Stage):
    """Two nodes, one run.

    Attributes:
        home: Where the run is trained.
        away: Another node.
        repeats: How many launches have begun in what may be done again.
        dies_at: A kind of call, and what its detail begins with: whoever makes one is killed before it is answered.
        acted: Of what was done while something went wrong: its last I/O, and how many seconds it took.
    """

    def __init__(self, world: World) -> None:
        self.dies_at: tuple[str, str] | None = None
        super().__init__(world, 2, None, is_brief=True)
        self.home, self.away = self.nodes
        self.repeats = 0
        self.acted: tuple[int, float] | None = None
        self._began_us = 0

    def begin_act(self) -> None:
        """From here on something may go wrong."""
        self._began_us = self.world.now_us
        self.world.note(self.process, "acts")

    def end_act(self) -> None:
        """It is over, whether or not its process goes on."""
        if self.acted is None:
            self.acted = self.world.ios, (self.world.now_us - self._began_us) / MICROSECONDS
            self.world.note(self.process, "has acted")

    def after_io(self, kind: str, detail: str) -> None:
        """See `Watcher`."""
        super().after_io(kind, detail)
        at = self.dies_at
        if at is not None and kind == at[0] and detail.startswith(at[1]) and self.process is not None:
            self.dies_at = None
            self.world.kill(self.process)

    def play(self, name: str, node: Node, main: Main) -> None:
        """Let a process of its own do something, from beginning to end."""
        self.spawn(name, node, main)
        self.world.run()

    # --- what people do ------------------------------------------------------------------------------------------------

    def trainer(self, node: Node, launch_key: str, promote: Every, *, keep_local: int = 1) -> Run:
        """The run, as a process that trains it opens it."""
        return self.archive(node).run(
            RUN, staging=STAGING, keep_local=keep_local, promote=promote, launch_key=launch_key, agent="external"
        )

    def save(self, node: Node, run: Run, slot: Slot) -> bool:
        """Save a checkpoint; whether it was staged. Raises what the trainer's own calls raise."""
        files = content(slot.step, slot.rank)
        process = self.process
        assert process is not None
        note = self.diary.begin(slot, files, process)
        checkpoint = run.checkpoint(slot.step, rank=slot.rank)
        try:
            with checkpoint:
                write_all(node, str(checkpoint.path), files)
        except UsersError:
            self.diary.drop(note)
            raise
        if checkpoint.staged:
            self.diary.acknowledge(note)
            self.shelf.acknowledged(note, node)
        else:
            self.diary.fail(note)
        return checkpoint.staged

    def push(self, node: Node, step: int, rank: int, writers: int) -> str:
        """Push a folder that is there; the state that was reported."""
        process = self.process
        assert process is not None
        folder = f"/home/{step}-{rank}"
        launch_key = "together" if writers > 1 else None
        slot = Slot(RUN, f"push:{RUN}" + (f":{launch_key}" if launch_key else ""), step, rank)
        self.shelf.note_source(slot, node.disk.find(folder))
        note = self.diary.begin(slot, content(step, rank), process)
        try:
            report = self.archive(node, launch_key).push(folder, RUN, step, rank=rank, writers=writers)
        finally:
            self.diary.fail(note)
        self.told_archived(process, slot, report.attempt)
        is_spoilt = self.shelf.has_rotted(slot)
        assert is_spoilt or self.diary.bound[slot] == content(step, rank), f"{slot} was pushed with other bytes"
        return report.state

    def lay_out(self, node: Node, step: int, rank: int = 0) -> None:
        """Make a folder to push."""
        folder = f"/home/{step}-{rank}"
        for path in ("/home", folder):
            if path.rpartition("/")[2] not in node.disk.find(path.rpartition("/")[0]).entries:
                node.disk.make_directory(path)
        write_all(node, folder, content(step, rank))

    def work(self, node: Node) -> Pass:
        """One pass of an agent that has just begun."""
        return self.agent(node).step()

    def settle(self, node: Node) -> None:
        """An agent works until, for a while, nothing is left to do."""
        agent = self.agent(node)
        quiet = 0
        for _ in range(_MOST_PASSES):
            before = len(self.store.bucket.objects)
            done = agent.step()
            node.clock.sleep(3.0)
            busy = done.archived or done.pending or done.untold or len(self.store.bucket.objects) != before
            quiet = 0 if busy else quiet + 1
            if quiet > 1:
                return

    def check_restored(self, node: Node, restored: Restored, step: int, files: Files) -> None:
        """What was returned must be that step, byte for byte, unless a bit of it has rotted behind whoever compared it."""
        assert restored.step == step, f"step {restored.step} came back, not {step}"
        folder = node.disk.find(str(restored.path))
        if not any(inode.rotted for _, inode in below(folder)):
            assert tree_of(folder) == files, f"step {step} came back with other files or bytes"

    def check_nothing_partial(self) -> None:
        """What stands where something is restored to is whole, whatever came of restoring it."""
        for node in self.nodes:
            found = {path: inode for path, inode in node.disk.tree("/") if path.rpartition("/")[0] in _RESTORED_TO}
            for path, tree in found.items():
                if tree.kind is Kind.DIRECTORY and not path.rpartition("/")[2].startswith("."):
                    is_spoilt = any(inode.rotted for _, inode in below(tree))
                    assert is_spoilt or tree_of(tree) == content(1), f"{path} is not whole"

    # --- afterwards ----------------------------------------------------------------------------------------------------

    def calm_down(self) -> None:
        """Nothing goes wrong any more, and what was still on its way arrives."""
        self.world.calm()
        self.world.sleep(_LATE_SECONDS)

    def check(self) -> None:
        """Let the agents come to an end, and prove that all is well."""
        for node in self.nodes:
            self.play("settling", node, partial(self.settle, node))
        for held in self.shelf.held.values():
            problem = self._unsettled(held)
            assert problem is None, f"{held.save.slot} was acknowledged, and {problem}"
        left = self.left_uploads()
        assert not left, f"uploads were left behind: {left}"
        for node in self.nodes:
            self._check_rooms(node)
        auditor = Node(self.world, "auditor")
        self.play("auditor", auditor, partial(self._audit, auditor))

    def is_damaged(self) -> bool:
        """Whether something that is stored has rotted or was cut, so that not everything can be well."""
        return (
            bool(self.store.bucket.rotted)
            or self.oracle.is_damaged((RUN, 0, 1))
            or any(inode.rotted for node in self.nodes for _, inode in node.disk.tree())
        )

    def _unsettled(self, held: Held) -> str | None:
        slot = held.save.slot
        if held.rotted() or self.shelf.records_rotted(held.node, slot.run):
            return None
        if not held.is_whole():
            return "is not whole any more"
        if not held.promoted or slot in self.oracle.slots:
            return None
        attempt = self.oracle.attempts.get((slot.run, slot.launch_key))
        if attempt is not None and self.oracle.is_damaged((slot.run, attempt, slot.step)):
            return None
        if any(key.startswith(("archive.json", f"runs/{slot.run}/")) for key in self.store.bucket.rotted):
            # Then the run comes to a standstill, loudly.
            return None
        return "is promoted, and not archived"

    def _check_rooms(self, node: Node) -> None:
        """Nothing is left of what was begun."""
        rooms = [f"{STAGING}/{RUN}/{room}" for room in ("tmp", "trash")]
        left = [path for room in rooms for path, _ in node.disk.tree(room)]
        # In our own folder the next resume from another step removes them.
        left += [path for path, _ in node.disk.tree(OUT) if ".partial-" in path or path.endswith(".lock")]
        assert not left or self.is_damaged(), f"{node.name} still holds {left}"

    def _audit(self, node: Node) -> None:
        archive = self.archive(node)
        for (run, attempt, step), files in self.oracle.archived.items():
            try:
                restored = archive.restore(run, step, attempt=attempt, to="/audit")
            except CkptArchiveError:
                if self.oracle.is_damaged((run, attempt, step)):
                    continue
                raise
            self.check_restored(node, restored, step, files)


def write_all(node: Node, path: str, files: Files) -> None:
    """Write files as a trainer does, nothing synced."""
    try:
        for name, data in files.items():
            with node.disk.create_beneath(path, name) as file:
                if data:
                    file.write_at(data, 0)
    except OSError as error:
        raise UsersError(error.strerror) from error
