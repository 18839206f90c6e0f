"""Mistakes that somebody could make in the product, as data: each is put into the real code for a while.

Whoever trusts a search that finds nothing wants to know what it would have found. `tests/simulation/test_planted.py`
shows that the oracles find each of these within a bounded number of lives, in which the code as it is does nothing
wrong.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from ckpt_archive.commit import committing, connection, contribute, latest, launch
from ckpt_archive.commit.launch import Resumption
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Kind, join, walk
from ckpt_archive.local import kept, order, ring, seal, sealed, staging, trash
from ckpt_archive.place import Place
from ckpt_archive.restore import resuming
from ckpt_archive.ship import numbering
from ckpt_archive.ship import sealed as shipping
from ckpt_archive.store import retry
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import list_all
from ckpt_archive.testing.simulation.faults import Fault, Options
from ckpt_archive.testing.simulation.lives import options_of
from ckpt_archive.transfer import landing, session, upload

Replacement = tuple[Any, str, Callable[[Any], Any]]
"""(owner, attribute, what makes the new value of the old one)."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake.

    Attributes:
        name: Of it.
        replaced: What of the code is replaced.
        options_of: What goes wrong in the lives in which it is looked for, where the usual ones would take long to find it.
    """

    name: str
    replaced: tuple[Replacement, ...]
    options_of: Callable[[int], Options] = options_of

    def __str__(self) -> str:
        return self.name


@contextmanager
def planted(mistake: Mistake) -> Iterator[None]:
    """While the context lasts, the code makes that mistake."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in mistake.replaced]
    for (owner, name, make), (_, _, value) in zip(mistake.replaced, before, strict=True):
        setattr(owner, name, make(value))
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


def _always(value: Any) -> Callable[[Any], Any]:
    """Replaced by a function that does nothing but return that."""
    return lambda _: lambda *_, **__: value


def _property(value: Any) -> Callable[[Any], Any]:
    return lambda _: property(lambda _: value)


def _bad_clocks(seed: int) -> Options:
    return replace(
        options_of(seed), clock_skew_seconds=7200.0, store_fault_chance=0.05, disk_fault_chance=0.0, kill_chance=0.001,
        faults=frozenset({Fault.OUTAGE, Fault.CUT_OFF}),
    )  # fmt: skip


def _flipped_bits(seed: int) -> Options:
    return replace(
        options_of(seed), store_fault_chance=0.2, disk_fault_chance=0.0, faults=frozenset({Fault.FLIP_READ, Fault.ROT})
    )


# --- the order of a commit -------------------------------------------------------------------------------------------------


class _Deferred:
    """Uploads that are done later than they should be: when an object below another prefix of the same share is created."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._waiting: dict[tuple[str, ...], Callable[[], Any]] = {}

    def upload(self, original: Any) -> Any:
        """Instead of `upload_share`."""

        def later(store: Any, executor: Any, share: Any, **options: Any) -> Any:
            _, run, attempt, step, *_ = options["folder"].split("/")
            self._waiting[run, attempt, step] = lambda: original(store, executor, share, **options)
            return upload.UploadReport(0, 0, 0, 0, 0, 0, 0)

        return later

    def create(self, original: Any) -> Any:
        """Instead of `create_once`."""

        def first(store: Any, key: str, data: bytes) -> Any:
            answer = original(store, key, data)
            if key.startswith(self._prefix):
                for place in [place for place in self._waiting if self._is_of(key, place)]:
                    self._waiting.pop(place)()
            return answer

        return first

    def _is_of(self, key: str, place: tuple[str, ...]) -> bool:
        _, run, attempt, *_ = key.split("/")
        return run == place[0] and (attempt == place[1] or self._prefix == "manifests/")


def _time_alone(_: Any) -> Any:
    """Instead of `_confirm_objects`: nothing is looked at."""
    return lambda store, place, _: store.list(f"data/{place.run}/", limit=1).store_time


def _overwrite(original: Any) -> Any:
    def put(store: Any, key: str, data: bytes) -> bytes | None:
        if not key.startswith("manifests/"):
            found: bytes | None = original(store, key, data)
            return found
        store.delete(key)
        store.create(key, Body.of(data))
        return None

    return put


def _unpin_early(original: Any) -> Any:
    def contributed(machine: Any, connection: Any, share: Any, place: Any, progress: Any) -> Any:
        answer = original(machine, connection, share, place, progress)
        share.mark_archived(connection.archive_id, place.attempt, "0" * 64)
        return answer

    return contributed


# --- the local disk --------------------------------------------------------------------------------------------------------


def _names_only(_: Any) -> Any:
    """Instead of `sync_tree`: the folders, not the files."""

    def sync(fs: Any, root: str) -> None:
        for relative, entry in reversed(list(walk(fs, root))):
            if entry.kind is Kind.DIRECTORY:
                fs.sync_directory(join(root, relative))
        fs.sync_directory(root)

    return sync


def _without_sync_tree(module: Any) -> Any:
    return SimpleNamespace(**{**vars(module), "sync_tree": lambda fs, root: None})


def _sync_after_rename(original: Any) -> Any:
    def rename_in(draft: Any, what: Any) -> Any:
        share = original(draft, what)
        if share is not None:
            durable.sync_tree(share.staging.machine.fs, share.files_path)
        return share

    return rename_in


def _evict_whatever(_: Any) -> Any:
    def evict(run: Any, group: Any, shares: Any) -> bool:
        for share in shares:
            if (share.launch, share.step) == group:
                trash.throw_away(run, share.folder)
        return True

    return evict


# --- launches --------------------------------------------------------------------------------------------------------------


def _largest_step(original: Any) -> Any:
    """Instead of `standing`: who has come furthest answers, whatever was chosen since."""

    def standing(store: Any, run: str) -> Any:
        stands = original(store, run)
        keys = (info.key.split("/") for info in list_all(store, f"manifests/{run}/"))
        found = [(999_999_999_999 - int(key[3][:12]), 99_999_999 - int(key[2])) for key in keys]
        if not found:
            return stands
        step, attempt = max(found)
        return replace(stands, head=Place(run, attempt, step))

    return standing


def _forget_choice(original: Any) -> Any:
    return lambda request, number, resumption: original(
        request, number, Resumption(resumption.resume_from, explicit=False)
    )


def _newest_is_mine(_: Any) -> Any:
    return lambda _store, _request, newest, _older: newest.launch


# --- transfer --------------------------------------------------------------------------------------------------------------


def _insist_always(_: Any) -> Any:
    return lambda store, key: store._insist(lambda: store._inner.start_upload(key))  # noqa: SLF001


def _leave_uploads(original: Any) -> Any:
    def clean(this: Any) -> Any:
        this._leftovers.clear()  # noqa: SLF001
        return original(this)

    return clean


def _take_every_run(_: Any) -> Any:
    def end_run(this: Any, run: Any) -> None:
        this._good_in_file += 1  # noqa: SLF001
        this._index += 1  # noqa: SLF001
        this._position = this._crc = 0  # noqa: SLF001
        if this._index == len(this._runs) or this._runs[this._index].target is not run.target:  # noqa: SLF001
            this._end_file(run.target)  # noqa: SLF001

    return end_run


_after_receipt = _Deferred("receipts/")
_after_manifest = _Deferred("manifests/")

MISTAKES = (
    Mistake(
        "the receipt is created before the data is sent",
        (
            (contribute, "upload_share", _after_receipt.upload),
            (contribute, "create_once", _after_receipt.create),
        ),
    ),
    Mistake(
        "the manifest is created before the data is sent",
        (
            (contribute, "upload_share", _after_manifest.upload),
            (committing, "create_once", _after_manifest.create),
            (committing, "_confirm_objects", _time_alone),
        ),
    ),
    Mistake("a manifest replaces the one that stands", ((committing, "create_once", _overwrite),)),
    Mistake("a share is unpinned as soon as its own receipt stands", ((shipping, "_contribute", _unpin_early),)),
    Mistake("the completion of an upload is not confirmed", ((session.ObjectSession, "_confirm", lambda _: _clean),)),
    Mistake(
        "what an unchecking store holds is not read back",
        ((connection.Connection, "checksums_enforced", _always(True)),),
    ),
    Mistake("the names that lead to a share are not synced", ((staging.RunStaging, "sync_names", _always(None)),)),
    Mistake("the files of a share are not synced", ((durable, "sync_tree", _names_only),)),
    Mistake(
        "a share is renamed into the ring before it is synced",
        ((seal, "durable", _without_sync_tree), (seal.Draft, "_rename_in", _sync_after_rename)),
    ),
    Mistake(
        "pinned shares are evicted",
        ((order, "_pinned", _always(frozenset())), (ring, "_evict_group", _evict_whatever)),
    ),
    Mistake(
        "a promoted save is replaced by the next of the same step", ((kept.SealedShare, "is_begun", _property(False)),)
    ),
    Mistake(
        "inode and time of a sealed file are not looked at again",
        ((sealed.SealedFile, "matches", lambda _: lambda this, found: this.size_bytes == found.size_bytes),),
    ),
    Mistake("what was given up is not written down", ((kept.SealedShare, "_write_gap", _always(None)),)),
    Mistake(
        "latest is the largest step",
        ((latest, "standing", _largest_step), (resuming, "standing", _largest_step)),
    ),
    Mistake("that a step was chosen is forgotten", ((launch, "_record", _forget_choice),)),
    Mistake("the newest launch is taken for one's own", ((launch, "_find", _newest_is_mine),)),
    Mistake(
        "a launch is late by the clock of its node alone",
        ((numbering, "_earlier", _always(())),),
        _bad_clocks,
    ),
    Mistake(
        "an upload is started again when the answer was lost", ((retry.RetryingStore, "start_upload", _insist_always),)
    ),
    Mistake("uploads that are not needed are left behind", ((session.ObjectSession, "_clean", _leave_uploads),)),
    Mistake(
        "what is restored is not compared",
        (
            (landing.RangeWriter, "_end_run", _take_every_run),
            (landing.Target, "check_sha256", _always(None)),
        ),
        _flipped_bits,
    ),
)
"""All of them."""


def _clean(this: Any) -> Any:
    return this._clean()  # noqa: SLF001
