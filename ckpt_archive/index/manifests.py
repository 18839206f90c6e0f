"""Manifests, read fast: what our own writers spell is checked with few steps, anything else by the strict decoder.

The CRC32C of a record is that of its canonical bytes without this member. In canonical bytes it can be cut out, so they need
not be made again: whoever fits is canonical, or was forged, and a forgery fits the slow way too. Whatever is not as expected
is given to the strict decoder, which names the problem or accepts it.
"""

from ckpt_archive import strictjson
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.digest import crc32c
from ckpt_archive.names import MAX_WRITERS, SHA256_HEX
from ckpt_archive.place import Place
from ckpt_archive.strictjson import Json

_CHECKSUM = b'"crc32c":"'
_CHECKSUM_BYTES = len(_CHECKSUM) + len(b'xxxxxxxx",')
_MOST = 2**63

_TEXTS = ("archive", "launch_key", "completeness", "first_staged_at", "staged_at")
_FREE = ("promotion", "metrics", "labels", "lineage")


def read_manifest(data: bytes, key: str, place: Place) -> dict[str, Json]:
    """The members of a manifest, all of version 1 checked.

    Raises:
        IntegrityError: If it is malformed, or of another checkpoint.
        InvalidInputError: If it needs a newer release.
    """
    value = canonical(data, "manifest")
    if value is not None and _is_sound(value, place):
        return value
    Manifest.decode(data, key).check_place(place)
    return strictjson.decode(data, key)


def canonical(data: bytes, kind: str) -> dict[str, Json] | None:
    """The members of a record in canonical spelling and of version 1; None for whatever has to be looked at closer."""
    if not has_checksum(data):
        return None
    try:
        value = strictjson.parse(data)
    except (ValueError, RecursionError):
        return None
    is_ours = value.get("format") == f"ckpt-archive/{kind}" and value.get("version") == 1 and not value.get("requires")
    return value if is_ours else None


def has_checksum(data: bytes) -> bool:
    """Whether these are canonical bytes with the right CRC32C."""
    start = data.find(_CHECKSUM)
    if start < 0:
        return False
    end = start + _CHECKSUM_BYTES
    said = data[start + len(_CHECKSUM) : end - 2]
    return said == b"%08x" % crc32c(memoryview(data)[end:], crc32c(memoryview(data)[:start]))


def _is_sound(value: dict[str, Json], place: Place) -> bool:
    get = value.get
    receipts, writers = get("receipts"), get("writers")
    if (
        get("run") != place.run
        or not is_number(get("attempt"))
        or get("attempt") != place.attempt
        or not is_number(get("step"))
        or get("step") != place.step
        or not is_number(writers)
        or not 1 <= writers <= MAX_WRITERS
        or not is_number(get("files"))
        or not is_number(get("size"))
        or not all(type(get(name)) is str for name in _TEXTS)
        or not all(type(get(name)) is dict for name in _FREE)
        or type(get("class", "")) is not str
        or type(receipts) is not list
        or len(receipts) != writers
        or get("first_staged_at") > get("staged_at")
    ):
        return False
    try:
        # All but the receipts, in which there is nothing free.
        strictjson.check({name: member for name, member in value.items() if name != "receipts"})
    except (ValueError, RecursionError):
        return False
    return all(
        type(entry) is dict
        and entry.get("rank") == rank
        and type(entry.get("sha256")) is str
        and SHA256_HEX.fullmatch(entry["sha256"])
        and is_number(entry.get("size"))
        for rank, entry in enumerate(receipts)
    )


def is_number(value: Json) -> bool:
    """Whether it is what `Fields.number` takes."""
    return type(value) is int and 0 <= value < _MOST
