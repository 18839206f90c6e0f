"""What all stored records have in common: a format name, a version, and the rule by which old and new releases agree.

A record is one JSON object with ``format`` and ``version``. Version 1 readers accept unknown members and keep them; a newer
writer whose member changes the meaning of the others lists it in ``requires``, and a reader that does not know it refuses.
"""

from collections.abc import Mapping

from ckpt_archive import strictjson
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.strictjson import Fields, Json

VERSION = 1


def encode(kind: str, members: Mapping[str, Json], unknown: Mapping[str, Json]) -> bytes:
    """The canonical bytes of a record of this `kind`; `unknown` are members of a newer writer, kept as they were."""
    return strictjson.encode({**unknown, **members, "format": f"ckpt-archive/{kind}", "version": VERSION})


def decode(kind: str, data: bytes, what: str) -> Fields:
    """The fields of a record.

    Args:
        kind: "manifest", "receipt", …
        data: Its bytes.
        what: Its key or path, for error messages.

    Raises:
        IntegrityError: If it is not a valid record of this kind.
        InvalidInputError: If it needs a newer release than this one.
    """
    fields = Fields(strictjson.decode(data, what), what)
    if fields.text("format") != f"ckpt-archive/{kind}":
        raise IntegrityError(f"{what} is not a {kind}", hint="Another kind of file stands under this name.")
    required = fields.items("requires") if fields.has("requires") else []
    if fields.number("version") != VERSION or required:
        raise InvalidInputError(
            f"{what} is of format version {fields.number('version')} and requires {required or 'nothing else'}",
            hint=f"This release reads version {VERSION}: upgrade ckpt-archive.",
        )
    return fields
