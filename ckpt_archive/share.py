"""A writer's share of a checkpoint: its files, the objects that carry them, and every digest. Values only.

One writer contributes files; small ones lie together in one packed object, every other file is an object of its own. A
`Share` is what a digest pass over a sealed folder yields and what a receipt records, so one type describes what was staged,
what is sent, and what must come back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckpt_archive.digest import crc32c_from_hex, crc32c_hex
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.names import check_file_path, check_file_tree, check_object_key, check_sha256
from ckpt_archive.strictjson import NOTHING, Fields, Json

MAX_FILES = 2_000_000


def _nothing() -> Mapping[str, Json]:
    return NOTHING


@dataclass(frozen=True, slots=True)
class DataObject:
    """An object of data as it lies in the store.

    Attributes:
        sha256: Of the whole object; the last component of its key.
        size_bytes: Length, at least 1.
        part_size_bytes: All parts but the last have this size.
        part_crc32c: CRC32C of each part, in order.
        key: Where it lies in the bucket if somebody else put it there: the whole key with a '/' before it; "" for where
            objects of ours lie.
        etag: What the store called its bytes when they were digested; only where `key` is.
        unknown: Members written by a newer release; they are no part of what is compared.
    """

    sha256: str
    size_bytes: int
    part_size_bytes: int
    part_crc32c: tuple[int, ...]
    key: str = ""
    etag: str = ""
    unknown: Mapping[str, Json] = field(default_factory=_nothing, compare=False)

    def part_range(self, number: int) -> tuple[int, int]:
        """(offset, length) in bytes of part `number`, counted from 1."""
        offset = (number - 1) * self.part_size_bytes
        return offset, min(self.part_size_bytes, self.size_bytes - offset)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the checkpoint.

    Attributes:
        path: Relative, '/'-separated.
        size_bytes: Length.
        sha256: Of the whole file: its identity.
        object_index: Which object of the share holds it; None for an empty file.
        offset: Where it begins in that object.
        crc32c: CRC32C of each run of the object's `part_size_bytes` of the file's own bytes, the last one shorter.
        unknown: Members written by a newer release; they are no part of what is compared.
    """

    path: str
    size_bytes: int
    sha256: str
    object_index: int | None
    offset: int
    crc32c: tuple[int, ...]
    unknown: Mapping[str, Json] = field(default_factory=_nothing, compare=False)


@dataclass(frozen=True, slots=True)
class Share:
    """Files and objects of one writer, in the order of their paths."""

    files: tuple[FileEntry, ...]
    objects: tuple[DataObject, ...]

    @property
    def size_bytes(self) -> int:
        """The files' total size."""
        return sum(file.size_bytes for file in self.files)

    def identity(self) -> tuple[tuple[str, int, str], ...]:
        """What makes two shares the same content: path, size and SHA-256 of every file."""
        return tuple((file.path, file.size_bytes, file.sha256) for file in self.files)

    def to_json(self) -> dict[str, Json]:
        """As the members ``files`` and ``objects`` of a record."""
        return {
            "files": [_file_to_json(file) for file in self.files],
            "objects": [_object_to_json(item) for item in self.objects],
        }

    @classmethod
    def from_json(cls, fields: Fields) -> "Share":
        """Read the members ``files`` and ``objects``, and check that they fit together.

        Raises:
            IntegrityError: If a path, digest, size or range is not possible.
            InvalidInputError: If a file's bytes lie where, or as, only a newer release knows.
        """
        objects = tuple(_object_from_json(item) for item in fields.objects("objects"))
        files = tuple(_file_from_json(item, objects) for item in fields.objects("files"))
        if len(files) > MAX_FILES:
            fields.refuse(f"it lists {len(files)} files, more than {MAX_FILES}")
        paths = [file.path for file in files]
        if paths != sorted(paths):
            fields.refuse("its files are not in the order of their paths")
        try:
            check_file_tree(paths)
        except InvalidInputError as error:
            fields.refuse(error.message)
        return cls(files, objects)


def _object_to_json(item: DataObject) -> Json:
    return {
        **item.unknown,
        **({"key": item.key.removeprefix("/"), "etag": item.etag} if item.key else {}),
        "sha256": item.sha256,
        "size": item.size_bytes,
        "part_size": item.part_size_bytes,
        "crc32c": [crc32c_hex(value) for value in item.part_crc32c],
    }


def _object_from_json(fields: Fields) -> DataObject:
    _check_encoding(fields)
    if fields.has("key") and not fields.has("sha256"):
        fields.refuse_newer("nobody has digested its bytes yet")
    item = DataObject(
        sha256=fields.text("sha256", check_sha256),
        size_bytes=fields.number("size"),
        part_size_bytes=fields.number("part_size"),
        part_crc32c=_crcs_from_json(fields),
        key="/" + fields.text("key", check_object_key) if fields.has("key") else "",
        etag=fields.text("etag") if fields.has("key") and fields.has("etag") else "",
        unknown=fields.rest(),
    )
    if item.size_bytes == 0 or item.part_size_bytes == 0:
        fields.refuse("an object and its parts have at least one byte")
    if len(item.part_crc32c) != -(-item.size_bytes // item.part_size_bytes):
        fields.refuse("the number of part checksums does not fit the sizes")
    return item


def _file_to_json(file: FileEntry) -> Json:
    members: dict[str, Json] = {**file.unknown, "path": file.path, "size": file.size_bytes, "sha256": file.sha256}
    if file.object_index is not None:
        members |= {
            "object": file.object_index,
            "offset": file.offset,
            "crc32c": [crc32c_hex(value) for value in file.crc32c],
        }
    return members


def _file_from_json(fields: Fields, objects: tuple[DataObject, ...]) -> FileEntry:
    _check_reserved(fields)
    path = fields.text("path", check_file_path)
    size = fields.number("size")
    sha256 = fields.text("sha256", check_sha256)
    _check_stored(fields, size, sha256)
    if not fields.has("object"):
        if size:
            fields.refuse("only an empty file has no object")
        return FileEntry(path, 0, sha256, None, 0, (), fields.rest())
    index = fields.number("object")
    if index >= len(objects):
        fields.refuse(f"there is no object {index}")
    offset, crcs = fields.number("offset"), _crcs_from_json(fields)
    file = FileEntry(path, size, sha256, index, offset, crcs, fields.rest())
    if size == 0 or offset + size > objects[index].size_bytes:
        fields.refuse(f"its bytes do not lie within object {index}")
    if len(crcs) != -(-size // objects[index].part_size_bytes):
        fields.refuse("the number of checksums does not fit the size")
    return file


def _check_reserved(fields: Fields) -> None:
    """Members that version 1 reserves and this release does not write: with them the bytes lie elsewhere, or otherwise.

    Raises:
        InvalidInputError: If reading on without understanding them would give other bytes than those meant.
    """
    if fields.peek("key") is not None:
        fields.refuse_newer("its bytes lie under a key of their own")
    _check_encoding(fields)


def _check_encoding(fields: Fields) -> None:
    if fields.peek("encoding") not in (None, "identity"):
        fields.refuse_newer("its bytes are stored in an encoding")


def _check_stored(fields: Fields, size_bytes: int, sha256: str) -> None:
    """What is stored as it is has the same size and digest as stored."""
    if fields.peek("stored_size") not in (None, size_bytes) or fields.peek("stored_sha256") not in (None, sha256):
        fields.refuse("it is stored as it is, and yet with another size or digest")


def _crcs_from_json(fields: Fields) -> tuple[int, ...]:
    try:
        return tuple(crc32c_from_hex(text) for text in fields.items("crc32c"))
    except InvalidInputError as error:
        fields.refuse(f"'crc32c': {error.message}")
