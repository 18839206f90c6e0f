"""A process that brings an index up to its log again and again, and merges its files: something to be killed.

python -m ckpt_archive.testing.indexers URL MANY_FILES
"""

import secrets
import sys

from ckpt_archive.clock import SystemClock
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import UnavailableError
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.index.compaction import compact
from ckpt_archive.index.sync import open_projector, project_all
from ckpt_archive.machine import Machine
from ckpt_archive.store.object_store import location
from ckpt_archive.store.open import open_store
from ckpt_archive.testing.checkpoints import ARCHIVE_ID


def main(url: str, many_files: int) -> None:
    """Go on for ever."""
    fs, clock = PosixFileSystem(), SystemClock()
    machine = Machine(fs, clock, ThreadExecutor(), lambda: secrets.token_hex(16), "indexer")
    store = open_store(url, fs=fs, clock=clock)
    while True:
        try:
            projector = open_projector(store, machine, ARCHIVE_ID, location(url))
            project_all(projector)
            for opened in projector.tables.values():
                compact(store, machine, opened, many=many_files)
        except UnavailableError as error:
            sys.stdout.write(f"{error}\n")
        sys.stdout.write("pass\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
