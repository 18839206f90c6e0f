"""Whether the bytes of a part arrived, by the ETag that the store gives it."""

import hashlib
import re

from ckpt_archive.digest import crc32c
from ckpt_archive.errors import ChecksumRefusedError
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import PartInfo

_BUFFER_BYTES = 1 << 20
_MD5 = re.compile("[0-9a-f]{32}")


def may_tell(part: PartInfo) -> bool:
    """Whether its ETag looks as if it told of the bytes."""
    return _MD5.fullmatch(part.etag) is not None


def has_arrived(part: PartInfo, body: Body) -> bool:
    """Whether the store has these bytes as that part.

    The ETag of a part is the MD5 of its bytes (Amazon S3 API Reference, "Object"), but under SSE-C and SSE-KMS: there it
    equals nothing of ours, and the part is sent again.

    Raises:
        ChecksumRefusedError: If the bytes are not those that were digested.
        OSError, EOFError: If they can not be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    position = crc = 0
    while read := body.read_into(buffer, position):
        digest.update(buffer[:read])
        crc = crc32c(buffer[:read], crc)
        position += read
    if crc != body.crc32c:
        raise ChecksumRefusedError(
            f"the bytes of part {part.number} have the CRC32C {crc:08x}, not {body.crc32c:08x}",
            hint="They changed after they were digested.",
        )
    return digest.hexdigest() == part.etag
