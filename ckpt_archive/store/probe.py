"""Finds out what a store really does, on scratch keys, before anything is trusted to it.

What a store says of itself is not believed where it can be tried; what it can not do is told with what that means.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum

from ckpt_archive.clock import Clock, SystemClock
from ckpt_archive.digest import crc32c
from ckpt_archive.errors import (
    AlreadyExistsError,
    ChecksumRefusedError,
    CkptArchiveError,
    ConflictError,
    DeniedError,
    UnavailableError,
)
from ckpt_archive.executor import Executor, ThreadExecutor
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Store, list_all

PROBE_FOLDER = ".probe/"

# Losers may be kept waiting: SeaweedFS took 1 to 5 s a round with four, up to 8 s with sixteen. More belongs to `doctor`.
_RACERS = 2
_ROUNDS = 3

_RIGHT = b"ckpt-archive probe"
_WRONG = Body(Body.of(_RIGHT).regions, crc32c(_RIGHT) ^ 1)


class State(Enum):
    """Whether a store can do something."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that was tried.

    Attributes:
        name: What, as a word for machines.
        state: Whether it works.
        meaning: What follows from that, for people.
    """

    name: str
    state: State
    meaning: str


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a store can do.

    Attributes:
        url: The store.
        capabilities: In the order they were tried.
    """

    url: str
    capabilities: tuple[Capability, ...]

    def state(self, name: str) -> State:
        """Of the capability `name`; unknown if it was not tried."""
        return next((item.state for item in self.capabilities if item.name == name), State.UNKNOWN)

    @property
    def many_writers_are_safe(self) -> bool:
        """Whether a conditional create has exactly one winner: without that, only one writer may use the archive."""
        return self.state("conditional_create") is State.YES and self.state("create_race") is not State.NO

    @property
    def checksums_enforced(self) -> bool:
        """Whether the store refuses bytes that are not those their checksum was made of."""
        return self.state("checksum_of_object") is State.YES and self.state("checksum_of_part") is State.YES


def checksums_enforced(store: Store, nonce: Callable[[], str]) -> bool:
    """Whether `store` refuses an object that does not match its checksum. One request, or two.

    Raises:
        UnavailableError: If it does not answer.
    """
    key = f"{PROBE_FOLDER}{nonce()}"
    try:
        store.create(key, _WRONG)
    except ChecksumRefusedError:
        return True
    except AlreadyExistsError:
        # It is ours: the answer was lost, and asked again we met our own object. So it was taken.
        pass
    with suppress(DeniedError):
        # A job may have no right to delete; the object is a few bytes.
        store.delete(key)
    return False


def probe(
    store: Store,
    nonce: Callable[[], str],
    *,
    executor: Executor | None = None,
    clock: Clock | None = None,
    more: Callable[[str], Iterable[Capability]] | None = None,
    budget_seconds: float = 5.0,
) -> ProbeReport:
    """Try everything, with a few small objects below a scratch folder that is removed again.

    Args:
        store: What to try.
        nonce: Makes the scratch folder's name.
        executor: Runs the race.
        clock: Measures the budget, and is compared with the store's.
        more: What only this kind of store can be asked, told the scratch folder (`s3_features.features` of an S3 store).
        budget_seconds: Nothing new is tried after this.

    Raises:
        DeniedError: If nothing may be written.
        UnavailableError: If the store does not answer at all.
    """
    prober = _Prober(store, f"{PROBE_FOLDER}{nonce()}/", executor or ThreadExecutor(), clock or SystemClock())
    # The first answer decides whether there is anything to probe: its errors are the caller's.
    store.create(prober.folder + "first", Body.of(_RIGHT))
    try:
        return ProbeReport(store.url, tuple(prober.run(budget_seconds, more)))
    finally:
        prober.clean()


class _Prober:
    def __init__(self, store: Store, folder: str, executor: Executor, clock: Clock) -> None:
        self.folder = folder
        self._store = store
        self._executor = executor
        self._clock = clock

    def run(self, budget_seconds: float, more: Callable[[str], Iterable[Capability]] | None) -> Iterator[Capability]:
        latest = self._clock.monotonic() + budget_seconds
        tests: tuple[tuple[str, Callable[[], tuple[bool, str]]], ...] = (
            ("conditional_create", self._conditional_create),
            ("checksum_of_object", self._checksum_of_object),
            ("checksum_of_part", self._checksum_of_part),
            ("multipart", self._multipart),
            ("pinned_read", self._pinned_read),
            ("list_after_create", self._list_after_create),
            ("list_order", self._list_order),
            ("clock", self._clocks_agree),
            ("create_race", self._create_race),
        )
        for name, test in tests:
            yield self._try(name, test, latest)
        if more is not None and self._clock.monotonic() < latest:
            yield from more(self.folder)

    def clean(self) -> None:
        """Remove what can be removed; a job may have no right to delete."""
        with suppress(UnavailableError):
            for upload in self._store.list_uploads(self.folder):
                self._store.abort_upload(upload.key, upload.upload_id)
            for info in list_all(self._store, self.folder):
                self._store.delete(info.key)

    def _try(self, name: str, test: Callable[[], tuple[bool, str]], latest: float) -> Capability:
        if self._clock.monotonic() >= latest:
            return Capability(name, State.UNKNOWN, "not tried: the store is slow")
        try:
            works, meaning = test()
        except (DeniedError, UnavailableError) as error:
            return Capability(name, State.UNKNOWN, error.message)
        except CkptArchiveError as error:
            return Capability(name, State.NO, error.message)
        return Capability(name, State.YES if works else State.NO, meaning)

    def _conditional_create(self) -> tuple[bool, str]:
        with _refused(AlreadyExistsError) as refused:
            self._store.create(self.folder + "first", Body.of(b"second"))
        return refused() and self._store.read(self.folder + "first", limit_bytes=100).data == _RIGHT, (
            "what is committed can not be overwritten"
            if refused()
            else "a second write replaces the first: only one writer may use this archive (old Ceph RGW: use an "
            "unversioned bucket)"
        )

    def _create_race(self) -> tuple[bool, str]:
        def create(number: int) -> bool:
            with _refused(AlreadyExistsError, ConflictError) as refused:
                self._store.create(f"{self.folder}race-{number // _RACERS}", Body.of(b"%d" % number))
            return not refused()

        for round_number in range(_ROUNDS):
            racers = range(round_number * _RACERS, (round_number + 1) * _RACERS)
            winners = sum(self._executor.map_unordered(create, racers, limit=_RACERS))
            if winners != 1:
                return False, f"of {_RACERS} writers at once {winners} won: only one writer may use this archive"
        return True, "of writers at once one wins"

    def _checksum_of_object(self) -> tuple[bool, str]:
        with _refused(ChecksumRefusedError) as refused:
            self._store.create(self.folder + "checksum", _WRONG)
        return refused(), _checksum_meaning(refused())

    def _checksum_of_part(self) -> tuple[bool, str]:
        key = self.folder + "checksum-part"
        upload_id = self._store.start_upload(key)
        with _refused(ChecksumRefusedError) as refused:
            self._store.upload_part(key, upload_id, 1, _WRONG)
        self._store.abort_upload(key, upload_id)
        return refused(), _checksum_meaning(refused())

    def _multipart(self) -> tuple[bool, str]:
        key = self.folder + "parts"
        upload_id = self._store.start_upload(key)
        part = self._store.upload_part(key, upload_id, 1, Body.of(_RIGHT))
        found = any(upload.upload_id == upload_id for upload in self._store.list_uploads(key))
        listed = self._store.list_parts(key, upload_id)
        self._store.complete_upload(key, upload_id, listed)
        whole = self._store.read(key, limit_bytes=100).data == _RIGHT
        resumable = found and listed == (part,)
        return whole and resumable, (
            "large objects are sent in parts, and go on where they stopped"
            if whole and resumable
            else "parts are joined, but not listed: a stopped upload begins again"
            if whole
            else "parts do not come back as they were sent: this store can not be used for large objects"
        )

    def _pinned_read(self) -> tuple[bool, str]:
        with _refused(ConflictError) as refused:
            self._store.fetch(self.folder + "first", offset=0, length=1, etag="0" * 32, sink=_ignore)
        return refused(), (
            "an object that is replaced while it is read is noticed at once"
            if refused()
            else "an object that is replaced while it is read is only noticed by its digest"
        )

    def _list_after_create(self) -> tuple[bool, str]:
        key = self.folder + "listed"
        self._store.create(key, Body.of(_RIGHT))
        listed = any(info.key == key for info in self._store.list(key).objects)
        return listed, (
            "what was created is listed at once"
            if listed
            else "listings lag behind: the last writer may not see that it is the last; `maintain` commits later"
        )

    def _list_order(self) -> tuple[bool, str]:
        names = ("order/a-b", "order/a/b")
        for name in names:
            self._store.create(self.folder + name, Body.of(_RIGHT))
        listed = tuple(info.key[len(self.folder) :] for info in self._store.list(f"{self.folder}order/").objects)
        return listed == names, (
            "keys are listed in byte order"
            if listed == names
            else "keys are not listed in byte order: harmless, all names that rely on order have a fixed width"
        )

    def _clocks_agree(self) -> tuple[bool, str]:
        ahead = (self._clock.now() - self._store.list(self.folder, limit=1).store_time).total_seconds()
        # AWS and others refuse signatures that are 15 minutes off.
        apart = "agrees with" if abs(ahead) < 1 else f"is {ahead:+.0f} s from"
        return abs(ahead) < 300, f"this machine's clock {apart} the store's"


def _checksum_meaning(refused: bool) -> str:
    return (
        "the store refuses bytes that changed on the way"
        if refused
        else "the store does not check what it is sent: every object is read back and compared before a commit"
    )


def _ignore(_: memoryview) -> None:
    """Nobody needs these bytes."""


@contextmanager
def _refused(*kinds: type[Exception]) -> Iterator[Callable[[], bool]]:
    """Whether the block was ended by one of `kinds`, asked after it."""
    seen: list[Exception] = []
    try:
        yield lambda: bool(seen)
    except kinds as error:
        seen.append(error)
