"""Brings the objects of a share into the store: does what the sessions ask, and tells them what came of it.

All decisions are the sessions' and are taken in the caller's thread; workers only talk to the store. Whatever stops an
upload, the next one finds its parts by listing them.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ckpt_archive.errors import (
    AlreadyExistsError,
    ChecksumRefusedError,
    DeniedError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UploadGoneError,
)
from ckpt_archive.executor import Executor
from ckpt_archive.share import DataObject, Share
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import PartInfo, Store, list_all
from ckpt_archive.transfer import messages
from ckpt_archive.transfer.arrival import has_arrived, may_tell
from ckpt_archive.transfer.bandwidth import Limiter, paced
from ckpt_archive.transfer.digesting import OpenFile
from ckpt_archive.transfer.flow import flow
from ckpt_archive.transfer.messages import Action, Observation
from ckpt_archive.transfer.session import ObjectSession, State
from ckpt_archive.transfer.settings import TransferSettings
from ckpt_archive.transfer.sources import ObjectSource
from ckpt_archive.transfer.verify import check_object


@dataclass(frozen=True, slots=True)
class UploadReport:
    """What an upload did.

    Attributes:
        objects: How many objects are now confirmed.
        objects_present: How many of them were there already.
        parts_sent: Requests that carried data and were answered; an object sent whole counts as one.
        parts_resumed: Parts found in the store and not sent again.
        bytes_sent: Of the parts sent.
        bytes_resumed: Of the parts resumed.
        read_back_bytes: Read from the store and compared, where it does not check what it is sent.
    """

    objects: int
    objects_present: int
    parts_sent: int
    parts_resumed: int
    bytes_sent: int
    bytes_resumed: int
    read_back_bytes: int


def upload_share(
    store: Store,
    executor: Executor,
    share: Share,
    *,
    key_of: Callable[[DataObject], str],
    folder: str,
    open_file: OpenFile,
    settings: TransferSettings,
    checksums_enforced: bool,
    progress: Callable[[int], None] | None = None,
    limiter: Limiter | None = None,
) -> UploadReport:
    """Bring every object of `share` into the store, from whatever is there already.

    Costs one listing of `folder`, one of its uploads if an object has several parts, and then per object: a create, or
    start, parts, completion and HEAD.

    Args:
        store: Where to.
        executor: Runs the requests.
        share: What.
        key_of: The key of an object; ends in its SHA-256 and begins with `folder`.
        folder: What all the keys begin with; ends in '/'.
        open_file: Opens a file of the share, and raises if it is no longer what was digested.
        settings: How many parts are in flight.
        checksums_enforced: Whether the store refuses bytes that do not match their checksum. If not, every part is compared
            before an object is made of it, and every object is read back and compared.
        progress: Told how many more bytes are in the store, from the caller's thread.
        limiter: Bandwidth, if limited.

    Raises:
        IntegrityError: If an object in the store is not what its key says, or a file is not what was digested.
        UnavailableError: If the store does not answer, or an object could not be completed.
    """
    pairs: dict[str, tuple[ObjectSession, ObjectSource]] = {}
    for index, item in enumerate(share.objects):
        key = key_of(item)
        if key not in pairs:
            pairs[key] = (
                ObjectSession(item, key, parts_checked=checksums_enforced),
                ObjectSource(share, index, open_file),
            )
    upload = _Upload(store, list(pairs.values()), progress or _ignore, limiter, parts_checked=checksums_enforced)
    upload.look(folder)
    upload.run(executor, settings.parts_in_flight)
    if not checksums_enforced:
        upload.read_back(executor, settings.parts_in_flight)
    return upload.report()


def _ignore(_: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class _Job:
    session: ObjectSession
    source: ObjectSource
    action: Action


@dataclass(frozen=True, slots=True)
class _Result:
    job: _Job
    observation: Observation
    sent_bytes: int = 0


class _Upload:
    def __init__(
        self,
        store: Store,
        pairs: list[tuple[ObjectSession, ObjectSource]],
        progress: Callable[[int], None],
        limiter: Limiter | None,
        *,
        parts_checked: bool,
    ) -> None:
        self._store = store
        self._parts_checked = parts_checked
        self._pairs = pairs
        self._progress = progress
        self._limiter = limiter
        self._jobs: deque[_Job] = deque()
        self._parts_sent = self._bytes_sent = self._read_back_bytes = 0

    def look(self, folder: str) -> None:
        """One listing tells every session whether its object is there, one more which uploads are under way."""
        if not self._pairs:
            return
        sizes = {info.key: info.size_bytes for info in list_all(self._store, folder)}
        uploads: dict[str, list[str]] = {}
        # Also when all objects are there: whoever completed them may have died before it aborted a second upload.
        if any(len(session.item.part_crc32c) > 1 for session, _ in self._pairs):
            for upload in self._store.list_uploads(folder):
                uploads.setdefault(upload.key, []).append(upload.upload_id)
        for session, source in self._pairs:
            self._tell(session, source, messages.Listed(sizes.get(session.key)))
            self._tell(session, source, messages.UploadsListed(tuple(uploads.get(session.key, ()))))

    def run(self, executor: Executor, limit: int) -> None:
        """Do what the sessions ask for until all are done."""
        for result in flow(
            executor, self._jobs, self._perform, limit=limit, still_wanted=lambda job: job.session.wants(job.action)
        ):
            if result.sent_bytes:
                self._parts_sent += 1
                self._bytes_sent += result.sent_bytes
                self._progress(result.sent_bytes)
            self._tell(result.job.session, result.job.source, result.observation)
        assert all(session.state is State.DONE for session, _ in self._pairs)

    def read_back(self, executor: Executor, limit: int) -> None:
        """Compare every object with its digests.

        Raises:
            IntegrityError: If one differs.
        """
        jobs = deque(session for session, _ in self._pairs)
        for size_bytes in flow(executor, jobs, self._compare, limit=limit):
            self._read_back_bytes += size_bytes

    def report(self) -> UploadReport:
        sessions = [session for session, _ in self._pairs]
        return UploadReport(
            objects=len(sessions),
            objects_present=sum(session.was_present for session in sessions),
            parts_sent=self._parts_sent,
            parts_resumed=sum(len(session.resumed) for session in sessions),
            bytes_sent=self._bytes_sent,
            bytes_resumed=sum(_resumed_bytes(session) for session in sessions),
            read_back_bytes=self._read_back_bytes,
        )

    def _tell(self, session: ObjectSession, source: ObjectSource, observation: Observation) -> None:
        known = _known_bytes(session)
        for action in session.feed(observation):
            job = _Job(session, source, action)
            if isinstance(action, messages.SendPart):
                self._jobs.append(job)
            elif not isinstance(action, messages.Done):
                # Before any part: what is asked here costs one round trip and may end an object.
                self._jobs.appendleft(job)
        if _known_bytes(session) > known:
            self._progress(_known_bytes(session) - known)

    def _compare(self, session: ObjectSession) -> int:
        findings = check_object(self._store, session.item, session.key, (), limiter=self._limiter)
        if findings:
            raise IntegrityError(
                f"{session.key}, read back, {findings[0].problem}",
                hint="The bytes changed on the way or in the store, which does not check them: have the storage owner "
                "remove this object, then archive again.",
            )
        return session.item.size_bytes

    def _perform(self, job: _Job) -> _Result:
        key = job.session.key
        match job.action:
            case messages.CreateWhole():
                return self._create(job)
            case messages.SendPart(upload_id, number):
                return self._send(job, upload_id, number)
            case messages.Complete(upload_id, parts):
                return _Result(job, self._complete(key, upload_id, parts))
            case messages.StartUpload():
                return _Result(job, self._start(key))
            case messages.ListUploads():
                found = tuple(upload.upload_id for upload in self._store.list_uploads(key) if upload.key == key)
                return _Result(job, messages.UploadsListed(found))
            case messages.ListParts(upload_id):
                return _Result(job, self._list_parts(job, upload_id))
            case messages.Head():
                return _Result(job, self._head(key))
            case messages.Abort(upload_id):
                self._store.abort_upload(key, upload_id)
                return _Result(job, messages.Aborted(upload_id))
            case messages.Done():
                raise AssertionError("nothing is left to do")

    def _create(self, job: _Job) -> _Result:
        with self._part(job, 1) as body:
            try:
                info = self._store.create(job.session.key, body)
            except AlreadyExistsError:
                return _Result(job, messages.AlreadyThere())
        return _Result(job, messages.Created(info.size_bytes), info.size_bytes)

    def _send(self, job: _Job, upload_id: str, number: int) -> _Result:
        with self._part(job, number) as body:
            try:
                part = self._store.upload_part(job.session.key, upload_id, number, body)
                # Where completing is not conditional either, a wrong part would replace what another sender has proved.
                if not self._parts_checked and may_tell(part) and not has_arrived(part, body):
                    part = self._store.upload_part(job.session.key, upload_id, number, body)
            except UploadGoneError:
                return _Result(job, messages.UploadGone(upload_id))
        return _Result(job, messages.PartSent(upload_id, part), part.size_bytes)

    @contextmanager
    def _part(self, job: _Job, number: int) -> Iterator[Body]:
        with paced(self._limiter, job.session.item.part_range(number)[1]), self._body(job, number) as body:
            yield body

    @contextmanager
    def _body(self, job: _Job, number: int) -> Iterator[Body]:
        where = f"part {number} of {job.session.key}, from {job.source.describe(number)}"
        try:
            with job.source.part(number) as body:
                yield body
        except ChecksumRefusedError as error:
            raise ChecksumRefusedError(
                f"{where} was refused: its bytes are not those that were digested",
                hint="They changed on the local disk, in memory or on the way. Run it again; if it stays so, the "
                "local file is damaged.",
            ) from error
        except OSError as error:
            raise IntegrityError(
                f"{where}: the file can not be read: {error.strerror or error}",
                hint="The local disk did not give it back: see the kernel's log, and run it again.",
            ) from error
        except EOFError as error:
            raise IntegrityError(
                f"{where}: the file has become shorter since it was digested",
                hint="Nothing may write into a sealed checkpoint; write a new one.",
            ) from error

    def _start(self, key: str) -> Observation:
        try:
            return messages.Started(self._store.start_upload(key))
        except DeniedError:
            raise
        except UnavailableError as error:
            return messages.StartUnknown(error)

    def _complete(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> Observation:
        try:
            self._store.complete_upload(key, upload_id, parts)
        except AlreadyExistsError:
            return messages.AlreadyThere()
        except UploadGoneError:
            return messages.UploadGone(upload_id)
        except DeniedError:
            raise
        except (UnavailableError, InvalidInputError) as error:
            return messages.CompletionUnknown(error)
        return messages.Completed()

    def _list_parts(self, job: _Job, upload_id: str) -> Observation:
        try:
            listed = self._store.list_parts(job.session.key, upload_id)
        except UploadGoneError:
            return messages.UploadGone(upload_id)
        proved = frozenset(part.number for part in job.session.doubtful(listed) if self._is_ours(job, part))
        return messages.PartsListed(upload_id, listed, proved)

    def _is_ours(self, job: _Job, part: PartInfo) -> bool:
        """Whether a part in the store has our bytes, by what the store tells of them."""
        if part.crc32c is not None and self._parts_checked:
            return part.crc32c == job.session.item.part_crc32c[part.number - 1]
        with self._body(job, part.number) as body:
            return has_arrived(part, body)

    def _head(self, key: str) -> Observation:
        try:
            return messages.Headed(self._store.head(key).size_bytes)
        except NotFoundError:
            return messages.Headed(None)


def _resumed_bytes(session: ObjectSession) -> int:
    return sum(session.item.part_range(number)[1] for number in session.resumed)


def _known_bytes(session: ObjectSession) -> int:
    return session.item.size_bytes if session.was_present else _resumed_bytes(session)
