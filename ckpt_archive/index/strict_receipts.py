"""One receipt as rows of files, read member by member by the strict decoder."""

from collections.abc import Iterable

import pyarrow as pa

from ckpt_archive import errors
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.commit.receipts import decode_receipt, receipt_key
from ckpt_archive.digest import sha256_hex
from ckpt_archive.index import arrow, limits
from ckpt_archive.index.manifests import is_number
from ckpt_archive.index.parsed import Layout, Parsed, Source, Totals
from ckpt_archive.index.schema import FILES
from ckpt_archive.strictjson import Json, encode


def read_one(source: Source, index: int, archive_id: str, parsed: Parsed) -> Iterable[pa.Table]:
    """The rows of one receipt that has to be looked at closely."""
    key = receipt_key(source.place, source.rank)
    if len(source.data) > limits.MAX_STRICT_BYTES:
        parsed.problems.append(
            (index, f"{key} has {len(source.data)} bytes and is not spelled as ckpt-archive spells it")
        )
        return ()
    try:
        receipt = decode_receipt(source.data, source.place, source.rank)
    except (errors.IntegrityError, errors.InvalidInputError) as error:
        parsed.problems.append((index, error.message))
        return ()
    if receipt.archive_id != archive_id:
        parsed.problems.append((index, f"{key} is of another archive, {limits.text(receipt.archive_id)}"))
        return ()
    timings = receipt.unknown.get("timings")
    said = timings if isinstance(timings, dict) else {}
    parsed.totals[index] = Totals(
        len(receipt.share.objects),
        sum(item.size_bytes for item in receipt.share.objects),
        _seconds(said.get("save_seconds")),
        _seconds(said.get("upload_seconds")),
    )
    return (_strict_rows(source, receipt, parsed),)


def _strict_rows(source: Source, receipt: Receipt, parsed: Parsed) -> pa.Table:
    gathered = arrow.Columns(FILES)
    known: dict[str, str] = {}
    for file in receipt.share.files:
        item = None if file.object_index is None else receipt.share.objects[file.object_index]
        gathered.add(
            run=receipt.run,
            attempt=receipt.attempt,
            step=receipt.step,
            rank=receipt.rank,
            path=file.path,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            object_sha256=None if item is None or item.sha256 == file.sha256 else item.sha256,
            object_offset=file.offset or None,
            tensor_layout_sha256=_layout(file.unknown.get("tensors"), source, parsed, known),
            object_key=None if item is None or not item.key else item.key.removeprefix("/"),
            committed_at=source.committed_at,
            log_seq=source.log_seq,
        )
    return gathered.take()


def _layout(tensors: Json, source: Source, parsed: Parsed, known: dict[str, str]) -> str | None:
    """The digest of a table of tensors; None where there is none, or none that can be shown."""
    if not isinstance(tensors, list) or not tensors or len(tensors) > limits.MAX_TENSORS:
        return None
    if not all(_is_tensor(tensor) for tensor in tensors):
        return None
    sha256 = sha256_hex(encode(tensors)[:-1])
    if sha256 not in known:
        known[sha256] = sha256
        parsed.layouts.append(Layout(sha256, tensors, source.committed_at))
    return sha256


def _is_tensor(tensor: Json) -> bool:
    return (
        isinstance(tensor, dict)
        and isinstance(tensor.get("name"), str)
        and isinstance(tensor.get("dtype"), str)
        and isinstance(tensor.get("shape"), list)
        and len(tensor["shape"]) <= 64
        and all(is_number(size) for size in tensor["shape"])
        and is_number(tensor.get("offset"))
        and is_number(tensor.get("size"))
    )


def _seconds(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
