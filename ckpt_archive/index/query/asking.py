"""The way in, for whoever may lack what asking needs: duckdb and fsspec are loaded here, at the first question."""

from typing import TYPE_CHECKING

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.machine import Machine
from ckpt_archive.store.protocol import Store

if TYPE_CHECKING:
    from ckpt_archive.index.query.engine import Engine

MEMORY_BYTES = 4 << 30
_NEEDED = ("duckdb", "_duckdb", "fsspec")


def engine(
    store: Store, machine: Machine, *, archive_id: str = "", cache: str = "", memory_bytes: int = MEMORY_BYTES
) -> "Engine":
    """What answers questions over an archive.

    Args:
        store: The archive's.
        machine: This one.
        archive_id: The archive's; "" to take any index that is there.
        cache: An absolute path of a local folder that keeps what was read of the index; "" for none.
        memory_bytes: What a question may take; more is an error, nothing is spilled to disk.

    Raises:
        InvalidInputError: If duckdb or fsspec are not installed, or the folder can not be used.
    """
    try:
        from ckpt_archive.index.query.engine import Engine  # noqa: PLC0415
        from ckpt_archive.index.query.sandbox import Limits  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise InvalidInputError(
            f"asking needs the package {error.name}, which is not installed",
            hint="Run `pip install 'ckpt-archive[query]'`.",
        ) from error
    from ckpt_archive.index.query.shelf import DiskShelf  # noqa: PLC0415

    shelf = DiskShelf(machine.fs, cache, store.url, machine.nonce) if cache else None
    return Engine(store, machine.executor, Limits(memory_bytes=memory_bytes), shelf, archive_id)
