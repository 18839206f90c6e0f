"""Which checkpoint a new launch goes on from: the same few requests after 3 checkpoints or 3,000, or 3,000 empty launches.

The newest attempt that is not late and has a checkpoint answers with its newest step; but nothing from before the last
explicit choice does, so nobody resumes a branch that was rolled back, although its steps are larger. There is no walk along
the launches to find this: manifests list newest first, and every record carries over where its branch begins.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from ckpt_archive.commit import layout
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.commit.writeonce import read_record
from ckpt_archive.errors import IntegrityError, NotFoundError
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import ObjectInfo, Store, list_pages

# As cheap as asking for one; the newest is nearly always among them when somebody looks for a record of his own.
_FIRST_PAGE = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands.

    Attributes:
        newest: The newest launch that is not late; None if there is none.
        head: What a new launch goes on from unless somebody chooses otherwise; None from nothing. A step that was chosen
            explicitly is answered as it was chosen: loading it tells whether it is there.
    """

    newest: Launch | None
    head: Place | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A launch record, and the store's time of its creation."""

    launch: Launch
    recorded_at: datetime


def latest(store: Store, run: str) -> Place | None:
    """The checkpoint that answers "latest": None if the run has none yet, or begins anew.

    Raises:
        IntegrityError: If the records contradict each other.
        UnavailableError: If the store does not answer.
    """
    return standing(store, run).head


def standing(store: Store, run: str) -> Standing:
    """Where a run stands.

    Costs one listing of launches, one of manifests, and at most three reads; one more of each for every group of late
    launches that have checkpoints.

    Raises:
        IntegrityError: If the records contradict each other.
        UnavailableError: If the store does not answer.
    """
    first = next(attempts(store, run), None)
    if first is None:
        check_recorded(store, run)
        return Standing(None, None)
    newest = read_attempt(store, run, first)
    return standing_of(store, on_time(store, newest), newest)


def attempts(
    store: Store, run: str, *, since: Callable[[datetime], datetime | None] = lambda _: None
) -> Iterator[ObjectInfo]:
    """The launch records of a run as they list, newest first; a page is only asked for when it is needed.

    Args:
        store: Where the archive is.
        run: Run name.
        since: Which of them are wanted besides the newest, when the store's clock says that time; None: all.
    """
    oldest: datetime | None = None
    is_newest = True
    for page in list_pages(store, layout.attempts_folder(run), first_limit=_FIRST_PAGE):
        if is_newest:
            oldest = since(page.store_time)
        for info in page.objects:
            if not is_newest and oldest is not None and info.modified is not None and info.modified < oldest:
                return
            is_newest = False
            yield info


def read_attempt(store: Store, run: str, info: ObjectInfo | str) -> Recorded:
    """The launch record under a key that was listed or built.

    Raises:
        IntegrityError: If it is malformed, or is the record of another attempt.
    """
    key, listed_at = (info, None) if isinstance(info, str) else (info.key, info.modified)
    stored = read_record(store, key)
    launch = Launch.decode(stored.data, key).check_key(run, layout.attempt_number(key))
    return Recorded(launch, listed_at or stored.info.modified or launch.started_at)


def on_time(store: Store, newest: Recorded) -> Recorded:
    """The newest record that is not late, from the newest one: itself, or the one it names.

    Raises:
        IntegrityError: If the one it names is late too.
    """
    if not newest.launch.late:
        return newest
    fallback = newest.launch.falls_back_to
    assert fallback is not None
    run = newest.launch.run
    found = read_attempt(store, run, layout.attempt_record(run, fallback.attempt))
    if found.launch.late:
        raise IntegrityError(
            f"attempt {newest.launch.attempt} of {run} is late and names attempt {fallback.attempt}, which is late too",
            hint="The launch records were damaged or not written by ckpt-archive.",
        )
    return found


def standing_of(store: Store, answering: Recorded, newest: Recorded) -> Standing:
    """Where a run stands.

    Args:
        store: Where the archive is.
        answering: Its newest launch that is not late.
        newest: Its newest launch.

    Raises:
        IntegrityError: If a checkpoint has no launch, or those that were there have vanished.
    """
    launch = answering.launch
    head = _newest_up_to(store, launch.run, launch.attempt, newest.launch.attempt)
    while head is not None and launch.branch <= head.attempt < launch.attempt:
        writer = _writer(store, head)
        if not writer.late:
            break
        # All attempts between the two are late.
        assert writer.falls_back_to is not None
        head = _newest_up_to(store, launch.run, writer.falls_back_to.attempt, newest.launch.attempt)
    if head is not None and head.attempt >= launch.branch:
        return Standing(launch, head)
    fallback = launch.falls_back_to
    if fallback is None:
        return Standing(launch, None)
    if fallback.step is None:
        # Answering "nothing yet" would make the run begin anew.
        raise IntegrityError(
            f"attempt {fallback.attempt} of {launch.run} had checkpoints when attempt {launch.attempt} began, and now none",
            hint="Manifests are never deleted by ckpt-archive: restore them, or choose a step with a roll-back.",
        )
    return Standing(launch, Place(launch.run, fallback.attempt, fallback.step))


def check_recorded(store: Store, run: str) -> None:
    """Check that a run without launches has no checkpoints: answering "nothing yet" would make it begin anew over them.

    Raises:
        IntegrityError: If its newest checkpoint has no launch.
    """
    head = _first(store, layout.manifests_folder(run), "")
    if head is not None:
        _writer(store, head)


def newest_checkpoint(store: Store, run: str, attempt: int) -> Place | None:
    """The committed checkpoint of an attempt with the largest step: one listing."""
    return _first(store, layout.manifests_folder(run, attempt), "")


def _newest_up_to(store: Store, run: str, attempt: int, newest: int) -> Place | None:
    """The newest checkpoint of the newest attempt that has one, among those up to `attempt`."""
    folder = layout.manifests_folder(run)
    if attempt == newest:
        found = _first(store, folder, "")
        if found is None or found.attempt <= attempt:
            return found
        # A newer attempt began, and committed, after the launches were listed.
    last_key_above = layout.manifest(run, attempt + 1, 0)
    return _first(store, folder, last_key_above)


def _first(store: Store, folder: str, start: str) -> Place | None:
    page = store.list(folder, limit=1, start_after=start)
    return Place(*layout.manifest_place(page.objects[0].key)) if page.objects else None


def _writer(store: Store, place: Place) -> Launch:
    """The launch that wrote a checkpoint."""
    try:
        return read_attempt(store, place.run, layout.attempt_record(place.run, place.attempt)).launch
    except NotFoundError as error:
        raise IntegrityError(
            f"{place} is committed, and its launch was never recorded",
            hint="The launch record was deleted: restore it from a copy of the bucket, or choose a step with a roll-back.",
        ) from error
