"""A run of one archive in another one: the same records, byte for byte, and the data they name.

The other archive becomes a replica of this one: it has the same id, so the records are at home there, and whoever changes
over to it goes on with the same numbers. The order is that of every commit: launches, data, receipts, marker, manifest.
What is there already is compared and not sent again, so a copy that was broken off goes on, and any number may be made.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.archive_record import ArchiveRecord
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.decision import Decision
from ckpt_archive.commit.event import MAX_PLACES, Event, record_event, store_time
from ckpt_archive.commit.fate import read_fates
from ckpt_archive.commit.latest import attempts
from ckpt_archive.commit.launch_record import Launch
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.marker import Marker, write_marker
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import receipt_key
from ckpt_archive.commit.writeonce import check_as_sent, create_once, read_record
from ckpt_archive.digest import sha256_hex
from ckpt_archive.disk.protocol import ReadableFile
from ckpt_archive.errors import (
    ChecksumRefusedError,
    CkptArchiveError,
    ColdError,
    ConflictError,
    DeniedError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
)
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.progress import Meter, Progress
from ckpt_archive.share import DataObject, FileEntry, Share
from ckpt_archive.ship.remote import RemoteFile
from ckpt_archive.store.protocol import Store, list_pages
from ckpt_archive.transfer.upload import upload_share

COPIED = "copied"

# What people said about a checkpoint is true of its copy; what one bucket's rules will do with it is not.
_PORTABLE = ("class-", "case-")


@dataclass(slots=True)
class CopyReport:
    """What a copy did.

    Attributes:
        copied: Checkpoints that are in the other archive now, and were not before.
        present: How many were there already.
        over: Checkpoints whose data has ended, or may be ending: not copied.
        failed: Checkpoints that can not be copied as they are, and why: damaged, cold, or adopted in place.
        source_told: Whether the archive that they come from could be told of it.
        bytes_sent: Bytes of data that were sent.
        bytes_resumed: Bytes of data that an earlier try had sent.
    """

    copied: list[Place] = field(default_factory=list)
    present: int = 0
    over: list[Place] = field(default_factory=list)
    failed: list[tuple[Place, CkptArchiveError]] = field(default_factory=list)
    source_told: bool = True
    bytes_sent: int = 0
    bytes_resumed: int = 0


def check_apart(source: str, target: str) -> None:
    """Check that neither of two archives of one server lies within the other.

    Raises:
        InvalidInputError: If one does, or they are the same.
    """
    if f"{target}/".startswith(f"{source}/") or f"{source}/".startswith(f"{target}/"):
        raise InvalidInputError(
            f"{target} and {source} are the same, or one lies within the other",
            hint="Copy to a prefix, or a folder, beside the archive; of another server with --to-endpoint-url.",
        )


def make_replica(source: Store, target: Store) -> ArchiveRecord:
    """Make `target` an archive with the id of `source`, or find that it is one.

    Raises:
        NotFoundError: If there is no archive at `source`.
        ConflictError: If another archive is there.
    """
    data = read_record(source, layout.ARCHIVE).data
    standing = create_once(target, layout.ARCHIVE, data)
    ours = ArchiveRecord.decode(data, layout.ARCHIVE)
    there = ours if standing is None else ArchiveRecord.decode(standing, layout.ARCHIVE)
    if there.archive_id != ours.archive_id:
        raise ConflictError(
            f"{target.url} is another archive ({there.archive_id}), and records of {source.url} ({ours.archive_id}) are not "
            "at home there",
            hint="Copy to a new prefix: it becomes a replica, with the same id and the same records.",
        )
    return ours


def copy_run(
    machine: Machine,
    source: Connection,
    target: Connection,
    run: str,
    places: Sequence[Place] | None = None,
    *,
    actor: str = "",
    reason: str = "",
    progress: Progress | None = None,
    told: Callable[[Place], None] = lambda _: None,
) -> CopyReport:
    """Copy a run, or some of its checkpoints.

    Costs per checkpoint that is there already two small reads; for others one read more per 4 MiB than a push of the same.

    Args:
        machine: Runs the requests.
        source: The archive it is in.
        target: A replica; see `make_replica`.
        run: Run name.
        places: Which checkpoints; None for all. The run's launches are copied in any case: they say which is the latest.
        actor: Who copies.
        reason: Why.
        progress: Told how many bytes of a checkpoint are there.
        told: Told of each checkpoint that was copied.

    Raises:
        NotFoundError: If the run has no such checkpoint.
        ConflictError: If something else stands in the target.
        IntegrityError: If a launch or a manifest of the source is damaged: names what.
        UnavailableError: If a store does not answer.
    """
    wanted = list(catalog.places(source.store, run)) if places is None else list(places)
    if not wanted:
        raise NotFoundError(f"the run {run!r} has no committed checkpoint", hint="`ckpt-archive ls` lists the runs.")
    copying = _Copying(machine, source, target, run, progress)
    fates = read_fates(source.store, run)
    report = copying.report
    report.over += [place for place in sorted(wanted) if fates.fate(place).is_over(fates.store_time)]
    copying.launches()
    copying.statements(wanted)
    # Oldest first: whoever asks the replica meanwhile for the latest one gets one that is there.
    missing = copying.missing(sorted(set(wanted).difference(report.over)))
    report.present = len(wanted) - len(report.over) - len(missing)
    tell = partial(_tell, machine, source, target, missing, actor, reason, report)
    # Before and after: whoever dies right after the last manifest finds nothing to copy the next time.
    tell("begun")
    for place in missing:
        try:
            copying.checkpoint(place)
        except (IntegrityError, ColdError, _AdoptedError) as error:
            # One that can not be read must not keep the newer ones from a second site.
            report.failed.append((place, _explained(place, error)))
            continue
        report.copied.append(place)
        told(place)
    tell("failed" if report.failed else "ok")
    return report


class _AdoptedError(InvalidInputError):
    """Its bytes lie outside of the archive."""


def _explained(place: Place, error: CkptArchiveError) -> CkptArchiveError:
    if isinstance(error, ColdError):
        return ColdError(
            f"{place} can not be read: {error.message}",
            hint=f"`ckpt-archive thaw {place.run} {place.step} --attempt {place.attempt}` asks for it; copy again when it "
            "is thawed.",
        )
    return error


class _Copying:
    def __init__(
        self, machine: Machine, source: Connection, target: Connection, run: str, progress: Progress | None
    ) -> None:
        self._machine = machine
        self._source = source
        self._target = target
        self._run = run
        self._progress = progress
        self._checks = target.checksums_enforced()
        self.report = CopyReport()

    def launches(self) -> None:
        """All launches and decisions of the run, oldest first."""
        for info in reversed(list(attempts(self._source.store, self._run))):
            data = read_record(self._source.store, info.key).data
            number = layout.attempt_number(info.key)
            launch = Launch.decode(data, info.key).check_key(self._run, number)
            marker = Marker.of_launch(launch.archive_id, self._run, number, data)
            self._create(info.key, data, marker)
            for key in _keys(self._source.store, layout.decisions_folder(self._run, number)):
                self._decision(key, number)

    def statements(self, places: Sequence[Place]) -> None:
        """What people said about the run and these checkpoints: classes they gave, holds."""
        folders = {layout.checkpoint_statements(place.run, place.attempt, place.step) for place in places}
        folders.add(layout.run_statements(self._run))
        said = set(_keys(self._target.store, layout.retention_folder(self._run)))
        for key in _keys(self._source.store, layout.retention_folder(self._run)):
            folder, _, name = key.rpartition("/")
            # A name says it all: that both sites have said the same is no conflict.
            if name.startswith(_PORTABLE) and f"{folder}/" in folders and key not in said:
                self._create(key, read_record(self._source.store, key).data, None)

    def missing(self, places: Sequence[Place]) -> list[Place]:
        """Those that are not in the target, in the same order."""

        def look(place: Place) -> Place | None:
            key = layout.manifest(place.run, place.attempt, place.step)
            return None if self._stands(key, read_record(self._source.store, key).data) else place

        looked = self._machine.executor.map_unordered(look, places, limit=self._target.settings.parts_in_flight)
        return sorted(place for place in looked if place is not None)

    def checkpoint(self, place: Place) -> None:
        """Copy a checkpoint, from whatever is there already."""
        key = layout.manifest(place.run, place.attempt, place.step)
        data = read_record(self._source.store, key).data
        manifest = Manifest.decode(data, key).check_place(place)
        pairs = [catalog.load_receipt(self._source.store, manifest, entry) for entry in manifest.receipts]
        catalog.check_root(manifest, pairs)
        meter = Meter(self._progress, f"copy {place.run} {place.step}", _data_bytes(pairs))
        for receipt, _ in pairs:
            self._share(place, receipt.rank, receipt.share, meter)
        for receipt, raw in pairs:
            self._create(receipt_key(place, receipt.rank), raw, None)
        self._create(key, data, Marker.of_commit(manifest.archive_id, place, sha256_hex(data)))

    def _share(self, place: Place, rank: int, share: Share, meter: Meter) -> None:
        """The objects of one writer: each as it is, whatever files lie in it.

        Raises:
            _AdoptedError: If one lies outside the archive, where its copy could not lie under the same key.
        """
        elsewhere = next((item.key for item in share.objects if item.key), "")
        if elsewhere:
            raise _AdoptedError(
                f"{place} was adopted in place and its bytes lie outside the archive, at {elsewhere}: it can not be copied",
                hint="Restore it, and push it into the other archive.",
            )
        objects = {item.sha256: item for item in share.objects}
        whole = Share(
            tuple(
                FileEntry(sha256, item.size_bytes, sha256, index, 0, item.part_crc32c)
                for index, (sha256, item) in enumerate(objects.items())
            ),
            tuple(objects.values()),
        )

        def key_of(item: DataObject) -> str:
            return layout.data_object(place.run, place.attempt, place.step, rank, item.sha256)

        def open_file(sha256: str) -> ReadableFile:
            return RemoteFile(self._source.store, key_of(objects[sha256]), objects[sha256])

        try:
            done = upload_share(
                self._target.store,
                self._machine.executor,
                whole,
                key_of=key_of,
                folder=layout.share_folder(place.run, place.attempt, place.step, rank),
                open_file=open_file,
                settings=self._target.settings,
                checksums_enforced=self._checks,
                progress=meter,
                limiter=self._target.limiter,
            )
        except ChecksumRefusedError as error:
            raise IntegrityError(
                f"an object of {place} in {self._source.store.url} has other bytes than its receipt says: {error.message}",
                hint=f"See which: ckpt-archive --archive {self._source.store.url} verify {place.run} {place.step} --deep",
            ) from error
        self.report.bytes_sent += done.bytes_sent
        self.report.bytes_resumed += done.bytes_resumed

    def _decision(self, key: str, attempt: int) -> None:
        data = read_record(self._source.store, key).data
        decision = Decision.decode(data, key)
        place = Place(self._run, attempt, layout.decision_step(key))
        self._create(key, data, Marker.of_decision(decision.archive_id, place, data))

    def _stands(self, key: str, data: bytes) -> bool:
        """Whether the record is in the target.

        Raises:
            ConflictError: If another one is.
        """
        try:
            there = read_record(self._target.store, key).data
        except NotFoundError:
            return False
        if there != data:
            raise ConflictError(
                f"{key} in {self._target.store.url} is another record than in {self._source.store.url}",
                hint="Both archives went on by themselves: what is there first stays. Copy to another prefix.",
            )
        return True

    def _create(self, key: str, data: bytes, marker: Marker | None) -> None:
        """Create a record in the target, after its marker; that it stands there already is fine."""
        if self._stands(key, data):
            return
        store = self._target.store
        if marker is not None:
            write_marker(store, marker, self._time())
        there = create_once(store, key, data)
        if there is None and not self._checks:
            check_as_sent(store, key, data)
        if there is not None:
            self._stands(key, data)

    def _time(self) -> datetime:
        """The target's clock."""
        return store_time(self._target.store)


def _keys(store: Store, folder: str) -> Iterator[str]:
    for page in list_pages(store, folder):
        for info in page.objects:
            yield info.key


def _data_bytes(pairs: Sequence[tuple[Receipt, bytes]]) -> int:
    return sum(item.size_bytes for receipt, _ in pairs for item in receipt.share.objects)


def _tell(
    machine: Machine,
    source: Connection,
    target: Connection,
    places: Sequence[Place],
    actor: str,
    reason: str,
    report: CopyReport,
    outcome: str,
) -> None:
    """Both archives are told: the one that it is copied to there, the other that it comes from there.

    Whoever may only read the source can copy all the same.
    """
    for at in range(0, len(places), MAX_PLACES):
        for connection, other, direction in ((target, source, "from"), (source, target, "to")):
            event = Event(
                connection.archive_id,
                COPIED,
                machine.nonce(),
                machine.clock.now(),
                actor,
                machine.node,
                tuple(places[at : at + MAX_PLACES]),
                subject=other.store.url,
                outcome=outcome,
                reason=reason,
                details={"direction": direction},
            )
            try:
                record_event(connection.store, event, store_time(connection.store))
            except DeniedError:
                if connection is not source:
                    raise
                report.source_told = False
