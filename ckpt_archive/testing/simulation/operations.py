"""What is done in a `Scene` while one call goes wrong: each thing that a trainer, an agent or a person waits for."""

from collections.abc import Callable
from dataclasses import dataclass

from ckpt_archive.agent.daemon import Daemon
from ckpt_archive.commit.committing import Awaiting, finish_commits
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.patience import Patience
from ckpt_archive.promotion import Every
from ckpt_archive.restore.result import Restored
from ckpt_archive.testing.simulation.diary import Files, Slot
from ckpt_archive.testing.simulation.faults import Fault
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.scene import OUT, RUN, Scene, UsersError, content
from ckpt_archive.testing.simulation.shelf import STAGING

DONE = "done"
UNSAVED = "unsaved"
USERS = "user's"
LATER = "later"
FOUND = "found"
GIVEN_UP = "set aside"

MEANINGS = {
    DONE: "it was done all the same: tried again, or the call did not matter",
    UNSAVED: "the save is reported as failed (`staged = False`) and training goes on",
    USERS: "the trainer's own write failed, and that reached the trainer as it is; the draft is thrown away",
    LATER: "the agent says what stands in the way, keeps what is promoted, and does it at its next pass",
    FOUND: "the damage is reported as a finding",
    GIVEN_UP: "what is staged is damaged: it was given up on record, or set aside with the reason beside it",
}
"""What an outcome that is no error means; every other outcome is the error that the caller got, less its `Error`."""

_PATIENCE_SECONDS = 10.0
_RARELY = Every(100)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that is done.

    Attributes:
        name: For people.
        prepare: What has happened before.
        act: Does it, in a process of its own; what came of it. What it raises of ours is an outcome too.
        again: Does it once more, when nothing goes wrong any more: this must do.
        at: The number of the node where it is done.
        is_checked: Whether the store compares bodies with their checksums, and refuses to complete over what is there.
    """

    name: str
    prepare: Callable[[Scene], None]
    act: Callable[[Scene], str]
    again: Callable[[Scene], object]
    at: int = 0
    is_checked: bool = True


# --- a trainer saves -------------------------------------------------------------------------------------------------------


def _saved(scene: Scene, steps: range, promote: Every, launch_key: str = "first", keep_local: int = 1) -> None:
    def train() -> None:
        run = scene.trainer(scene.home, launch_key, promote, keep_local=keep_local)
        for step in steps:
            assert scene.save(scene.home, run, Slot(RUN, launch_key, step, 0))
        run.finish()

    scene.play("trainer", scene.home, train)


def _archived(scene: Scene) -> None:
    """Step 1 is archived, and still in the ring of its node."""
    _saved(scene, range(1, 2), Every(1))
    scene.play("agent", scene.home, lambda: scene.settle(scene.home))
    assert len(scene.oracle.archived) == 1


def _save(scene: Scene) -> str:
    """A save of a new launch; then, in the same process, the same step again and the next one, which must do."""
    node = scene.home
    run = scene.trainer(node, "second", Every(1))
    try:
        outcome = DONE if scene.save(node, run, Slot(RUN, "second", 2, 0)) else UNSAVED
    except UsersError:
        outcome = USERS
    scene.end_act()
    scene.world.calm()
    if outcome != DONE:
        assert scene.save(node, run, Slot(RUN, "second", 2, 0)), "the step can not be saved again"
    assert scene.save(node, run, Slot(RUN, "second", 3, 0)), "the next step can not be saved"
    run.finish()
    return outcome


def _nothing_more(_: Scene) -> None:
    """What had to be done again was done by the same process."""


# --- an upload -------------------------------------------------------------------------------------------------------------


def _folder(scene: Scene) -> None:
    scene.play("preparing", scene.home, lambda: scene.lay_out(scene.home, 1))


def _half_sent(scene: Scene) -> None:
    """A push has died after its first part, and another upload of the same object was begun by who never came back."""
    _folder(scene)
    scene.dies_at = "store.upload_part", ""
    scene.play("push", scene.home, lambda: scene.push(scene.home, 1, 0, 1))
    (upload,) = scene.store.bucket.under_way("")
    scene.play("other", scene.away, lambda: scene.store.start_upload(upload.key))


def _push(scene: Scene) -> str:
    state = scene.push(scene.home, 1, 0, 1)
    assert state in ("committed", "already-committed"), f"it was pushed, and is {state}"
    return DONE


def _staged(scene: Scene) -> None:
    _saved(scene, range(1, 2), Every(1))


def _ship(scene: Scene) -> str:
    # What it can not even see for now it passes over, with a line in its log; who waits for it is told: see `drain`.
    return DONE if scene.work(scene.home).archived else LATER


def _drain(scene: Scene) -> str:
    node = scene.home
    report = Daemon(node.machine(), scene.agent(node), scene.agent_settings).drain(_PATIENCE_SECONDS)
    if report.done:
        scene.check_drained(node, None, scene.world.now_us)
        return DONE if scene.oracle.archived else GIVEN_UP
    assert report.troubles, "the node is not drained, and nobody is told why"
    return LATER


def _settle(scene: Scene) -> None:
    scene.settle(scene.home)


# --- a commit --------------------------------------------------------------------------------------------------------------


def _contributed(scene: Scene) -> None:
    """Two writers have contributed, and whoever was to commit it went away."""
    for rank in (0, 1):
        scene.play("preparing", scene.home, lambda rank=rank: scene.lay_out(scene.home, 1, rank))  # type: ignore[misc]
    scene.play("push-0", scene.home, lambda: scene.push(scene.home, 1, 0, 2))

    scene.dies_at = "store.create", f"receipts/{RUN}/"
    scene.play("push-1", scene.home, lambda: scene.push(scene.home, 1, 1, 2))
    assert len(scene.store.bucket.keys("receipts/")) == 2
    assert not scene.oracle.archived


def _commit(scene: Scene) -> str:
    connection = scene.connect(scene.away, Patience.LONG)
    executor = scene.away.machine().executor
    read_back = not connection.checksums_enforced()
    for _, outcome in finish_commits(connection.store, executor, connection.archive_id, RUN, 0, read_back=read_back):
        if isinstance(outcome, CkptArchiveError):
            raise outcome
        assert not isinstance(outcome, Awaiting)
    assert scene.oracle.archived, "it was committed, and there is no manifest"
    return DONE


# --- a checkpoint comes back -----------------------------------------------------------------------------------------------


def _came_back(scene: Scene, node: Node, restored: Restored | None, step: int = 1) -> str:
    assert restored is not None, "the run was to begin anew, although a checkpoint is archived"
    files: Files = content(step)
    scene.check_restored(node, restored, step, files)
    return DONE


def _resume(scene: Scene, node: Node) -> str:
    scene.repeats += 1
    run = scene.trainer(node, f"resumed-{scene.repeats}", Every(1))
    try:
        return _came_back(scene, node, run.resume())
    finally:
        run.finish()


def _roll_back(scene: Scene) -> str:
    scene.repeats += 1
    run = scene.trainer(scene.home, f"back-{scene.repeats}", Every(1))
    try:
        return _came_back(scene, scene.home, run.rollback(1))
    finally:
        run.finish()


def _restore(scene: Scene) -> str:
    return _came_back(scene, scene.away, scene.archive(scene.away).restore(RUN, 1, to=OUT))


def _restore_nearby(scene: Scene) -> str:
    return _came_back(scene, scene.home, scene.archive(scene.home).restore(RUN, 1, to=OUT, staging=STAGING))


# --- looking after things --------------------------------------------------------------------------------------------------


def _verify(scene: Scene) -> str:
    report = scene.archive(scene.away).verify(RUN, deep=True)
    return FOUND if report.findings else DONE


def _untidy(scene: Scene) -> None:
    """The ring holds more than it need, a writer has died over a draft, and a promoted save has failed."""
    _archived(scene)
    _saved(scene, range(2, 5), _RARELY, "second", keep_local=9)
    scene.world.inject("disk.sync", Fault.SYNC_FAILED)

    def fails() -> None:
        run = scene.trainer(scene.home, "third", Every(1))
        assert not scene.save(scene.home, run, Slot(RUN, "third", 5, 0))
        assert scene.process is not None
        with run.checkpoint(6):
            scene.world.kill(scene.process)

    scene.play("trainer", scene.home, fails)
    _saved(scene, range(7, 9), _RARELY, "fourth")


def _tidy(scene: Scene) -> str:
    done = scene.work(scene.home)
    return LATER if done.troubles else DONE


OPERATIONS = (
    Operation("save", _archived, _save, _nothing_more),
    Operation("push", _folder, _push, _push),
    Operation("push, resumed", _half_sent, _push, _push),
    Operation("push, unchecked", _folder, _push, _push, is_checked=False),
    Operation("agent: upload", _staged, _ship, _settle),
    Operation("drain", _staged, _drain, _settle),
    Operation("commit", _contributed, _commit, _commit, at=1),
    Operation("resume, archive", _archived, lambda s: _resume(s, s.away), lambda s: _resume(s, s.away), at=1),
    Operation("resume, ring", _archived, lambda s: _resume(s, s.home), lambda s: _resume(s, s.home)),
    Operation("rollback", _archived, _roll_back, _roll_back),
    Operation("restore, archive", _archived, _restore, _restore, at=1),
    Operation("restore, ring", _archived, _restore_nearby, _restore_nearby),
    Operation("verify --deep", _archived, _verify, _verify, at=1),
    Operation("agent: tidy", _untidy, _tidy, _settle),
)
"""All of them, in the order in which a checkpoint meets them."""
