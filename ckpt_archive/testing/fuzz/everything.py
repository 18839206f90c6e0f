"""All kinds of malformed input."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ckpt_archive.testing.fuzz.archives import archive_kinds
from ckpt_archive.testing.fuzz.asked import asked_kinds
from ckpt_archive.testing.fuzz.kinds import Kind
from ckpt_archive.testing.fuzz.nodes import node_kinds
from ckpt_archive.testing.fuzz.records import record_kinds
from ckpt_archive.testing.fuzz.texts import text_kinds
from ckpt_archive.testing.fuzz.views import view_kinds

_MEMORY = "/dev/shm"  # noqa: S108 - a folder of our own is made in it


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder in memory, where there is one: nothing here is about disks."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if os.path.isdir(_MEMORY) else None) as folder:
        yield Path(folder)


@contextmanager
def all_kinds() -> Iterator[list[Kind]]:
    """Every kind there is; folders that some of them work in vanish with the context."""
    with work_folder() as folder:
        yield [
            *record_kinds(),
            *text_kinds(),
            *view_kinds(),
            *archive_kinds(folder),
            *node_kinds(folder),
            *asked_kinds(),
        ]
