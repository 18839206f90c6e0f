"""From the local ring: in place, or copied into a folder with every byte compared on the way."""

from collections.abc import Sequence
from pathlib import Path

from ckpt_archive.digest import crc32c, sha256_hex
from ckpt_archive.disk import durable
from ckpt_archive.disk.protocol import join
from ckpt_archive.errors import IntegrityError, NotFoundError
from ckpt_archive.local.ring import SealedShare
from ckpt_archive.machine import Machine
from ckpt_archive.names import check_file_tree
from ckpt_archive.restore.choice import LocalPoint
from ckpt_archive.restore.landing import damaged, land
from ckpt_archive.restore.proof import prove, runs_of
from ckpt_archive.restore.result import Restored
from ckpt_archive.restore.selection import Selection
from ckpt_archive.share import FileEntry, Share
from ckpt_archive.ship.sealed import digest_sealed
from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.transfer.settings import TransferSettings

_BUFFER_BYTES = 1 << 20


def serve_in_place(machine: Machine, share: SealedShare, point: LocalPoint) -> Restored:
    """A checkpoint of one share, proved and left where it is.

    Raises:
        IntegrityError: If a byte of it changed.
    """
    verified = prove(machine, share)
    return Restored(
        path=Path(share.files_path),
        run=share.run,
        attempt=point.attempt,
        step=share.step,
        source="ring",
        verified=verified,
        files=len(share.seal.files),
        size_bytes=share.size_bytes,
        bytes_kept=share.size_bytes,
    )


def restore_from_ring(
    machine: Machine,
    shares: Sequence[SealedShare],
    point: LocalPoint,
    path: str,
    selection: Selection,
    settings: TransferSettings,
) -> Restored:
    """Copy a checkpoint of the ring, or the wanted part of it, into a folder; never by hard link.

    Raises:
        IntegrityError: If a byte of it changed.
        NotFoundError: If no file matches, or a wanted writer's share is not on this node.
        InvalidInputError: If the folder holds something else.
        CapacityError: If there is no room for it.
    """
    wanted = [share for share in shares if selection.rank is None or share.rank == selection.rank]
    if not wanted:
        raise NotFoundError(
            f"step {point.step} has no share of rank {selection.rank} here", hint="Restore from the archive."
        )
    had_digests = all(share.digests() is not None for share in wanted)
    sources: dict[str, tuple[SealedShare, Share, FileEntry]] = {}
    for share in wanted:
        digests = digest_sealed(share, settings, StoreLimits())
        for file in digests.files:
            sources.setdefault(file.path, (share, digests, file))
    check_file_tree(sources)
    selection.check(sources, f"step {point.step}")
    chosen = {path: source for path, source in sorted(sources.items()) if selection.takes(path)}
    files = [file for _, _, file in chosen.values()]

    def fill(partial: str) -> None:
        durable.remove_tree(machine.fs, partial)
        durable.make_directories(machine.fs, partial)
        for share, digests, file in chosen.values():
            _copy(machine, share, digests, file, partial)
        durable.sync_tree(machine.fs, partial)

    token = sha256_hex("".join(f"{file.sha256}{file.path}" for file in files).encode())
    landed = land(machine.fs, path, files, token, fill)
    return Restored(
        path=Path(landed.path),
        run=wanted[0].run,
        attempt=point.attempt,
        step=point.step,
        source="ring",
        verified=had_digests,
        files=len(files),
        size_bytes=sum(file.size_bytes for file in files),
        bytes_kept=sum(file.size_bytes for file in files),
    )


def _copy(machine: Machine, share: SealedShare, digests: Share, file: FileEntry, root: str) -> None:
    source_path = join(share.files_path, file.path)
    buffer = memoryview(bytearray(min(_BUFFER_BYTES, max(1, file.size_bytes))))
    try:
        source = machine.fs.open_beneath(share.files_path, file.path)
    except OSError as error:
        raise IntegrityError(f"{source_path} can not be read: {error}", hint="It is not used.") from error
    with source, machine.fs.create_beneath(root, file.path) as target:
        for index, (offset, length) in enumerate(runs_of(file, digests)):
            crc = 0
            position = offset
            while position < offset + length:
                read = source.read_into(buffer[: offset + length - position], position)
                if not read:
                    raise damaged(source_path, f"it ends at byte {position}")
                target.write_at(buffer[:read], position)
                crc = crc32c(buffer[:read], crc)
                position += read
            if crc != file.crc32c[index]:
                raise damaged(source_path, f"bytes {offset} to {offset + length} are not what was digested")
