"""`ckpt-archive retention run`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import click

from ckpt_archive import compose
from ckpt_archive.archive import Archive
from ckpt_archive.cli.columns import Value, number_column, size_column, text_column
from ckpt_archive.cli.exits import FINDINGS
from ckpt_archive.cli.output import Screen
from ckpt_archive.cli.parameters import duration
from ckpt_archive.cli.retention_parameters import counting_policy
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.cli.waiting import Stop
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import store_time
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.progress import Meter
from ckpt_archive.retention.engineless.cooling import Cooling, cool, find_coolings, second_root
from ckpt_archive.retention.engineless.execute import Ending, check_margin, find_endings, remove
from ckpt_archive.retention.engineless.mending import mend
from ckpt_archive.retention.engineless.orphans import Orphan, find_orphans
from ckpt_archive.retention.engineless.sweeping import Litter, find_litter, sweep
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.policy.values import Policy
from ckpt_archive.retention.rules.rules import ours
from ckpt_archive.settings import Environment
from ckpt_archive.store.file import files_of
from ckpt_archive.store.protocol import ObjectInfo

_COLUMNS = (
    text_column("action"),
    text_column("run"),
    number_column("attempt"),
    number_column("step"),
    text_column("key"),
    number_column("objects"),
    size_column("size_bytes"),
    text_column("reason"),
)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be done.

    Attributes:
        endings: Checkpoints whose end has come, also those that are kept.
        coolings: Checkpoints of which something is moved below the second root.
        litter: Markers, uploads and temporary files.
        orphans: What no checkpoint has.
    """

    endings: tuple[Ending, ...]
    coolings: tuple[Cooling, ...]
    litter: tuple[Litter, ...]
    orphans: tuple[Orphan, ...]


@verb(
    "retention run",
    example="ckpt-archive retention run\nckpt-archive retention run --yes --orphans",
    exits=(1, 3, 4, 5, 6, 7),
)
@click.option("--policy", metavar="FILE", help="The policy: a file, or a preset; else the one that is in force.")
@click.option("--yes", is_flag=True, help="Do it; without this it is only shown.")
@click.option(
    "--margin",
    type=duration,
    default="1d",
    show_default=True,
    metavar="TIME",
    help="How long after the end that was announced data is removed.",
)
@click.option(
    "--orphans", is_flag=True, help="Remove what was begun a week ago and more, and belongs to no checkpoint."
)
def command(frame: Frame, /, *, policy: str | None, yes: bool, margin: float, orphans: bool) -> int:
    """Carry out what has ended, where the store does not do it itself.

    For folders, and for S3 servers whose lifecycle engine does not run or refuses transitions. Only what was announced is
    removed, and nothing that is held, locked, the newest of its run or what a launch would go on from. Moves data below the
    second root that the policy names (`cold`), and removes markers and uploads that the rules of a bucket would remove.
    Without --yes it shows what it would do, with -v object by object. Run it from cron; killed anywhere and run again, it
    comes to the same end.
    """
    connection = Archive.open(frame.archive_url).connection
    machine = compose.system_machine()
    after = check_margin(timedelta(seconds=margin))
    chosen, _ = counting_policy(connection, policy)
    now = store_time(connection.store)
    work = _find(machine, connection, chosen, after, now, orphans=orphans)
    _explain(frame.screen, connection, chosen, work)
    if not yes:
        nothing = "there is nothing to do."
        rows = [_row(*shown) for shown in _shown(work, each=frame.verbosity > 0)]
        frame.screen.rows(_COLUMNS, rows, nothing=nothing)
        if rows:
            frame.screen.note("Nothing was done: --yes does it.")
        return 0
    voice = Voice(machine, connection, Environment.read().actor, chosen.sha256)
    with Stop() as stop:
        rows, problems = _do(frame.screen, voice, chosen, after, now, work, lambda: not stop())
    frame.screen.rows(_COLUMNS, rows, nothing="there was nothing to do.")
    for problem in problems:
        frame.screen.note(problem)
    return FINDINGS if problems else 0


def _find(
    machine: Machine, connection: Connection, policy: Policy, margin: timedelta, now: datetime, *, orphans: bool
) -> _Work:
    files = files_of(connection.store)
    moves = files is not None and (policy.cold or files.cold.root() is not None)
    return _Work(
        endings=tuple(find_endings(machine, connection, policy, margin)),
        coolings=tuple(find_coolings(machine, connection, files.cold, now)) if files is not None and moves else (),
        litter=tuple(find_litter(connection, now, policy.abort_incomplete_days)),
        orphans=find_orphans(connection, machine, now) if orphans else (),
    )


def _explain(screen: Screen, connection: Connection, policy: Policy, work: _Work) -> None:
    bucket = connection.bucket
    if bucket is not None and work.endings and bucket.features().versioned:
        screen.note(
            "The bucket keeps versions: deleting makes marks, and the bytes are freed when the rule for old versions, or "
            "whoever has the right to delete versions, removes them."
        )
    if bucket is not None and work.endings and any(ours(rule, bucket.prefix) for rule in bucket.read_rules()):
        screen.note(
            "The bucket has rules that remove what has ended: where an engine carries them out, nobody needs to run this."
        )
    if files_of(connection.store) is None and policy.cold:
        screen.note(f"The policy names a second root, {policy.cold}: only an archive in a folder can have one.")


def _do(
    screen: Screen,
    voice: Voice,
    policy: Policy,
    margin: timedelta,
    now: datetime,
    work: _Work,
    go_on: Callable[[], bool],
) -> tuple[list[dict[str, Value]], list[str]]:
    """Do it; what was done, and what could not be."""
    machine, connection = voice.machine, voice.connection
    rows: list[dict[str, Value]] = []
    files = files_of(connection.store)
    if work.coolings and files is not None and policy.cold:
        files.cold.attach(second_root(policy.cold), connection.archive_id)
    removed = remove(voice, policy, margin, work.endings, go_on)
    if removed.checkpoints or removed.objects:
        rows.append(_row("ended", None, "", removed.objects, removed.size_bytes, f"{removed.checkpoints} checkpoints"))
    kept = {ending.place: ending for ending in (*work.endings, *removed.kept) if ending.objection}
    rows += [_kept(ending) for ending in kept.values()]
    problems: list[str] = []
    if work.coolings and files is not None:
        with screen.progress() as progress:
            meter = Meter(progress, "move", sum(cooling.size_bytes for cooling in work.coolings))
            cooled = cool(machine, connection, files.cold, work.coolings, now, go_on=go_on, moved=meter)
        rows.append(_row("moved", None, "", cooled.objects, cooled.size_bytes, f"below {files.cold.root()}"))
        problems += cooled.problems
    swept = sweep(machine, connection, work.litter, now, policy.abort_incomplete_days, go_on)
    if swept:
        size_bytes = sum(item.size_bytes for item in work.litter)
        rows.append(_row("swept", None, "", swept, size_bytes, "old markers, uploads and temporary files"))
    mended = mend(voice, work.orphans, now, go_on=go_on)
    if mended.objects or mended.uploads:
        reason = f"{mended.uploads} uploads, and data that no receipt names"
        rows.append(_row("mended", None, "", mended.objects, mended.size_bytes, reason))
    rows += [_row("kept", item.place, item.key, 0, 0, "somebody goes on with it, or holds it") for item in mended.kept]
    return rows, problems


def _shown(work: _Work, *, each: bool) -> Iterator[tuple[str, Place | None, str, int, int, str]]:
    """Everything that would be done, and what would not be, and why; with `each`, object by object."""
    for ending in work.endings:
        action = "keep" if ending.objection else "end"
        yield action, ending.place, "", len(ending.objects), ending.size_bytes, ending.reason
        yield from _objects(action, ending.place, ending.objects if each else ())
    for cooling in work.coolings:
        yield "move", cooling.place, "", len(cooling.objects), cooling.size_bytes, f"{cooling.tag}: it is old enough"
        yield from _objects("move", cooling.place, cooling.objects if each else ())
    markers = [item for item in work.litter if item.kind == "marker"]
    if each:
        yield from (("sweep", None, item.key, 1, item.size_bytes, item.reason) for item in markers)
    elif markers:
        size_bytes = sum(item.size_bytes for item in markers)
        yield "sweep", None, f"{markers[0].key} …", len(markers), size_bytes, markers[0].reason
    for item in work.litter:
        if item.kind != "marker":
            yield "abort", None, item.key or item.name, 1, item.size_bytes, item.reason
    for orphan in work.orphans:
        count = len(orphan.objects) or 1
        action = "mend" if orphan.is_mended else "keep"
        yield action, orphan.place, orphan.key, count, orphan.size_bytes, orphan.reason
        yield from _objects(action, orphan.place, orphan.objects if each else ())


def _objects(
    action: str, place: Place | None, objects: Sequence[ObjectInfo]
) -> Iterator[tuple[str, Place | None, str, int, int, str]]:
    for info in objects:
        yield action, place, info.key, 1, info.size_bytes, "an object of it"


def _kept(ending: Ending) -> dict[str, Value]:
    return _row("kept", ending.place, "", len(ending.objects), ending.size_bytes, ending.reason)


def _row(action: str, place: Place | None, key: str, objects: int, size_bytes: int, reason: str) -> dict[str, Value]:
    return {
        "action": action,
        "run": place.run if place else "",
        "attempt": place.attempt if place else None,
        "step": place.step if place else None,
        "key": key,
        "objects": objects,
        "size_bytes": size_bytes,
        "reason": reason,
    }
