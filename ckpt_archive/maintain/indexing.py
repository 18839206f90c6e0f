"""What is done for the index, where its libraries are installed: they are loaded when they are needed, and nowhere else."""

import importlib.util

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.maintain.maintaining import INSTALL, IndexWork
from ckpt_archive.progress import Progress

_LIBRARIES = ("deltalake", "pyarrow")


def is_installed() -> bool:
    """Whether the libraries that make the index are here. Loads none of them."""
    return all(importlib.util.find_spec(name) is not None for name in _LIBRARIES)


def require_installed(what: str) -> None:
    """Refuse to begin `what` without the libraries.

    Raises:
        InvalidInputError: If one is missing.
    """
    if not is_installed():
        raise InvalidInputError(f"{what} needs deltalake and pyarrow, which are not installed here", hint=INSTALL)


def index_work(progress: Progress | None = None, *, looks: bool = False) -> IndexWork | None:
    """What can be done for the index here, for one pass; None where its libraries are not installed.

    Args:
        progress: Told how far it is, in batches of the log.
        looks: Whether tables that somebody has removed are looked for.
    """
    if not is_installed():
        return None
    from ckpt_archive.maintain.tables import TableWork  # noqa: PLC0415  (loads the libraries)

    return TableWork(progress, looks=looks)
