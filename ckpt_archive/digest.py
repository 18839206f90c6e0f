"""SHA-256 and CRC32C, the two digests of this archive, and their spelling.

SHA-256 of a whole file is its identity: what `sha256sum` prints and what gets signed. CRC32C (Castagnoli, RFC 3720 appendix
B.4) of a part is the transport and random-access check, because stores can verify it on arrival.
"""

import base64
import hashlib

from crc32c import crc32c as _crc32c

from ckpt_archive.errors import InvalidInputError


def sha256_hex(data: bytes | memoryview) -> str:
    """SHA-256 as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def crc32c(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """CRC32C of `data`, continuing from `value`."""
    return int(_crc32c(data, value))


def crc32c_hex(value: int) -> str:
    """As stored files spell it: 8 lower-case hexadecimal digits."""
    return f"{value:08x}"


def crc32c_from_hex(text: str) -> int:
    """The value of 8 lower-case hexadecimal digits.

    Raises:
        InvalidInputError: If `text` is anything else.
    """
    if isinstance(text, str) and len(text) == 8 and all(digit in "0123456789abcdef" for digit in text):
        return int(text, 16)
    raise InvalidInputError(f"{text!r} is not a CRC32C", hint="Expected 8 lower-case hexadecimal digits.")


def crc32c_base64(value: int) -> str:
    """As S3 spells it in ``x-amz-checksum-crc32c``: base64 of the four big-endian bytes."""
    return base64.b64encode(value.to_bytes(4, "big")).decode("ascii")
