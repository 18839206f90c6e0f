"""Is a sealed share still, byte for byte, what was digested after it was sealed?"""

from collections import deque
from collections.abc import Sequence

from ckpt_archive.digest import crc32c, crc32c_hex
from ckpt_archive.disk.protocol import join
from ckpt_archive.errors import IntegrityError
from ckpt_archive.local.ring import SealedShare, still_same
from ckpt_archive.machine import Machine
from ckpt_archive.restore.landing import damaged
from ckpt_archive.share import FileEntry, Share
from ckpt_archive.transfer.flow import flow

_BUFFER_BYTES = 1 << 20
# CRC32C runs at memory speed: more would only compete with each other, and with training.
_READERS = 2


def prove(machine: Machine, share: SealedShare) -> bool:
    """Compare every byte with the share's digests.

    False if it has none yet: then its files have the size, time and inode that they were sealed with, and no more is known.

    CRC32C, not SHA-256: a restart must not wait for a minute per 100 GB, and what is looked for is rot, not forgery.

    Raises:
        IntegrityError: If a file differs; it is named.
        NotFoundError: If the share was evicted meanwhile.
    """
    digests = share.digests()
    if digests is None:
        still_same(share)
        return False

    def check(file: FileEntry) -> None:
        _check_file(machine, share, digests, file)

    for _ in flow(machine.executor, deque(digests.files), check, limit=_READERS):
        pass
    return True


def _check_file(machine: Machine, share: SealedShare, digests: Share, file: FileEntry) -> None:
    path = join(share.files_path, file.path)
    try:
        with machine.fs.open_beneath(share.files_path, file.path) as opened:
            if opened.stat().size_bytes != file.size_bytes:
                raise damaged(path, f"it has {opened.stat().size_bytes} bytes, not {file.size_bytes}")
            buffer = memoryview(bytearray(min(_BUFFER_BYTES, file.size_bytes)))
            for index, (offset, length) in enumerate(runs_of(file, digests)):
                crc = 0
                position = offset
                while position < offset + length:
                    read = opened.read_into(buffer[: offset + length - position], position)
                    if not read:
                        raise damaged(path, f"it ends at byte {position}")
                    crc = crc32c(buffer[:read], crc)
                    position += read
                if crc != file.crc32c[index]:
                    raise damaged(
                        path,
                        f"bytes {offset} to {offset + length} have the CRC32C {crc32c_hex(crc)}, not "
                        f"{crc32c_hex(file.crc32c[index])}",
                    )
    except OSError as error:
        raise IntegrityError(f"{path} can not be read: {error}", hint="It is not used.") from error


def runs_of(file: FileEntry, digests: Share) -> Sequence[tuple[int, int]]:
    """(offset, length) in the file of what each of its CRC32Cs covers."""
    if file.object_index is None:
        return []
    size = digests.objects[file.object_index].part_size_bytes
    return [(offset, min(size, file.size_bytes - offset)) for offset in range(0, file.size_bytes, size)]
