"""A launch gets its number: the one record of it is found, or created under the next number.

Everybody who speaks for a launch (each of its nodes, an agent that starts again, a push) may ask, any number at once and any
number of times; the conditional create decides, and whoever loses adopts the record if it is the launch's own.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ckpt_archive.commit import layout
from ckpt_archive.commit.latest import Recorded, Standing, attempts, check_recorded, on_time, read_attempt, standing_of
from ckpt_archive.commit.launch_record import Fallback, Launch
from ckpt_archive.commit.marker import Marker, write_marker
from ckpt_archive.commit.writeonce import create_once
from ckpt_archive.errors import ConflictError, InvalidInputError, UnavailableError
from ckpt_archive.names import check_attempt, check_run_name
from ckpt_archive.place import Place
from ckpt_archive.store.protocol import ObjectInfo, Store
from ckpt_archive.strictjson import Json

__all__ = ["Fallback", "Launch", "LaunchRequest", "Resumption", "open_launch", "push_key", "watch_key"]

# A rank finds the record of its launch if it begins within that time of it. Without a bound all records would be read, and
# what launchers call a launch is not new for ever: months later it would be taken for the same one.
_MARGIN = timedelta(hours=2)
# Every lost race means that another launch of the same run began just then.
_MAX_RACES = 1_000
_STABLE_KEYS = ("push:", "watch:")


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a launch goes on from.

    Attributes:
        resume_from: The checkpoint; None from nothing.
        explicit: Whether somebody chose it, rather than taking the latest.
    """

    resume_from: Place | None
    explicit: bool


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """What is known about a launch that wants its record.

    Attributes:
        archive_id: The archive's id.
        run: Run name.
        launch_key: Shared by all who speak for this launch.
        writers: How many writers it has.
        started_at: When it began, by its own clock.
        labels: Texts the run was given.
        policy: SHA-256 of the retention policy in force; "" for none.
        ended: Whether it is over: it was never recorded while it ran.
        maybe_recorded: Whether the record may exist without being the newest one: another node's, or an earlier life's.
        join: Whether a record of the same key is this launch's; if not, a new number is given in any case.
        earlier: Keys of launches that are known to have begun before it, numbered or not.
        now: Reads the clock of `started_at`: so it is known how long ago that was, however wrong the clock is.
    """

    archive_id: str
    run: str
    launch_key: str
    writers: int
    started_at: datetime
    labels: Mapping[str, Json] = field(default_factory=dict)
    policy: str = ""
    ended: bool = False
    maybe_recorded: bool = True
    join: bool = True
    earlier: Collection[str] = ()
    now: Callable[[], datetime] | None = None

    def __post_init__(self) -> None:
        check_run_name(self.run)
        if not self.launch_key or self.writers < 1:
            raise InvalidInputError(
                f"a launch with the key {self.launch_key!r} and {self.writers} writers is not possible",
                hint="Give it a key that no other launch has, and at least one writer.",
            )

    @property
    def has_stable_key(self) -> bool:
        """Whether its key outlives processes, as that of a push does: then its record may be of any age."""
        return self.launch_key.startswith(_STABLE_KEYS)

    def recorded_since(self, store_time: datetime) -> datetime | None:
        """No record of it is older than that by the store's clock, which says `store_time` now; None: it may be of any age.

        A launch is not recorded before its first rank begins. When that was is told by its clock, or by how long ago it was:
        the earlier of the two counts, because the clock may be wrong, or may have been set meanwhile. It is looked at only
        when the store has answered: whoever stood still while he asked began that much longer ago.
        """
        if self.has_stable_key:
            return None
        age = timedelta() if self.now is None else self.now() - self.started_at
        return min(self.started_at, store_time - max(age, timedelta())) - _MARGIN


def push_key(run: str) -> str:
    """The launch key of all pushes into a run: pushing the same step again is the same attempt."""
    return f"push:{run}"


def watch_key(run: str, folder: str) -> str:
    """The launch key of whoever watches `folder` for a run: starting again goes on with the same attempt."""
    return f"watch:{run}:{folder}"


def open_launch(store: Store, request: LaunchRequest, choose: Callable[[Standing], Resumption]) -> Launch:
    """The record of a launch: found, or created.

    Costs, for a new one, what `latest.standing` costs, and for each number that is tried a marker and the create.

    Args:
        store: Where the archive is.
        request: Which launch.
        choose: Decides where it goes on from; asked once per number that is tried, and not at all if the record exists.

    Returns:
        The record that stands. If somebody else who speaks for this launch created it, it says what he chose.

    Raises:
        ConflictError: If the record found belongs to another archive.
        InvalidInputError: If the choice is not a checkpoint of this run.
        UnavailableError: If the store does not answer: the record may have been created.
    """
    told: list[datetime] = []

    def since(store_time: datetime) -> datetime | None:
        told.append(store_time)
        return request.recorded_since(store_time)

    listing = attempts(store, request.run, since=since)
    first = next(listing, None)
    newest = None if first is None else read_attempt(store, request.run, first)
    if newest is not None and request.join:
        found = _find(store, request, newest, listing)
        if found is not None:
            return _adopt(found, request)
    for _ in range(_MAX_RACES):
        launch = _next(store, request, newest, choose)
        number = launch.attempt
        key = layout.attempt_record(request.run, number)
        data = launch.encode()
        write_marker(store, Marker.of_launch(request.archive_id, request.run, number, data), told[0])
        there = create_once(store, key, data)
        if there is None or there == data:
            return launch
        newest = read_attempt(store, request.run, key)
        if request.join and newest.launch.launch_key == request.launch_key:
            return _adopt(newest.launch, request)
    raise UnavailableError(
        f"{_MAX_RACES} other launches of {request.run} were recorded at the same time", hint="Try again."
    )


def _find(store: Store, request: LaunchRequest, newest: Recorded, older: Iterator[ObjectInfo]) -> Launch | None:
    """The newest record with the launch's key, if there is one where it can be."""
    if newest.launch.launch_key == request.launch_key:
        return newest.launch
    if not (request.maybe_recorded or request.has_stable_key):
        return None
    for info in older:
        launch = read_attempt(store, request.run, info).launch
        if launch.launch_key == request.launch_key:
            return launch
    return None


def _adopt(launch: Launch, request: LaunchRequest) -> Launch:
    if launch.archive_id != request.archive_id:
        raise ConflictError(
            f"attempt {launch.attempt} of {launch.run} was recorded in the archive {launch.archive_id}, not in this one, "
            f"{request.archive_id}",
            hint="Objects of another archive lie under this prefix: give every archive a prefix of its own.",
        )
    return launch


def _next(
    store: Store, request: LaunchRequest, newest: Recorded | None, choose: Callable[[Standing], Resumption]
) -> Launch:
    """The record of the launch under the number after `newest`."""
    if newest is None:
        check_recorded(store, request.run)
        return _record(request, 0, choose(Standing(None, None)))
    answering = on_time(store, newest)
    standing = standing_of(store, answering, newest)
    launch = _record(request, newest.launch.attempt + 1, choose(standing))
    if request.ended and _is_newer(answering, request):
        instead = Fallback(answering.launch.attempt, None)
        return replace(launch, falls_back_to=instead, branch=answering.launch.branch, late=True)
    if launch.explicit:
        return launch
    return replace(launch, falls_back_to=_carried_over(standing, answering.launch), branch=answering.launch.branch)


def _is_newer(recorded: Recorded, request: LaunchRequest) -> bool:
    """Whether that launch began after the one that asks: by the store's clock against its own, unless it knows better."""
    if recorded.launch.launch_key in request.earlier:
        return False
    return recorded.recorded_at > request.started_at


def _record(request: LaunchRequest, number: int, resumption: Resumption) -> Launch:
    """The record of a launch that goes on from what somebody chose, or from nothing before it."""
    origin = resumption.resume_from
    if origin is not None and origin.run != request.run:
        raise InvalidInputError(
            f"a launch of {request.run} can not go on from {origin}", hint="Choose a checkpoint of the same run."
        )
    if origin is not None and resumption.explicit and origin.attempt >= number:
        raise InvalidInputError(
            f"attempt {number} of {request.run} can not go on from attempt {origin.attempt}",
            hint="Choose a checkpoint that was archived before this launch.",
        )
    chosen = origin is not None and resumption.explicit
    return Launch(
        archive_id=request.archive_id,
        run=request.run,
        attempt=check_attempt(number),
        launch_key=request.launch_key,
        writers=request.writers,
        started_at=request.started_at,
        resume_from=origin,
        explicit=resumption.explicit,
        falls_back_to=Fallback(origin.attempt, origin.step) if origin is not None and chosen else None,
        late=False,
        policy=request.policy,
        labels=request.labels,
        branch=number if resumption.explicit else 0,
    )


def _carried_over(standing: Standing, newest: Launch) -> Fallback | None:
    """What answers now: the newest attempt of the branch that has a checkpoint, else what was chosen at its beginning."""
    if standing.head is not None and standing.head.attempt >= newest.branch:
        return Fallback(standing.head.attempt, None)
    return newest.falls_back_to
