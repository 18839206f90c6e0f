"""A sealed share on this disk and what has become of it: each fact a file beside it, written once.

Whether a share is promoted, given up or replaced is decided under the run's state lock, so that two processes never decide
differently. A fact whose file can not be read is set aside and found out anew, except the two that must never be forgotten:
a promotion and a gap count as soon as their file is there.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from ckpt_archive import clock, record, strictjson
from ckpt_archive.contribution import Contribution
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Kind, LockMode, ReadableFile, join, parent
from ckpt_archive.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.local.faults import failed, says_nothing_about_the_file
from ckpt_archive.local.quarantine import set_aside
from ckpt_archive.local.sealed import Seal
from ckpt_archive.local.staging import RunStaging, parse_rank_name
from ckpt_archive.names import check_attempt, check_sha256
from ckpt_archive.share import Share
from ckpt_archive.strictjson import Json

T = TypeVar("T")

FILES = "files"
SEAL = "seal.json"
DIGESTS = "digests.json"
PROMOTE = "promote.json"
RECEIPT = "receipt.json"
ARCHIVED = "archived.json"
GAP = "gap.json"


@dataclass(frozen=True, slots=True)
class Archived:
    """That a manifest was read which holds this share's receipt.

    Attributes:
        archive_id: In which archive.
        attempt: Under which attempt.
        manifest_sha256: Of the manifest's bytes.
        at: When it was read.
    """

    archive_id: str
    attempt: int
    manifest_sha256: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Gap:
    """That this share will never be archived.

    Attributes:
        reason: Why, for people.
        at: When it was decided; None if the record can not be read, which changes nothing.
    """

    reason: str
    at: datetime | None


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
        return self._has(ARCHIVED) and self.archived() is not None

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
        unreadable: Mapping[str, Json] = {"rule": "unknown"}
        found = self._read(PROMOTE, lambda data, what: record.decode("promote", data, what).mapping("promotion"), keep=True)
        return found or unreadable

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
            if not self.is_promoted:
                self._write(PROMOTE, record.encode("promote", {"promotion": dict(reason)}, {}))

    def digests(self) -> Share | None:
        """Its digests, once they are known."""
        return self._read(DIGESTS, self._decode_digests)

    def write_digests(self, share: Share) -> Share:
        """Record its digests; what stands in the end is returned.

        Raises:
            IntegrityError: If they are not of these files.
            NotFoundError: If it was evicted meanwhile.
        """
        data = record.encode("digests", share.to_json(), {})
        self._decode_digests(data, f"the digests of {self}")
        with self._writing():
            standing = self._write(DIGESTS, data)
        return self._decode_digests(standing, join(self.folder, DIGESTS))

    def receipt_bytes(self) -> bytes | None:
        """The receipt that stands in the archive, once it was written there."""

        def check(data: bytes, what: str) -> bytes:
            strictjson.decode(data, what)
            return data

        return self._read(RECEIPT, check)

    def write_receipt(self, data: bytes) -> None:
        """Keep the receipt that stands in the archive; keeping the same one again changes nothing.

        Raises:
            ConflictError: If another one is kept.
            NotFoundError: If it was evicted meanwhile.
        """
        with self._deciding("archived"):
            standing = self._write(RECEIPT, data)
        if standing != data:
            raise ConflictError(
                f"{self} has already another receipt",
                hint="Was the archive made anew? `start_over` forgets what was known of the old one.",
            )

    def archived(self) -> Archived | None:
        """In which manifest its receipt was found, once it was."""
        return self._read(ARCHIVED, _decode_archived)

    def mark_archived(self, archive_id: str, attempt: int, manifest_sha256: str) -> None:
        """Record that a manifest was read which holds its receipt.

        Raises:
            NotFoundError: If it was evicted meanwhile.
        """
        members: dict[str, Json] = {
            "archive": archive_id,
            "attempt": attempt,
            "manifest_sha256": check_sha256(manifest_sha256),
            "at": clock.to_text(self.staging.machine.clock.now()),
        }
        with self._writing():
            self._write(ARCHIVED, record.encode("archived", members, {}))

    def gap(self) -> Gap | None:
        """Why it was given up, if it was."""
        if not self.has_gap:
            return None
        found = self._read(GAP, _decode_gap, keep=True)
        return found or Gap("its record can not be read", None)

    def mark_gap(self, reason: str) -> None:
        """Decide that it will never be archived; final. Deciding again changes nothing.

        Raises:
            ConflictError: If its receipt is written: others may have committed the checkpoint with it.
            NotFoundError: If it was evicted or replaced meanwhile.
        """
        members: dict[str, Json] = {"reason": reason, "at": clock.to_text(self.staging.machine.clock.now())}
        with self._deciding("given up"):
            if self.has_receipt:
                raise ConflictError(f"{self} can not be given up: its receipt is written", hint="Finish its commit instead.")
            self._write(GAP, record.encode("gap", members, {}))

    def start_over(self, reason: str) -> None:
        """Forget what is known of an archive that is no more: receipt and archived state go to quarantine."""
        for name in (ARCHIVED, RECEIPT):
            if self._has(name):
                set_aside(self.staging, join(self.folder, name), reason)

    def _has(self, name: str) -> bool:
        return durable.exists(self.staging.machine.fs, join(self.folder, name))

    def _read(self, name: str, decode: Callable[[bytes, str], T], *, keep: bool = False) -> T | None:
        """The decoded file; None if it is not there, or can not be read (then it is set aside, unless `keep`)."""
        path = join(self.folder, name)
        try:
            return decode(durable.read_small(self.staging.machine.fs, path), path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if says_nothing_about_the_file(error):
                raise failed(f"{path} can not be read", error) from error
            problem = str(error)
        except IntegrityError as error:
            problem = str(error)
        except InvalidInputError:
            # A newer release wrote it: not ours to judge, but not to be acted upon either, unless it binds us anyway.
            if keep:
                return None
            raise
        if not keep:
            set_aside(self.staging, path, problem)
        return None

    def _write(self, name: str, data: bytes) -> bytes:
        machine = self.staging.machine
        return durable.write_once(machine.fs, join(self.folder, name), data, nonce=machine.nonce())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFoundError(f"{self} is not here any more", hint="It was evicted or replaced: scan again.") from error
        except OSError as error:
            raise failed(f"the state of {self} can not be written", error) from error

    @contextmanager
    def _deciding(self, what: str) -> Iterator[None]:
        """Nobody else decides about a share of this run meanwhile, and this one is here and not replaced."""
        fs = self.staging.machine.fs
        with self._writing(), fs.lock(self.staging.state_lock, LockMode.EXCLUSIVE):
            for entry in fs.list(parent(self.folder)):
                other = parse_rank_name(entry.name)
                if other is not None and other[0] == self.rank and other[1] > self.generation:
                    raise NotFoundError(f"{self} was replaced and can not be {what}", hint="Scan again.")
            if not self._has(SEAL):
                raise FileNotFoundError(self.folder)
            yield

    def _decode_digests(self, data: bytes, what: str) -> Share:
        try:
            share = Share.from_json(record.decode("digests", data, what))
        except InvalidInputError as error:
            raise IntegrityError(f"{what} can not be used: {error.message}", hint=error.hint) from error
        if [(file.path, file.size_bytes) for file in share.files] != [(file.path, file.size_bytes) for file in self.seal.files]:
            raise IntegrityError(f"{what} is not about the files of {self}", hint="Digest the share again.")
        return share


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
        if says_nothing_about_the_file(error):
            raise failed(f"{path!r} of {share} can not be opened", error) from error
        if not durable.exists(fs, share.folder):
            raise NotFoundError(f"{share} is not here any more", hint="It was evicted or replaced: scan again.") from error
        raise IntegrityError(f"{path!r} of {share} can not be opened: {error}", hint=_CHANGED) from error
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
    if not share.seal.files and share.staging.machine.fs.stat(share.files_path).kind is not Kind.DIRECTORY:
        raise IntegrityError(f"{share} lost its folder", hint=_CHANGED)


def _decode_archived(data: bytes, what: str) -> Archived:
    fields = record.decode("archived", data, what)
    return Archived(
        archive_id=fields.text("archive"),
        attempt=fields.number("attempt", check_attempt),
        manifest_sha256=fields.text("manifest_sha256", check_sha256),
        at=fields.time("at"),
    )


def _decode_gap(data: bytes, what: str) -> Gap:
    fields = record.decode("gap", data, what)
    return Gap(fields.text("reason"), fields.time("at"))
