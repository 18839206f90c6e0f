"""After calm: everything has come to a good end, and whoever looks into the archive is told how it is."""

import random
from collections.abc import Iterator
from functools import partial

from ckpt_archive.archive import Archive
from ckpt_archive.commit import catalog
from ckpt_archive.commit.latest import latest
from ckpt_archive.errors import CkptArchiveError, NotFoundError
from ckpt_archive.patience import Patience
from ckpt_archive.place import Place
from ckpt_archive.testing.simulation.diary import Slot
from ckpt_archive.testing.simulation.node import Node
from ckpt_archive.testing.simulation.oracle import At
from ckpt_archive.testing.simulation.shelf import STAGING, Held, tree_of
from ckpt_archive.testing.simulation.stage import Stage

_MOST_RESTORED = 2


def check_settled(stage: Stage) -> None:
    """Everything that was promised is archived or given up on record, and nobody has left an upload behind."""
    for held in (*stage.shelf.held.values(), *stage.shelf.promised):
        problem = _unsettled(stage, held)
        assert problem is None, f"{held.save.slot} {problem}"
    for held in stage.shelf.held.values():
        assert not _waits_in_vain(stage, held), f"{held.save.slot} waits for ever: the archive has it as a gap"
    if not stage.has_little_room and not stage.world.options.disk_fault_chance:
        for slot, node in stage.awaited:
            assert not _is_silent(stage, slot, node), f"{slot} was not saved, and others wait for it: nobody was told"
    left = stage.left_uploads()
    assert not left, f"uploads were left behind: {left}"


def _unsettled(stage: Stage, held: Held) -> str | None:
    """What is still to be done for an acknowledged share, although nothing stands in the way."""
    slot, oracle = held.save.slot, stage.oracle
    attempt = oracle.attempts.get((slot.run, slot.launch_key))
    at = (slot.run, -1 if attempt is None else attempt, slot.step)
    # Where one writer alone decides, nobody else is asked.
    wanted = held.promoted or (at in oracle.promoted and oracle.launches[at[:2]]["writers"] > 1)
    if not wanted or (slot in oracle.slots and stage.diary.bound[slot] == held.save.files):
        return None
    if at in oracle.gaps:
        return None
    here = [other for other in stage.shelf.held.values() if other.save.slot[:3] == slot[:3]]
    if any(_is_spoilt(stage, other) for other in (held, *here)) or oracle.launches_damaged(slot.run):
        return None
    if attempt is None:
        return "is promoted, and its launch has never got a number"
    if held.folder not in stage.shelf.held and slot not in oracle.slots:
        return f"was promoted and is gone, neither archived (attempt {attempt}) nor given up on record"
    writers = oracle.launches[slot.run, attempt]["writers"]
    if len(here) < writers or oracle.is_damaged((slot.run, attempt, slot.step)):
        return None
    return f"is promoted, and neither archived (attempt {attempt}) nor given up on record"


def _waits_in_vain(stage: Stage, held: Held) -> bool:
    """Whether a share is still pinned although the archive holds the decision that it is given up."""
    slot, oracle = held.save.slot, stage.oracle
    attempt = oracle.attempts.get((slot.run, slot.launch_key), -1)
    if (slot.run, attempt, slot.step) not in oracle.gaps or oracle.launches[slot.run, attempt]["writers"] == 1:
        return False
    decided = held.has_gap or "archived.json" in held.folder.entries
    return held.promoted and not (
        decided or _is_spoilt(stage, held) or oracle.is_damaged((slot.run, attempt, slot.step))
    )


def _is_silent(stage: Stage, slot: Slot, node: str) -> bool:
    """Whether a save of one writer among several failed, and neither did it succeed later nor does the archive know."""
    oracle = stage.oracle
    attempt = oracle.attempts.get((slot.run, slot.launch_key))
    known = attempt is not None and (slot.run, attempt, slot.step) in oracle.gaps
    lost = node not in {there.name for there in stage.nodes} or slot in stage.diary.acknowledged
    damaged = oracle.launches_damaged(slot.run) or any(
        stage.shelf.records_rotted(there, slot.run) for there in stage.nodes
    )
    return not (known or lost or damaged or slot in oracle.slots)


def _is_spoilt(stage: Stage, held: Held) -> bool:
    """Whether it, or a record of its launch, has rotted, or somebody wrote into it."""
    return (
        held.rotted()
        or held.save.slot in stage.diary.spoilt
        or stage.shelf.records_rotted(held.node, held.save.slot.run)
    )


class Audit:
    """Somebody who has never been here looks into the archive.

    Args:
        stage: Where.
        node: From where.
        chance: Draws how closely; what is not looked at in this life is in another one.
    """

    def __init__(self, stage: Stage, node: Node, chance: random.Random) -> None:
        self._stage = stage
        self._oracle = stage.oracle
        self._node = node
        self._chance = chance

    def audit(self) -> None:
        """Whatever is committed is listed and restores, latest is what it must be, verify and doctor tell the truth."""
        archive = self._stage.archive(self._node)
        try:
            store = self._stage.connect(self._node, Patience.LONG).store
        except CkptArchiveError:
            assert self._oracle.archive_damaged, "the archive can not be opened"
            return
        for run in {run: None for run, _ in self._oracle.launches}:
            if not self._oracle.launches_damaged(run):
                found = latest(store, run)
                wanted = self._oracle.expected_latest(run)
                answer = None if found is None else (found.attempt, found.step)
                assert answer == wanted, f"latest of {run} is {answer}, and should be {wanted}"
        listed = {
            (place.run, place.attempt, place.step)
            for run in catalog.runs(store)
            for place in catalog.places(store, run)
        }
        known = set(self._oracle.archived)
        assert all(self._oracle.is_damaged(at) for at in listed ^ known), f"listed are {listed}, committed {known}"
        self._restore(archive)
        if self._chance.random() < 0.25:
            self._stage.spawn("afterwards", node := self._chance.choice(self._stage.nodes), partial(self._resume, node))
        if self._chance.random() < 0.3:
            self._verify(archive)
        if self._chance.random() < 0.3:
            self._examine(archive)

    def _restore(self, archive: Archive) -> None:
        committed = list(self._oracle.archived)
        for at in committed if len(committed) <= _MOST_RESTORED else self._chance.sample(committed, _MOST_RESTORED):
            run, attempt, step = at
            try:
                restored = archive.restore(run, step, attempt=attempt, to="/out")
            except CkptArchiveError as error:
                if not self._oracle.is_damaged(at):
                    raise AssertionError(
                        f"{run} step {step} of attempt {attempt} is committed, but: {error}"
                    ) from error
                continue
            files = tree_of(self._node.disk.find(str(restored.path)))
            assert files == self._oracle.archived[at], f"{run} step {step} of attempt {attempt} came back different"

    def _resume(self, node: Node) -> None:
        """Somebody goes on training on a node that has trained before."""
        oracle, stage = self._oracle, self._stage
        runs = sorted({run for run, _ in oracle.launches})
        if not runs:
            return
        name = self._chance.choice(runs)
        ring = f"{STAGING}/{name}"
        excused = (
            oracle.launches_damaged(name)
            or any(oracle.is_damaged(at) for at in (*oracle.archived, *oracle.unreadable) if at[0] == name)
            or any(inode.rotted for _, inode in node.disk.tree(ring))
            or any(slot.run == name for slot in stage.diary.spoilt)
        )
        wanted = oracle.expected_latest(name)
        run = stage.archive(node).run(name, staging=STAGING, launch_key=f"{name}-afterwards", agent="external")
        try:
            restored = run.resume()
        except CkptArchiveError as error:
            # A step that was chosen is answered as it was chosen, and another node alone may have it.
            gone = isinstance(error, NotFoundError) and wanted is not None and (name, *wanted) not in oracle.archived
            if not (excused or gone):
                raise AssertionError(f"all is well, and {name} can not be resumed on {node.name}: {error}") from error
            return
        if excused:
            return
        answer = None if restored is None else (restored.attempt or 0, restored.step)
        same = answer == wanted or (restored is not None and restored.source == "ring")
        assert same, f"{name} was resumed from {answer} on {node.name}, and the latest is {wanted}"

    def _verify(self, archive: Archive) -> None:
        report = archive.verify(deep=True)
        found = {(finding.run, finding.attempt, finding.step) for finding in report.findings}
        for at in found:
            assert self._oracle.is_damaged(at), f"verify says that {at} is damaged, and it is not: {report.findings}"
        for at in self._oracle.archived:
            wrong = self._oracle.wrong_keys(at)
            assert at in found or not wrong, f"verify says nothing of {at}, of which {wrong} are not what was archived"

    # --- doctor --------------------------------------------------------------------------------------------------------

    def _examine(self, archive: Archive) -> None:
        if any(self._oracle.launches_damaged(run) for run, _ in self._oracle.launches):
            return
        findings = archive.doctor()
        wanted = dict(self._missing())
        for finding in findings:
            if finding.what in ("gaps", "forgotten uploads"):
                continue
            if finding.what == "unreadable decision" and self._decisions_rotted(*_attempt_of(finding.detail)):
                continue
            about = [at for at in wanted if finding.detail.startswith(f"{Place(*at)}:")]
            assert about, f"doctor names what is not missing: {finding}"
            what, ranks = wanted.pop(about[0])
            assert finding.what in what, f"doctor calls it {finding.what!r}, and it is {what}: {finding.detail}"
            if finding.what == "awaiting writers":
                assert f"{', '.join(map(str, ranks))} of" in finding.detail, f"{ranks} are missing: {finding.detail}"
        assert not wanted, f"doctor does not name what is missing: {wanted}"
        told = sum(
            int(finding.detail.partition("): ")[2].partition(" ")[0]) for finding in findings if finding.what == "gaps"
        )
        gaps = {at for at in self._oracle.gaps if at not in self._manifests() and not self._decisions_rotted(*at[:2])}
        assert told == len(gaps), f"doctor tells of {told} gaps, and there are {gaps}"

    def _decisions_rotted(self, run: str, attempt: int) -> bool:
        """Whether one has: then doctor names it, and counts none of this attempt."""
        folder = f"runs/{run}/decisions/{attempt:08d}/"
        return any(key.startswith(folder) for key in self._stage.store.bucket.rotted)

    def _missing(self) -> Iterator[tuple[At, tuple[tuple[str, ...], list[int]]]]:
        """What the store holds of checkpoints that are not committed: what doctor may call it, and the missing ranks."""
        oracle, committed = self._oracle, self._manifests()
        receipts, data = oracle.contributed()
        for at in sorted({*receipts, *data}.difference(committed)):
            if at in oracle.gaps:
                if at in data:
                    yield at, (("given up",), [])
            elif at in receipts:
                writers = max(receipts[at].values())
                missing = sorted(set(range(writers)).difference(receipts[at]))
                names: tuple[str, ...] = (
                    ("awaiting writers",) if missing else ("commit not finished", "can not be committed")
                )
                if oracle.is_damaged(at):
                    names = ("awaiting writers", "commit not finished", "can not be committed", "unreadable receipt")
                yield at, (names, missing)
            else:
                yield at, (("data without a receipt",), [])

    def _manifests(self) -> set[At]:
        return {*self._oracle.archived, *self._oracle.unreadable}


def _attempt_of(detail: str) -> tuple[str, int]:
    """(run, attempt) with which a finding about decisions begins: ``run-0 (attempt 3): …``."""
    run, _, rest = detail.partition(" (attempt ")
    return run, int(rest.partition(")")[0])
