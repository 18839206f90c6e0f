"""The lifecycle engine of SeaweedFS, run when a test wants it, on objects that have been made older.

Nobody can wait for days, and the engine asks no clock but the machine's. So the objects' times are set back: the file
server's own copy of what it knows of them is saved, changed and loaded again.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from ckpt_archive.devserver import DevServer

_DAY_SECONDS = 86_400
_CURSORS = "/etc/s3/lifecycle/daily-cursors"

# The numbers of fields in SeaweedFS's `filer.proto`: FullEntry.entry, Entry.attributes, FuseAttributes.mtime and crtime.
_ENTRY, _ATTRIBUTES, _TIMES = 2, 4, (2, 6)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def run_lifecycle(server: DevServer) -> str:
    """Let the engine do to all buckets what is due now; what it says about that."""
    return server.shell(
        # It remembers that it has looked at everything today.
        f"fs.rm -r -f {_CURSORS}",
        "lock",
        f"s3.lifecycle.run-shard -shards 0-15 -events 0 -s3 {server.s3_grpc_address}",
        "unlock",
    )


def make_older(server: DevServer, bucket: str, *, days: int) -> None:
    """Let everything in a bucket have been written so many days earlier than it says now."""
    saved, changed = Path(server.folder, "saved.meta"), Path(server.folder, "changed.meta")
    server.shell(f"fs.meta.save -v=false -o {saved} /buckets/{bucket}")
    entries = [_older(entry, days * _DAY_SECONDS) for entry in _entries(saved.read_bytes())]
    data = b"".join(struct.pack(">I", len(entry)) + entry for entry in (*entries, _last_entry()))
    changed.write_bytes(data)
    said = server.shell(f"fs.meta.load -v=false -concurrency=1 {changed}")
    assert "is loaded" in said, said


def _last_entry() -> bytes:
    """A folder that nobody uses.

    Having sent the last entry the shell goes away without waiting for the answer, and then it may not be made; when that
    happens to a file of several chunks, the server dies of it.
    """
    folder = _message(iter([(1, _BYTES, b"last"), (2, _VARINT, 1), (_ATTRIBUTES, _BYTES, b"")]))
    return _message(iter([(1, _BYTES, b"/"), (_ENTRY, _BYTES, folder)]))


def _entries(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def _older(full: bytes, seconds: int) -> bytes:
    def attributes(data: bytes) -> bytes:
        return _message(
            (
                number,
                kind,
                value - seconds if kind == _VARINT and number in _TIMES and isinstance(value, int) else value,
            )
            for number, kind, value in _fields(data)
        )

    def entry(data: bytes) -> bytes:
        return _message(
            (number, kind, attributes(value) if number == _ATTRIBUTES and isinstance(value, bytes) else value)
            for number, kind, value in _fields(data)
        )

    return _message(
        (number, kind, entry(value) if number == _ENTRY and isinstance(value, bytes) else value)
        for number, kind, value in _fields(full)
    )


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and value of each field of a protobuf message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, kind, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(kind)
        if size is None:
            assert kind == _BYTES, kind
            size, at = _varint(data, at)
        yield tag >> 3, kind, data[at : at + size]
        at += size


def _message(fields: Iterator[tuple[int, int, int | bytes]]) -> bytes:
    written = bytearray()
    for number, kind, value in fields:
        written += _number(number << 3 | kind)
        if isinstance(value, int):
            written += _number(value)
        else:
            written += _number(len(value)) + value if kind == _BYTES else value
    return bytes(written)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def _number(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])
