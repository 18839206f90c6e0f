"""Every workload of up to three operations, broken off everywhere: what of that a developer wants to wait for."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from ckpt_archive.commit import committing, contribute, launch
from ckpt_archive.disk import durable
from ckpt_archive.errors import ConflictError
from ckpt_archive.local import facts, tidy
from ckpt_archive.testing.simulation.exhaustive import Case, Plan, Totals, exhaust, play, points, states, words
from ckpt_archive.testing.simulation.faults import Crash, CrashPoint, Options, When
from ckpt_archive.testing.simulation.memo import remembering
from ckpt_archive.testing.simulation.planted import Mistake, planted
from ckpt_archive.testing.simulation.process import Process, State
from ckpt_archive.testing.simulation.script import Operation, Order, Script, Start, Word
from ckpt_archive.testing.simulation.scripted import Scripted
from ckpt_archive.testing.simulation.world import World
from ckpt_archive.transfer import messages
from ckpt_archive.transfer.upload import _Upload

SAVE, PROMOTE, UPLOAD, COMMIT, RESTORE, EVICT, RESTART = Operation
IN_TURNS = Plan(in_turns=True)
_NEVER = 1_000_000

WORDS = [*((operation,) for operation in Operation), (SAVE, UPLOAD)]


@pytest.mark.parametrize("first", Operation)
def test_no_promise_is_broken_wherever_two_operations_break_off(first: Operation) -> None:
    for word in ((first,), *((first, second) for second in Operation)):
        _check(exhaust(word, IN_TURNS))


def test_no_promise_is_broken_wherever_a_first_launch_breaks_off() -> None:
    totals = _check(exhaust((), Plan()))
    assert totals.covered == totals.points > 500


# Without a save before them there is nothing to upload, and without an upload nothing to commit.
@pytest.mark.parametrize("second", Operation)
def test_no_promise_is_broken_wherever_a_save_and_two_operations_break_off(second: Operation) -> None:
    for third in Operation:
        _check(exhaust((SAVE, second, third), replace(IN_TURNS, stride=8)))


def test_no_promise_is_broken_wherever_a_commit_breaks_off() -> None:
    for first in (SAVE, PROMOTE):
        _check(exhaust((first, UPLOAD, COMMIT), Plan()))


@pytest.mark.parametrize("first", [operation for operation in Operation if operation is not SAVE])
def test_no_promise_is_broken_where_three_operations_break_off_here_and_there(first: Operation) -> None:
    for second, third in list(product(Operation, repeat=2))[list(Operation).index(first) :: 4]:
        _check(exhaust((first, second, third), replace(IN_TURNS, stride=20)))


def test_no_promise_is_broken_where_the_recovery_breaks_off_too() -> None:
    pairs = sum(_check(exhaust(word, Plan(stride=_NEVER, double_stride=41))).double_points for word in words(2))
    assert pairs > 80


def _check(totals: Totals) -> Totals:
    assert not totals.violations, totals.violations[0]
    return totals


# --- what is not done twice is the same ------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", Start)
@pytest.mark.parametrize("word", [(SAVE, UPLOAD, COMMIT), (SAVE, RESTART, RESTORE), (PROMOTE, EVICT, SAVE)])
def test_a_word_begins_as_its_prefix_does(start: Start, word: Word) -> None:
    whole = play(Case(Script(start, word)), trace=True)
    prefix = play(Case(Script(start, word[:-1])), trace=True)
    # But for the one step in which the prefix ends.
    assert prefix.done_io == whole.begun_io + 1
    assert whole.between(0, whole.begun_io) == prefix.between(0, whole.begun_io)


class Photographed(Scripted):
    """Remembers what there was outside of all processes when the last one was killed."""

    left: object = None

    def ended(self, process: Process) -> None:
        """See `Watcher`."""
        super().ended(process)
        if process.state is State.KILLED:
            self.left = (list(self._disk()), dict(self.store.bucket.objects), list(self._uploads()))

    def _disk(self) -> Iterator[object]:
        for path, inode in self.node.disk.tree():
            waits = sorted((name, [found and found.number for found in all_]) for name, all_ in inode.pending.items())
            yield path, inode.number, bytes(inode.data), inode.base, waits, inode.shared, inode.exclusive

    def _uploads(self) -> Iterator[object]:
        for upload_id, upload in self.store.bucket.uploads.items():
            yield upload_id, upload.key, dict(upload.parts)


def left_by(script: Script, point: CrashPoint) -> object:
    with World(0, Options(switch_chance=0.0, crashes=(point,))) as world:
        life = Photographed(world, script)
        life.play()
    assert life.left is not None
    return life.left


@pytest.mark.parametrize("word", WORDS, ids=lambda word: "+".join(operation.value for operation in word))
def test_a_crash_that_is_left_out_leaves_what_the_next_one_leaves(word: Word) -> None:
    script = Script(Start.DEMAND if word[0] is PROMOTE else Start.RULE, word)
    told = play(Case(script), trace=True)
    process = {call.io: call.process for call in told.calls}
    judged = set(states(told.last_operation, Crash.PROCESS))
    left_out: list[tuple[CrashPoint, object]] = []
    with remembering():
        for point in points(told.last_operation, Crash.PROCESS):
            left = left_by(script, point)
            if point not in judged:
                left_out.append((point, left))
                continue
            for other, same in left_out:
                assert process[other.io] == process[point.io], f"{other} belongs to another process than {point}"
                assert same == left, f"{other} does not leave what {point} leaves"
            left_out.clear()
    assert not left_out, f"{left_out[0][0]} is not stood for"


# --- what would be found ---------------------------------------------------------------------------------------------------


def _instead(value: object) -> Callable[[Any], Any]:
    return lambda _: lambda *_, **__: value


def _conflict(original: Any) -> Any:
    def create(store: Any, key: str, data: bytes) -> Any:
        there = original(store, key, data)
        if there is not None:
            raise ConflictError(f"there is already {key}", hint="Nobody can help.")
        return there

    return create


def _write_loosely(_: Any) -> Any:
    def write(run: Any, path: str, data: bytes) -> bytes:
        with run.machine.fs.create(path) as file:
            file.write_at(data, 0)
            file.sync()
        return data

    return write


def _rename_alone(_: Any) -> Any:
    return lambda fs, old, new: fs.rename(old, new)


def _blind(_: Any) -> Any:
    def look(this: Any, folder: str) -> None:
        del folder
        for session, source in this._pairs:
            this._tell(session, source, messages.Listed(None))
            this._tell(session, source, messages.UploadsListed(()))

    return look


MISTAKES = (
    (Mistake("dead drafts are not removed", ((tidy, "_clean_drafts", _instead((0, 0))),)), (SAVE,)),
    (Mistake("a manifest that stands is another's", ((committing, "create_once", _conflict),)), (SAVE, UPLOAD, COMMIT)),
    (Mistake("a receipt that stands is another's", ((contribute, "create_once", _conflict),)), (SAVE, UPLOAD)),
    (Mistake("a fact may be torn or gone", ((facts, "_write", _write_loosely),)), (SAVE, UPLOAD)),
    (Mistake("nobody looks for earlier uploads", ((_Upload, "look", _blind),)), (SAVE, UPLOAD)),
    (Mistake("a launch is numbered once more", ((launch, "_find", _instead(None)),)), ()),
    (Mistake("renames are not made durable", ((durable, "move", _rename_alone),)), (RESTORE, SAVE)),
)
"""Each with a word in which a crash shows it."""


@pytest.mark.parametrize(("mistake", "word"), MISTAKES, ids=[mistake.name for mistake, _ in MISTAKES])
def test_a_mistake_is_found_by_a_crash(mistake: Mistake, word: Word) -> None:
    with planted(mistake):
        totals = exhaust(word, IN_TURNS)
    assert totals.violations, f"{word} passes although {mistake}"
    case = Case.parse(totals.violations[0].case)
    assert case.crashes, f"{mistake} shows without a crash: {totals.violations[0].what}"
    play(case)


def test_a_case_is_told_again_by_its_name() -> None:
    case = Case(
        Script(Start.DEMAND, (SAVE, RESTART), Order.AGENT, 1),
        (CrashPoint(130, When.AFTER, Crash.NODE), CrashPoint(200)),
    )
    assert str(case) == "demand/save+restart/agent/1/130:after:node,200:before:process"
    assert Case.parse(str(case)) == case
    assert Case.parse(str(Case(Script(Start.RULE, ())))) == Case(Script(Start.RULE, ()))
