"""What is wrong with an archive, what it costs, and the command that mends it. Reads only.

Costs one listing per thousand objects of data and receipts, and for each checkpoint whose end is announced its records and a
listing: it is asked by people, not by programs.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from ckpt_archive.audit.doctor_fates import examine_fates
from ckpt_archive.audit.doctor_finding import DoctorFinding
from ckpt_archive.audit.doctor_quotas import quota_findings
from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.decision import Action, read_decision, read_decisions
from ckpt_archive.commit.launch import push_key
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import contributed_ranks, read_receipt
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.executor import Executor
from ckpt_archive.machine import Machine
from ckpt_archive.names import MAX_ATTEMPT, RUN_NAME
from ckpt_archive.place import Place
from ckpt_archive.retention.engineless.orphans import find_orphans, steps_of, summary
from ckpt_archive.retention.money.prices import shipped
from ckpt_archive.settings import LAUNCH_KEY
from ckpt_archive.store.protocol import Store, UploadInfo, list_all, list_folders

# Younger ones are more likely still at work than forgotten.
_YOUNG = timedelta(hours=24)
_UNREADABLE = (IntegrityError, InvalidInputError, NotFoundError)
_ATTEMPT = re.compile(f"[0-9]{{{len(str(MAX_ATTEMPT))}}}")
_DRAIN = "ckpt-archive drain --staging DIR"
_MOST_PUSHES = 3  # commands shown
_MOST_STEPS = 8


def examine(machine: Machine, connection: Connection) -> tuple[DoctorFinding, ...]:
    """Look for uncommitted checkpoints, orphaned data, forgotten uploads and what does not belong there.

    Raises:
        UnavailableError: If the store does not answer.
    """
    store = connection.store
    now = machine.clock.now()
    names = {name for kind in ("manifests", "receipts", "data", "runs") for name in _folders(store, f"{kind}/")}
    runs = sorted(name for name in names if RUN_NAME.fullmatch(name))
    findings = [_stranger(f"{name}/", "among the runs") for name in sorted(names.difference(runs))]
    for run in runs:
        findings += _examine_run(connection, machine.executor, run, now)
    findings += _uploads(store, now)
    findings += _orphans(machine, connection, now)
    findings += quota_findings(connection, runs)
    return tuple(findings)


def _examine_run(connection: Connection, executor: Executor, run: str, now: datetime) -> Iterator[DoctorFinding]:
    store = connection.store
    committed: set[Place] = set()
    for key in catalog.manifest_keys(store, run):
        try:
            committed.add(Place(*layout.manifest_place(key)))
        except IntegrityError:
            yield _stranger(key, "among the manifests")
    contributed = steps_of(store, "receipts/", run)
    uncommitted = (contributed | steps_of(store, "data/", run)) - committed
    given_up = {place for place in uncommitted if _is_given_up(store, place)}
    for place in sorted(uncommitted & contributed - given_up):
        yield from _uncommitted(store, place)
    for place in sorted(uncommitted - contributed | given_up):
        yield from _left_over(store, place, now, given_up=place in given_up)
    yield from _gaps(store, run, committed)
    yield from examine_fates(connection, executor, run, committed)


def _gaps(store: Store, run: str, committed: set[Place]) -> Iterator[DoctorFinding]:
    """What was to be archived and never will be: nothing can be done about it, but somebody may look for it."""
    for name in _folders(store, f"{layout.RUNS}{run}/decisions/"):
        if not _ATTEMPT.fullmatch(name):
            yield _stranger(f"{layout.RUNS}{run}/decisions/{name}/", "among the decisions")
            continue
        try:
            decisions = read_decisions(store, run, int(name))
        except _UNREADABLE as error:
            yield DoctorFinding("error", "unreadable decision", f"{run} (attempt {int(name)}): {error.message}")
            continue
        gaps = [
            item
            for step, item in sorted(decisions.items())
            if item.action is Action.GAP and Place(run, int(name), step) not in committed
        ]
        if gaps:
            steps = ", ".join(str(item.step) for item in gaps[:_MOST_STEPS]) + (
                ", …" if len(gaps) > _MOST_STEPS else ""
            )
            yield DoctorFinding(
                "note",
                "gaps",
                f"{run} (attempt {int(name)}): {len(gaps)} checkpoints were given up and will never be archived: {steps}; "
                f"the last one because {gaps[-1].reason}",
            )


def _stranger(key: str, where: str) -> DoctorFinding:
    return DoctorFinding(
        "error" if where == "among the manifests" else "warning",
        "not ours",
        f"{key!r} lies {where} and was not written by ckpt-archive: whoever lists them may stumble over it",
        "Move it elsewhere.",
    )


def _is_given_up(store: Store, place: Place) -> bool:
    try:
        decision = read_decision(store, place.run, place.attempt, place.step)
    except _UNREADABLE:
        return False
    return decision is not None and decision.action is Action.GAP


def _left_over(store: Store, place: Place, now: datetime, *, given_up: bool) -> Iterator[DoctorFinding]:
    """Data that no checkpoint will ever name, unless somebody goes on with it."""
    objects = list_all(store, layout.data_folder(place.run, place.attempt, place.step))
    if not objects:
        return
    size_bytes = sum(item.size_bytes for item in objects)
    newest = max((item.modified for item in objects if item.modified is not None), default=now)
    young = now - newest < _YOUNG
    what = f"{place}: {len(objects)} objects, {size_bytes} bytes, newest from {newest:%Y-%m-%d %H:%M} UTC, "
    if given_up:
        yield DoctorFinding("note", "given up", what + "of a checkpoint that was decided to be a gap")
    else:
        yield DoctorFinding(
            "note" if young else "warning",
            "data without a receipt",
            what + ("probably still being uploaded" if young else "left by a writer that never came back"),
            f"ckpt-archive push DIR --run {place.run} --step {place.step}",
        )


def _uncommitted(store: Store, place: Place) -> Iterator[DoctorFinding]:
    """Why a checkpoint with receipts has no manifest."""
    ranks = sorted(contributed_ranks(store, place))
    if not ranks:
        return
    writers = 1
    try:
        receipt, data = read_receipt(store, place, ranks[0])
        said = receipt.contribution
        writers = said.writers
        missing = sorted(set(range(said.writers)) - set(ranks))
        if not missing:
            Manifest.of([(receipt, data), *(read_receipt(store, place, rank) for rank in ranks[1:])])
    except (ConflictError, InvalidInputError) as error:
        yield DoctorFinding("error", "can not be committed", f"{place}: {error.message}", _push_anew(place, writers))
    except _UNREADABLE as error:
        yield DoctorFinding("error", "unreadable receipt", f"{place}: {error.message}")
    else:
        if not missing:
            yield DoctorFinding(
                "warning",
                "commit not finished",
                f"{place}: all {said.writers} receipts are there, but no manifest",
                _push(receipt, 0) if _was_pushed(receipt) else _DRAIN,
            )
            return
        shown = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
        yield DoctorFinding(
            "warning",
            "awaiting writers",
            f"{place}: {'ranks' if len(missing) > 1 else 'rank'} {shown} of {said.writers} writers never arrived, since "
            f"{said.staged_at:%Y-%m-%d %H:%M} UTC. If one never comes, the step stays invisible and does no harm; "
            + _without_them(receipt, ranks),
            _pushes(receipt, missing) if _was_pushed(receipt) else f"{_DRAIN}   (on the missing writers' nodes)",
        )


def _push_anew(place: Place, writers: int) -> str:
    """The command that archives the step again, beside what is there."""
    push = f"ckpt-archive push DIR --run {place.run} --step {place.step}"
    if writers == 1:
        return f"{push} --new-attempt"
    return f"{LAUNCH_KEY}=NEW-TEXT {push} --rank RANK --writers {writers}   (for each rank)"


def _was_pushed(receipt: Receipt) -> bool:
    key = receipt.contribution.launch_key
    return key == push_key(receipt.run) or key.startswith(f"{push_key(receipt.run)}:")


def _push(receipt: Receipt, rank: int) -> str:
    """The command that goes on with what this receipt belongs to."""
    _, _, launch_key = receipt.contribution.launch_key.removeprefix("push:").partition(":")
    return (
        (f"{LAUNCH_KEY}={shlex.quote(launch_key)} " if launch_key else "")
        + f"ckpt-archive push DIR --run {receipt.run} --step {receipt.step}"
        + (f" --rank {rank} --writers {receipt.contribution.writers}" if receipt.contribution.writers > 1 else "")
    )


def _pushes(receipt: Receipt, ranks: Sequence[int]) -> str:
    shown = [_push(receipt, rank) for rank in ranks[:_MOST_PUSHES]]
    return "; ".join(shown) + ("; …" if len(ranks) > _MOST_PUSHES else "")


def _without_them(receipt: Receipt, ranks: Sequence[int]) -> str:
    """How to archive what there is, as a checkpoint of its own."""
    if not _was_pushed(receipt):
        return "a launch that resumes passes over it"
    writers = f"--rank 0 to {len(ranks) - 1} --writers {len(ranks)}" if len(ranks) > 1 else "as one writer"
    return f"to archive the others alone, push their folders again {writers} with a {LAUNCH_KEY} that is new"


def _uploads(store: Store, now: datetime) -> Iterator[DoctorFinding]:
    old: list[UploadInfo] = [
        upload for upload in store.list_uploads("data/") if upload.started is None or now - upload.started > _YOUNG
    ]
    if old:
        yield DoctorFinding(
            "warning",
            "forgotten uploads",
            f"{len(old)} multipart uploads were begun more than a day ago and never completed, the first of them "
            f"{min(upload.key for upload in old)}; their parts are stored and paid for",
            "ckpt-archive retention apply   (sets the rule that removes them)",
        )


def _orphans(machine: Machine, connection: Connection, now: datetime) -> Iterator[DoctorFinding]:
    """What of all that can be removed, and what it costs."""
    book = shipped()
    said = summary(find_orphans(connection, machine, now), book)
    if said:
        command = "ckpt-archive retention run --orphans   (shows them; --yes removes them)"
        yield DoctorFinding("warning", "orphans", f"{said} ({book.said[0]})", command)


def _folders(store: Store, prefix: str) -> Iterator[str]:
    """Names of the folders directly below `prefix`."""
    for folder in list_folders(store, prefix):
        yield folder[len(prefix) :].rstrip("/")
