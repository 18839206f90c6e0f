"""What all stored records have in common: a format name, a version, and the rule by which old and new releases agree.

A record is one JSON object with ``format`` and ``version``. Version 1 readers accept unknown members and keep them; a newer
writer whose member changes the meaning of the others lists it in ``requires``, and a reader that does not know it refuses.

Its member ``crc32c`` is that of the record's canonical bytes without it: a bit that flipped in a small file would otherwise
be believed, and what is said about good bytes would be wrong. It is no proof against forgery; signatures are.
"""

from collections.abc import Mapping

from ckpt_archive import strictjson
from ckpt_archive.digest import crc32c, crc32c_hex
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.strictjson import Fields, Json

VERSION = 1

_CHECKSUM = "crc32c"


def encode(kind: str, members: Mapping[str, Json], unknown: Mapping[str, Json]) -> bytes:
    """The canonical bytes of a record of this `kind`; `unknown` are members of a newer writer, kept as they were.

    Raises:
        InvalidInputError: If something in it could not be read back.
    """
    value = {**unknown, **members, "format": f"ckpt-archive/{kind}", "version": VERSION}
    try:
        strictjson.check(value)
        return with_checksum(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInputError(
            f"a {kind} can not be recorded: {error}",
            hint=f"Labels, metrics, sources and lineage are JSON values: texts, finite numbers, lists and mappings, nested "
            f"less than {strictjson.MAX_DEPTH} deep.",
        ) from error


def decode(kind: str, data: bytes, what: str) -> Fields:
    """The fields of a record.

    Args:
        kind: "manifest", "receipt", …
        data: Its bytes.
        what: Its key or path, for error messages.

    Raises:
        IntegrityError: If it is not a valid record of this kind, or not the one that was written.
        InvalidInputError: If it needs a newer release than this one.
    """
    value = strictjson.decode(data, what)
    if value.pop(_CHECKSUM, None) != _checksum(value):
        raise IntegrityError(
            f"{what} is damaged: its bytes are not those of its CRC32C",
            hint="A bit of it changed since it was written: restore it from a copy.",
        )
    fields = Fields(value, what)
    if fields.text("format") != f"ckpt-archive/{kind}":
        raise IntegrityError(f"{what} is not a {kind}", hint="Another kind of file stands under this name.")
    version = fields.number("version")
    required = fields.items("requires") if fields.has("requires") else []
    if version != VERSION:
        fields.refuse_newer(f"it is of format version {version}, and this release reads {VERSION}")
    if required:
        fields.refuse_newer(f"it requires that {strictjson.brief(required)} is understood")
    return fields


def with_checksum(value: Mapping[str, Json]) -> bytes:
    """The canonical bytes of a whole record, its checksum made anew."""
    rest = {name: member for name, member in value.items() if name != _CHECKSUM}
    return strictjson.encode({**rest, _CHECKSUM: _checksum(rest)})


def _checksum(value: Mapping[str, Json]) -> str:
    return crc32c_hex(crc32c(strictjson.encode(value)))
