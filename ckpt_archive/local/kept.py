"""A sealed share on this disk and what has become of it: each fact a file beside it, written once.

Whether a share is promoted, given up or replaced is decided under the run's state lock, so that two processes never decide
differently. A fact whose file is damaged is unknown and found out anew, except the two that must never be forgotten: a
promotion and a gap count as soon as their file is there.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NoReturn, TypeVar

from ckpt_archive import record
from ckpt_archive.contribution import Contribution
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Kind, LockMode, ReadableFile, join, parent, walk
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.local.facts import Decode, read_fact, write_fact
from ckpt_archive.local.faults import converting, failed, proves_something
from ckpt_archive.local.quarantine import set_aside
from ckpt_archive.local.sealed import Seal
from ckpt_archive.local.share_facts import (
    ARCHIVED,
    DIGESTS,
    GAP,
    PROMOTE,
    RECEIPT,
    Archived,
    Gap,
    check_receipt,
    decode_archived,
    decode_gap,
    decode_promotion,
    encode_archived,
    encode_gap,
    encode_promotion,
)
from ckpt_archive.local.staging import RunStaging, parse_rank_name, rank_name
from ckpt_archive.share import Share
from ckpt_archive.strictjson import Json

T = TypeVar("T")

FILES = "files"
SEAL = "seal.json"


@dataclass(frozen=True, slots=True)
class SealedShare:
    """A sealed share. The value never changes; its properties ask the disk.

    Attributes:
        staging: The run's part of the staging directory.
        launch: Local launch ordinal.
        step: Training step.
        rank: Which writer.
        generation: 0, or higher where it replaced an earlier one of the same step.
        folder: Where it lies.
        seal: Its seal.
    """

    staging: RunStaging = field(repr=False)
    launch: int
    step: int
    rank: int
    generation: int
    folder: str
    seal: Seal

    def __str__(self) -> str:
        return f"step {self.step} of {self.run}, rank {self.rank} (local launch {self.launch})"

    @property
    def run(self) -> str:
        """Run name."""
        return self.staging.name

    @property
    def files_path(self) -> str:
        """The folder that holds the checkpoint's files."""
        return join(self.folder, FILES)

    @property
    def size_bytes(self) -> int:
        """The files' total size."""
        return self.seal.size_bytes

    @property
    def is_promoted(self) -> bool:
        """Whether it is to be archived: by the rule at seal time, or by a later decision."""
        return bool(self.seal.contribution.promotion) or self._has(PROMOTE)

    @property
    def has_receipt(self) -> bool:
        """Whether its receipt was written to the archive."""
        return self._has(RECEIPT)

    @property
    def is_archived(self) -> bool:
        """Whether a manifest with its receipt was read."""
        return self.archived() is not None

    @property
    def has_gap(self) -> bool:
        """Whether it was given up."""
        return self._has(GAP)

    @property
    def is_pinned(self) -> bool:
        """Whether it must stay: promoted, and neither archived nor given up."""
        return self.is_promoted and not self.has_gap and not self.is_archived

    @property
    def is_begun(self) -> bool:
        """Whether this content is bound to the archive, so that no other may take its place."""
        return self.is_promoted or self.has_receipt or self._has(ARCHIVED)

    def promotion(self) -> Mapping[str, Json]:
        """Why it is to be archived; empty if it is not."""
        if self.seal.contribution.promotion:
            return self.seal.contribution.promotion
        if not self._has(PROMOTE):
            return {}
        return self._read(PROMOTE, decode_promotion) or {"rule": "unknown"}

    def contribution(self) -> Contribution:
        """What was sealed, with the promotion of a later decision if there is one."""
        return replace(self.seal.contribution, promotion=self.promotion())

    def promote(self, reason: Mapping[str, Json]) -> None:
        """Decide that it goes to the archive; durable when this returns. Deciding again changes nothing.

        Args:
            reason: Such as ``{"rule": "milestone", "name": "best"}``; not empty.

        Raises:
            NotFoundError: If it was evicted or replaced meanwhile.
        """
        with self._deciding("promoted"):
            # It may be seen before its writer has made its name durable.
            self.staging.sync_names(self.launch, self.step)
            if not self.is_promoted:
                self._write(PROMOTE, encode_promotion(reason), decode_promotion)

    def digests(self) -> Share | None:
        """Its digests, once they are known."""
        return self._read(DIGESTS, self._decode_digests)

    def write_digests(self, share: Share) -> Share:
        """Record its digests; what stands in the end is returned.

        Raises:
            IntegrityError: If they are not of these files.
            NotFoundError: If it was evicted meanwhile.
        """
        with self._writing():
            return self._write(DIGESTS, record.encode("digests", share.to_json(), {}), self._decode_digests)

    def receipt_bytes(self) -> bytes | None:
        """The receipt that stands in the archive, once it was written there."""
        return self._read(RECEIPT, check_receipt)

    def write_receipt(self, data: bytes) -> None:
        """Keep the receipt that stands in the archive; keeping the same one again changes nothing.

        Raises:
            ConflictError: If another one is kept.
            NotFoundError: If it was evicted meanwhile.
        """
        with self._deciding("archived"):
            standing = self._write(RECEIPT, data, check_receipt)
        if standing != data:
            raise ConflictError(
                f"{self} has already another receipt",
                hint="Was the archive made anew? `start_over` forgets what was known of the old one.",
            )

    def archived(self) -> Archived | None:
        """In which manifest its receipt was found, once it was."""
        return self._read(ARCHIVED, decode_archived)

    def mark_archived(self, archive_id: str, attempt: int, manifest_sha256: str) -> None:
        """Record that a manifest was read which holds its receipt.

        Raises:
            NotFoundError: If it was evicted meanwhile.
        """
        found = Archived(archive_id, attempt, manifest_sha256, self.staging.machine.clock.now())
        with self._writing():
            self._write(ARCHIVED, encode_archived(found), decode_archived)

    def gap(self) -> Gap | None:
        """Why it was given up, if it was."""
        if not self.has_gap:
            return None
        return self._read(GAP, decode_gap) or Gap("its record can not be read", None)

    def mark_gap(self, reason: str) -> None:
        """Decide that it will never be archived; final. Deciding again changes nothing.

        Raises:
            ConflictError: If its receipt is written: others may have committed the checkpoint with it.
            NotFoundError: If it was evicted or replaced meanwhile.
        """
        with self._deciding("given up"):
            if self.has_receipt:
                raise ConflictError(
                    f"{self} can not be given up: its receipt is written", hint="Finish its commit instead."
                )
            self._write_gap(reason)

    def follow_gap(self, reason: str) -> None:
        """Record that another writer has given this checkpoint up, which the archive holds as a decision; final.

        Unlike `mark_gap` this may follow a receipt: without that writer's receipt no manifest will ever hold ours.

        Raises:
            NotFoundError: If it was evicted or replaced meanwhile.
        """
        with self._deciding("given up"):
            self._write_gap(reason)

    def start_over(self, reason: str) -> None:
        """Forget what is known of an archive that is no more: receipt and archived state go to quarantine."""
        for name in (ARCHIVED, RECEIPT):
            if self._has(name):
                set_aside(self.staging, join(self.folder, name), reason)

    def _write_gap(self, reason: str) -> None:
        if not self.has_gap:
            self._write(GAP, encode_gap(reason, self.staging.machine.clock.now()), decode_gap)

    def _has(self, name: str) -> bool:
        path = join(self.folder, name)
        with converting(f"{path} can not be looked for"):
            return durable.exists(self.staging.machine.fs, path)

    def _read(self, name: str, decode: Decode[T]) -> T | None:
        path = join(self.folder, name)
        with converting(f"{path} can not be read"):
            return read_fact(self.staging, path, decode)

    def _write(self, name: str, data: bytes, decode: Decode[T]) -> T:
        return write_fact(self.staging, join(self.folder, name), data, decode)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFoundError(
                f"{self} is not here any more", hint="It was evicted or replaced: scan again."
            ) from error
        except OSError as error:
            raise failed(f"the state of {self} can not be written", error) from error

    @contextmanager
    def _deciding(self, what: str) -> Iterator[None]:
        """Nobody else decides about a share of this run meanwhile, and this one is here and not replaced."""
        fs = self.staging.machine.fs
        with self._writing(), fs.lock(self.staging.state_lock, LockMode.EXCLUSIVE):
            for entry in fs.list(parent(self.folder)):
                rank, generation = parse_rank_name(entry.name) or (self.rank, 0)
                if rank == self.rank and generation > self.generation and self._is_whole(generation):
                    raise NotFoundError(f"{self} was replaced and can not be {what}", hint="Scan again.")
            if not self._has(SEAL):
                raise FileNotFoundError(self.folder)
            yield

    def _is_whole(self, generation: int) -> bool:
        try:
            read_share(self.staging, self.launch, self.step, self.rank, generation)
        except IntegrityError:
            return False
        except InvalidInputError:
            # Sealed by a newer release.
            return True
        return True

    def _decode_digests(self, data: bytes, what: str) -> Share:
        share = Share.from_json(record.decode("digests", data, what))
        if [(file.path, file.size_bytes) for file in share.files] != [
            (file.path, file.size_bytes) for file in self.seal.files
        ]:
            raise IntegrityError(f"{what} is not about the files of {self}", hint="Digest the share again.")
        return share


def read_share(run: RunStaging, launch: int, step: int, rank: int, generation: int) -> SealedShare:
    """The share in that place, if it is whole: its seal can be read, is of this place, and all its files are there.

    Further files in its folder do no harm: nobody reads what is not sealed.

    Raises:
        IntegrityError: If it is not to be trusted, or not there.
        InvalidInputError: If a newer release sealed it.
        OSError: If the disk does not answer.
    """
    fs = run.machine.fs
    folder = join(run.step_folder(launch, step), rank_name(rank, generation))
    path = join(folder, SEAL)
    known = run.staging.known
    try:
        if known is not None:
            stat = fs.stat(path)
            share = known.value(path, stat, SealedShare)
            if share is not None:
                return share
        seal = Seal.decode(durable.read_small(fs, path), path)
        if (seal.run, seal.launch, seal.step, seal.rank) != (run.name, launch, step, rank):
            _refuse(folder, "its seal is of another share")
        if fs.stat(join(folder, FILES)).kind is not Kind.DIRECTORY:
            _refuse(folder, f"{FILES!r} is not a folder")
        kinds = {relative: entry.kind for relative, entry in walk(fs, join(folder, FILES))}
        for file in seal.files:
            kind = kinds.get(file.path)
            if kind is not Kind.FILE:
                _refuse(folder, f"{file.path!r} is {'missing' if kind is None else 'a ' + kind.value}")
            size = fs.stat(join(folder, FILES, file.path)).size_bytes
            if size != file.size_bytes:
                _refuse(folder, f"{file.path!r} has {size} bytes, but {file.size_bytes} were sealed")
    except OSError as error:
        if not proves_something(error):
            raise
        raise IntegrityError(f"{folder} can not be read: {error}", hint=_TORN) from error
    share = SealedShare(run, launch, step, rank, generation, folder, seal)
    if known is not None:
        known.learn(path, stat, share)
    return share


def _refuse(folder: str, problem: str) -> NoReturn:
    raise IntegrityError(f"{folder} is not a whole share: {problem}", hint=_TORN)


_TORN = "A power loss or somebody's hand changed it; it is not used."


def open_sealed(share: SealedShare, path: str) -> ReadableFile:
    """Open a file of a sealed share, if it is still what was sealed.

    Raises:
        IntegrityError: If it was changed, exchanged or removed since.
        NotFoundError: If the whole share was evicted or replaced, or never had such a file.
    """
    known = share.seal.file(path)
    if known is None:
        raise NotFoundError(f"{share} has no file {path!r}", hint="See its seal.json for the names.")
    fs = share.staging.machine.fs
    try:
        file = fs.open_beneath(share.files_path, path)
    except OSError as error:
        if not proves_something(error):
            raise failed(f"{path!r} of {share} can not be opened", error) from error
        with converting(f"{share.folder} can not be looked for"):
            is_there = durable.exists(fs, share.folder)
        if not is_there:
            raise NotFoundError(
                f"{share} is not here any more", hint="It was evicted or replaced: scan again."
            ) from error
        raise IntegrityError(f"{path!r} of {share} can not be opened: {error}", hint=_CHANGED) from error
    with converting(f"{path!r} of {share} can not be looked at"):
        if known.matches(file.stat()):
            return file
    file.close()
    raise IntegrityError(f"{path!r} of {share} was changed after it was sealed", hint=_CHANGED)


_CHANGED = "Nothing may write into a sealed checkpoint; this one can not be trusted any more."


def still_same(share: SealedShare) -> None:
    """Check size, time and inode of every file of a sealed share.

    Raises:
        IntegrityError: If one was changed, exchanged or removed since it was sealed.
        NotFoundError: If the whole share was evicted or replaced.
    """
    for known in share.seal.files:
        open_sealed(share, known.path).close()
