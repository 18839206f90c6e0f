"""Makes what a writer wrote durable, and gives it its place in the ring by one rename: sealed whole, or not at all.

The order is what survives power loss: files, every folder bottom-up, the seal, its folder, the rename, the names of the new
place, the name of the old one. A failed fsync is a failed save: the draft is discarded, and nothing of it is synced again.
Who crashes on the way leaves a draft whose lock is free, or a whole share that nobody was told of.
"""

import enum
import logging
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass

from ckpt_archive.contribution import Contribution
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import Kind, LockMode, join, walk
from ckpt_archive.errors import CkptArchiveError, ConflictError, IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.local import scanning
from ckpt_archive.local.faults import converting, failed
from ckpt_archive.local.kept import FILES, SEAL, SealedShare, open_sealed
from ckpt_archive.local.sealed import Seal, SealedFile
from ckpt_archive.local.share_facts import RECEIPT
from ckpt_archive.local.staging import RunStaging, rank_name
from ckpt_archive.local.trash import throw_away
from ckpt_archive.names import MAX_ATTEMPT, check_file_tree, check_rank, check_step
from ckpt_archive.share import MAX_FILES

__all__ = ["Draft", "Seal", "SealOutcome", "SealedFile", "Verdict", "open_draft"]

_log = logging.getLogger(__name__)

_MAX_TRIES = 100
_COMPARE_BYTES = 1 << 20


class Verdict(enum.Enum):
    """What became of a save."""

    STAGED = "staged"
    DUPLICATE_SAME = "duplicate-same"
    DUPLICATE_KEPT_FIRST = "duplicate-kept-first"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class SealOutcome:
    """The answer to a save.

    Attributes:
        verdict: STAGED: it is sealed. DUPLICATE_SAME: an earlier save of this step in this launch has the same content.
            DUPLICATE_KEPT_FIRST: an earlier one has other content and is bound to the archive; this one is dropped.
            REPLACED: an earlier one had other content and gave way.
        share: The sealed share that stands for this step now.
    """

    verdict: Verdict
    share: SealedShare


class Draft:
    """A folder that a writer fills; its lock tells everybody that the writer lives.

    Args:
        run: The run.
        name: Of the folder below ``tmp/``.
        held: Releases the lock when closed.
    """

    def __init__(self, run: RunStaging, name: str, held: ExitStack) -> None:
        self._run = run
        self._folder = join(run.tmp, name)
        self._held: ExitStack | None = held

    @property
    def files_path(self) -> str:
        """Where the checkpoint's files go, in sub-folders too."""
        return join(self._folder, FILES)

    def seal(self, launch: int, step: int, rank: int, contribution: Contribution, saves: int) -> SealOutcome:
        """Seal it; when this returns, what the outcome names survives the process and a power loss.

        Args:
            launch: Local launch ordinal.
            step: Training step.
            rank: Which writer.
            contribution: What is said about it.
            saves: Which save of this run by this writer it is, from 1.

        Raises:
            InvalidInputError: If a file has a name that could not be restored or is not a regular file, if there is none
                at all from the only writer, or if something that is said can not be recorded.
            CapacityError: If the disk is full.
            UnavailableError: If the disk failed. After any error the draft is gone and the save has failed.
        """
        if self._held is None:
            raise InvalidInputError("this draft was sealed or discarded before", hint="Open another one.")
        fs = self._run.machine.fs
        try:
            seal = self._make_durable(launch, step, rank, contribution, saves)
            outcome = self._take_place(seal)
        except OSError as error:
            self._give_up()
            raise failed(f"step {step} of {self._run.name} could not be sealed in {self._run.folder}", error) from error
        except CkptArchiveError:
            self._give_up()
            raise
        if outcome.verdict in (Verdict.DUPLICATE_SAME, Verdict.DUPLICATE_KEPT_FIRST):
            self._give_up()
        else:
            # It is sealed: nothing that happens from here on may make it look as if it were not.
            with suppress(OSError):
                fs.remove(f"{self._folder}.lock")
            self._release()
        return outcome

    def discard(self) -> None:
        """Remove it; more than once, or after sealing, does no harm.

        Raises:
            UnavailableError: If the disk does not answer; `clean` will remove it later.
        """
        if self._held is None:
            return
        try:
            with converting(f"the draft {self._folder} can not be removed"):
                durable.remove_tree(self._run.machine.fs, self._folder)
                durable.remove_if_there(self._run.machine.fs, f"{self._folder}.lock")
        finally:
            self._release()

    def _give_up(self) -> None:
        try:
            self.discard()
        except CkptArchiveError as error:
            _log.warning("%s", error)

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            with suppress(OSError):
                held.close()

    def _make_durable(self, launch: int, step: int, rank: int, contribution: Contribution, saves: int) -> Seal:
        fs = self._run.machine.fs
        names = self._check_names(launch, step, rank, contribution, saves)
        durable.sync_tree(fs, self.files_path)
        if self._names() != names:
            raise InvalidInputError(
                f"files were added to or removed from step {step} while it was being sealed",
                hint="Let every writer finish before the checkpoint is left.",
            )
        files = []
        for path in names:
            found = fs.stat(join(self.files_path, path))
            files.append(SealedFile(path, found.size_bytes, found.mtime_ns, found.inode))
        data, seal = _encode(Seal(self._run.name, launch, step, rank, saves, contribution, tuple(files)))
        with fs.create(join(self._folder, SEAL)) as file:
            file.write_at(data, 0)
            file.sync()
        fs.sync_directory(self._folder)
        return seal

    def _check_names(self, launch: int, step: int, rank: int, contribution: Contribution, saves: int) -> list[str]:
        check_step(step)
        if check_rank(rank) >= contribution.writers:
            raise InvalidInputError(
                f"rank {rank} of {contribution.writers} writers is not possible", hint="Ranks are counted from 0."
            )
        if not 0 <= launch <= MAX_ATTEMPT or saves < 1:
            raise InvalidInputError(f"launch {launch}, save {saves} are not possible", hint="Saves are counted from 1.")
        names = self._names()
        if not names and contribution.writers == 1:
            raise InvalidInputError(
                f"step {step} has no file", hint=f"Write the checkpoint's files into {self.files_path}."
            )
        if len(names) > MAX_FILES:
            raise InvalidInputError(f"step {step} has more than {MAX_FILES} files", hint="Write fewer, larger files.")
        check_file_tree(names)
        return names

    def _names(self) -> list[str]:
        """The paths of all files, sorted. Empty folders are no part of a checkpoint."""
        names = []
        for relative, entry in walk(self._run.machine.fs, self.files_path):
            if entry.kind is Kind.FILE:
                names.append(relative)
            elif entry.kind is not Kind.DIRECTORY:
                raise InvalidInputError(
                    f"{relative!r} is not a regular file but a {entry.kind.value}",
                    hint="A checkpoint is made of files and folders: write the content itself.",
                )
        return sorted(names)

    def _take_place(self, seal: Seal) -> SealOutcome:
        """Find out who else saved this step in this launch, and act on it; whoever is met on the way makes us look again."""
        run = self._run
        for _ in range(_MAX_TRIES):
            first = scanning.current(run, seal.launch, seal.step, seal.rank)
            if first is None:
                share = self._rename_in(seal)
                outcome = None if share is None else SealOutcome(Verdict.STAGED, share)
            elif self._has_content_of(first, seal):
                outcome = self._adopt(first, seal)
            else:
                outcome = self._replace(first, seal)
            if outcome is not None:
                return outcome
        raise ConflictError(
            f"step {seal.step} of {run.name}, rank {seal.rank}, is being saved by several processes at once",
            hint="Each rank is one process: look for a second trainer with the same launch key.",
        )

    def _adopt(self, first: SealedShare, seal: Seal) -> SealOutcome | None:
        """The same content is there already; None if it went away meanwhile."""
        try:
            if seal.contribution.promotion:
                first.promote(seal.contribution.promotion)
            self._run.sync_names(seal.launch, seal.step)
        except (NotFoundError, FileNotFoundError):
            return None
        return SealOutcome(Verdict.DUPLICATE_SAME, first)

    def _replace(self, first: SealedShare, seal: Seal) -> SealOutcome | None:
        run = self._run
        with run.machine.fs.lock(run.state_lock, LockMode.EXCLUSIVE):
            now = scanning.current(run, seal.launch, seal.step, seal.rank)
            if now is None or now.folder != first.folder or now.seal != first.seal:
                return None
            if first.is_begun:
                return SealOutcome(Verdict.DUPLICATE_KEPT_FIRST, first)
            share = self._rename_in(seal)
        if share is None:
            return None
        self._drop(first, share)
        return SealOutcome(Verdict.REPLACED, share)

    def _rename_in(self, seal: Seal) -> SealedShare | None:
        """Give the draft its place; None if that was taken, or its folder removed, at the same time."""
        run, fs = self._run, self._run.machine.fs
        step_folder = run.step_folder(seal.launch, seal.step)
        generation = scanning.next_generation(run, seal.launch, seal.step, seal.rank)
        target = join(step_folder, rank_name(seal.rank, generation))
        try:
            durable.make_directories(fs, step_folder)
            fs.rename(self._folder, target)
        except FileExistsError:
            return None
        except FileNotFoundError:
            if durable.exists(fs, self._folder):
                return None
            raise
        try:
            run.sync_names(seal.launch, seal.step)
            fs.sync_directory(run.tmp)
        except OSError:
            self._withdraw(target)
            raise
        return SealedShare(run, seal.launch, seal.step, seal.rank, generation, target, seal)

    def _withdraw(self, target: str) -> None:
        """Its name may not survive a power loss, so it must not be found by a later save that would rely on it."""
        fs = self._run.machine.fs
        with suppress(OSError):
            if not durable.exists(fs, join(target, RECEIPT)):
                fs.rename(target, join(self._run.trash, self._run.machine.nonce()))

    def _drop(self, first: SealedShare, share: SealedShare) -> None:
        """Throw the replaced one away, unless somebody reads from the ring just now: then `clean` does it later.

        Raises:
            IntegrityError: If what should replace it was damaged in the meantime: then the first one stays.
        """
        run = self._run
        held: AbstractContextManager[None] | None = None
        with suppress(OSError):
            held = run.machine.fs.try_lock(run.ring_lock, LockMode.EXCLUSIVE)
        if held is not None:
            with suppress(OSError), held:
                # Under this lock what is damaged is set aside, so only now it is known which of them stands.
                now = scanning.current(run, share.launch, share.step, share.rank)
                if now is None or now.generation < share.generation:
                    raise IntegrityError(
                        f"{share} was damaged while it was being sealed; the earlier save of this step stays",
                        hint="The disk loses what is written to it: see the kernel's log.",
                    )
                throw_away(run, first.folder)

    def _has_content_of(self, first: SealedShare, seal: Seal) -> bool:
        mine = [(file.path, file.size_bytes) for file in seal.files]
        if mine != [(file.path, file.size_bytes) for file in first.seal.files]:
            return False
        try:
            return all(self._same_bytes(first, file) for file in seal.files)
        except (IntegrityError, NotFoundError):
            # The first one was changed after its seal, or is gone: it is no witness for these bytes.
            return False

    def _same_bytes(self, first: SealedShare, known: SealedFile) -> bool:
        buffers = memoryview(bytearray(_COMPARE_BYTES)), memoryview(bytearray(_COMPARE_BYTES))
        fs = self._run.machine.fs
        with fs.open_beneath(self.files_path, known.path) as mine, open_sealed(first, known.path) as theirs:
            for offset in range(0, known.size_bytes, _COMPARE_BYTES):
                length = mine.read_into(buffers[0], offset)
                if theirs.read_into(buffers[1], offset) != length or buffers[0][:length] != buffers[1][:length]:
                    return False
        return True


def open_draft(run: RunStaging) -> Draft:
    """A new, empty draft of a prepared run.

    Raises:
        CapacityError: If the disk is full.
        InvalidInputError: If the run is not prepared, or may not be written to.
    """
    fs = run.machine.fs
    with converting(f"no draft can be made in {run.tmp}"):
        for _ in range(_MAX_TRIES):
            name = run.machine.nonce()
            # The folder before its lock, the inner folder after it: a cleaner that takes the lock in between takes the
            # folder away first, so that we notice; and a lock without a folder is nobody's.
            fs.make_directory(join(run.tmp, name))
            held = ExitStack()
            held.enter_context(fs.lock(join(run.tmp, f"{name}.lock"), LockMode.EXCLUSIVE))
            try:
                fs.make_directory(join(run.tmp, name, FILES))
            except FileNotFoundError:
                held.close()
            except OSError:
                held.close()
                raise
            else:
                return Draft(run, name, held)
    raise ConflictError(f"every draft in {run.tmp} is taken away at once", hint="What else cleans this folder?")


def _encode(seal: Seal) -> tuple[bytes, Seal]:
    """The seal's bytes, and the seal as it reads back from them: what can not be read back is not sealed."""
    try:
        data = seal.encode()
        return data, Seal.decode(data, "the seal")
    except (ValueError, TypeError, RecursionError, IntegrityError) as error:
        raise InvalidInputError(
            f"what is said about step {seal.step} can not be recorded: {error}",
            hint="Metrics are finite numbers, labels and lineage are JSON values.",
        ) from error
