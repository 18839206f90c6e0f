"""Receipts as rows of files, many at once: read by Arrow's JSON reader and checked by columns.

A receipt whose SHA-256 is the one that its manifest names was checked by whoever committed it, so what is looked at here is
that these are records of ours and that no value is impossible. Whatever is odd is given to the strict decoder, one by one.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from ckpt_archive.index import arrow
from ckpt_archive.index.manifests import has_checksum
from ckpt_archive.index.parsed import Parsed, Source, Totals
from ckpt_archive.index.schema import FILES
from ckpt_archive.index.strict_receipts import read_one

_FILE = pa.struct(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("object", pa.int64()),
        ("offset", pa.int64()),
        ("key", pa.string()),
        ("encoding", pa.string()),
        ("stored_size", pa.int64()),
        ("stored_sha256", pa.string()),
    ]
)
_OBJECT = pa.struct(
    [
        ("sha256", pa.string()),
        ("size", pa.int64()),
        ("part_size", pa.int64()),
        ("key", pa.string()),
        ("encoding", pa.string()),
    ]
)
_RECEIPT = pa.schema(
    [
        ("format", pa.string()),
        ("version", pa.int64()),
        ("requires", pa.list_(pa.string())),
        ("archive", pa.string()),
        ("run", pa.string()),
        ("attempt", pa.int64()),
        ("step", pa.int64()),
        ("rank", pa.int64()),
        ("timings", pa.struct([("save_seconds", pa.float64()), ("upload_seconds", pa.float64())])),
        ("files", pa.list_(_FILE)),
        ("objects", pa.list_(_OBJECT)),
    ]
)
_PARSING = pj.ParseOptions(explicit_schema=_RECEIPT, unexpected_field_behavior="ignore")
_BLOCK_BYTES = 1 << 20

_DIGEST = "^[0-9a-f]{64}$"
# What no rule of names objects to; other letters are looked at one by one.
_PLAIN_PATH = r"^[ -\[\]-~]{1,1000}$"
_ODD_COMPONENT = r"(^|/)\.{0,2}(/|$)"
# These have tables of tensors, which are digested as they are spelled.
_TENSORS = b'"tensors":'


def read_receipts(sources: Sequence[Source], archive_id: str) -> Parsed:
    """The rows of all files of these receipts."""
    parsed = Parsed(totals=[None] * len(sources))
    plain = [index for index, source in enumerate(sources) if has_checksum(source.data) and _TENSORS not in source.data]
    odd = set(range(len(sources))).difference(plain)
    return _parsed(sources, archive_id, parsed, plain, odd)


def read_strictly(sources: Sequence[Source], archive_id: str) -> Parsed:
    """The same, each receipt read member by member."""
    return _parsed(sources, archive_id, Parsed(totals=[None] * len(sources)), [], set(range(len(sources))))


def _parsed(sources: Sequence[Source], archive_id: str, parsed: Parsed, plain: Sequence[int], odd: set[int]) -> Parsed:
    tables = list(_fast(sources, plain, archive_id, parsed, odd))
    for index in sorted(odd):
        tables += read_one(sources[index], index, archive_id, parsed)
    months = {arrow.month_of(source.committed_at) for source in sources}
    if len(months) == 1:
        parsed.files = [(month, table) for month in months for table in tables]
    else:
        parsed.files = [piece for table in tables for piece in _by_month(table)]
    return parsed


def _by_month(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    months = pc.utf8_slice_codeunits(pc.cast(table.column("committed_at"), pa.timestamp("us")).cast(pa.string()), 0, 7)
    for month in sorted(pc.unique(months).to_pylist()):
        yield month, table.filter(pc.equal(months, month))


def _fast(
    sources: Sequence[Source], indices: Sequence[int], archive_id: str, parsed: Parsed, odd: set[int]
) -> Iterator[pa.Table]:
    """Rows of those that Arrow can read and that are as expected; the others are put among the `odd` ones."""
    if not indices:
        return
    chosen = [sources[index] for index in indices]
    try:
        table = _parse(chosen)
    except pa.ArrowInvalid:
        if len(indices) == 1:
            odd.add(indices[0])
            return
        half = len(indices) // 2
        yield from _fast(sources, indices[:half], archive_id, parsed, odd)
        yield from _fast(sources, indices[half:], archive_id, parsed, odd)
        return
    bad, rows, totals = _checked(table, chosen, archive_id)
    for position, (index, total) in enumerate(zip(indices, totals, strict=True)):
        if position in bad:
            odd.add(index)
        else:
            parsed.totals[index] = total
    yield rows


def _parse(sources: Sequence[Source]) -> pa.Table:
    data = b"".join(source.data for source in sources)
    longest = max(len(source.data) for source in sources)
    reading = pj.ReadOptions(block_size=max(_BLOCK_BYTES, longest + 1))
    table = pj.read_json(pa.BufferReader(data), reading, _PARSING)
    if table.num_rows != len(sources):
        raise pa.ArrowInvalid("a record is not one line")
    return table.combine_chunks()


def _checked(table: pa.Table, sources: Sequence[Source], archive_id: str) -> tuple[set[int], pa.Table, list[Totals]]:
    """Which receipts are not as expected, by position; the rows of the others; the totals of all."""
    column = {name: _array(table.column(name)) for name in table.column_names}
    runs = pa.array([source.place.run for source in sources], pa.string())
    attempts = pa.array([source.place.attempt for source in sources], pa.int64())
    steps = pa.array([source.place.step for source in sources], pa.int64())
    ranks = pa.array([source.rank for source in sources], pa.int64())
    sound = _all(
        pc.equal(column["format"], "ckpt-archive/receipt"),
        pc.equal(column["version"], 1),
        pc.equal(column["archive"], archive_id),
        pc.equal(column["run"], runs),
        pc.equal(column["attempt"], attempts),
        pc.equal(column["step"], steps),
        pc.equal(column["rank"], ranks),
        pc.equal(pc.fill_null(pc.list_value_length(column["requires"]), 0), 0),
        pc.is_valid(column["files"]),
        pc.is_valid(column["objects"]),
    )
    bad = set(_positions(pc.invert(sound)))

    objects, object_of = column["objects"].flatten(), pc.list_parent_indices(column["objects"])
    object_sha256, object_size = objects.field("sha256"), objects.field("size")
    whole = _all(
        pc.match_substring_regex(object_sha256, _DIGEST),
        pc.greater(object_size, 0),
        pc.greater(objects.field("part_size"), 0),
        pc.is_null(objects.field("key")),
        pc.equal(pc.fill_null(objects.field("encoding"), "identity"), "identity"),
    )
    bad |= set(pc.unique(object_of.filter(pc.invert(whole))).to_pylist())

    files, parent = column["files"].flatten(), pc.list_parent_indices(column["files"])
    first, count = _starts(column["objects"])
    path, size, sha256 = files.field("path"), files.field("size"), files.field("sha256")
    index, offset = files.field("object"), files.field("offset")
    held = pc.is_valid(index)
    within = _all(held, pc.greater_equal(index, 0), pc.less(index, count.take(parent)))
    at = pc.if_else(within, pc.add(first.take(parent), pc.fill_null(index, 0)), pa.scalar(None, pa.int64()))
    room = pc.subtract(object_size.take(at), pc.fill_null(offset, 0))
    fits = _all(within, pc.greater(size, 0), pc.greater_equal(offset, 0), pc.greater_equal(room, size))
    fine = _all(
        pc.match_substring_regex(sha256, _DIGEST),
        pc.match_substring_regex(path, _PLAIN_PATH),
        pc.invert(pc.match_substring_regex(path, _ODD_COMPONENT)),
        pc.if_else(held, fits, pc.equal(size, 0)),
        pc.is_null(files.field("key")),
        pc.equal(pc.fill_null(files.field("encoding"), "identity"), "identity"),
        pc.is_null(files.field("stored_size")),
        pc.is_null(files.field("stored_sha256")),
        _ascends(path, parent),
    )
    bad |= set(pc.unique(parent.filter(pc.invert(fine))).to_pylist())

    name_of = object_sha256.take(at)
    nothing = pa.scalar(None, pa.string())
    rows = pa.Table.from_pydict(
        {
            "run": runs.take(parent),
            "attempt": attempts.take(parent),
            "step": steps.take(parent),
            "rank": ranks.take(parent),
            "path": path,
            "size_bytes": size,
            "sha256": sha256,
            "object_sha256": pc.if_else(pc.equal(name_of, sha256), nothing, name_of),
            "object_offset": pc.if_else(pc.equal(offset, 0), pa.scalar(None, pa.int64()), offset),
            "tensor_layout_sha256": pa.nulls(len(path), pa.string()),
            # Receipts of adopted objects are looked at one by one.
            "object_key": pa.nulls(len(path), pa.string()),
            "committed_at": _times(sources).take(parent),
            "log_seq": pa.array([source.log_seq for source in sources], pa.int64()).take(parent),
        },
        schema=arrow.file_schema(FILES),
    )
    if bad:
        rows = rows.filter(pc.invert(pc.is_in(parent, pa.array(sorted(bad), parent.type))))
    return bad, rows, _totals(column, first, count, object_size)


def _totals(column: dict[str, pa.Array], first: pa.Array, count: pa.Array, sizes: pa.Array) -> list[Totals]:
    sums = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(pc.fill_null(sizes, 0))])
    stored = pc.subtract(sums.take(pc.add(first, count)), sums.take(first)).to_pylist()
    timings = column["timings"]
    saved, uploaded = (pc.struct_field(timings, name).to_pylist() for name in ("save_seconds", "upload_seconds"))
    return [Totals(*values) for values in zip(count.to_pylist(), stored, saved, uploaded, strict=True)]


def _starts(lists: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Where the items of each list begin among those of all, and how many it has."""
    count = pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int64())
    ends = pc.cumulative_sum(count)
    return pc.subtract(ends, count), count


def _ascends(path: pa.Array, parent: pa.Array) -> pa.Array:
    """Whether each path comes after the one before it in the same receipt. Byte order is that of code points here."""
    if not len(path):
        return pa.array([], pa.bool_())
    later = pc.or_(
        pc.greater(path.slice(1), path.slice(0, len(path) - 1)),
        pc.not_equal(parent.slice(1), parent.slice(0, len(parent) - 1)),
    )
    return pa.concat_arrays([pa.array([True]), later])


def _times(sources: Sequence[Source]) -> pa.Array:
    return pa.array([source.committed_at for source in sources], pa.timestamp("us", "UTC"))


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _all(*masks: pa.Array) -> pa.Array:
    """Where all are true; what is unknown is not."""
    found = pc.fill_null(masks[0], False)
    for mask in masks[1:]:
        found = pc.and_(found, pc.fill_null(mask, False))
    return found


def _positions(mask: pa.Array) -> list[int]:
    positions: list[int] = pc.indices_nonzero(mask).to_pylist()
    return positions
