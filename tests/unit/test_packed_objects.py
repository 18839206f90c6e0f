"""Small files that share an object of several parts come back as they were."""

from dataclasses import replace
from pathlib import Path

from ckpt_archive.commit import catalog
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.place import Place
from ckpt_archive.testing.archives import SMALL, memory_store, read_tree
from ckpt_archive.testing.checkpoints import INLINE, archive_files
from ckpt_archive.transfer.download import download_files

PLACE = Place("run", 0, 1)
FILES = {f"{name}.bin": name.encode() * 600 for name in "abcde"}


def test_files_beyond_the_first_part_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    settings = replace(SMALL, part_size_bytes=1000, pack_below_bytes=1000)
    store = memory_store()
    archive_files(store, PLACE, FILES, settings=settings)
    wanted = catalog.wanted(catalog.load_receipts(store, INLINE, catalog.load_manifest(store, PLACE).manifest))
    assert [item.file.offset for item in wanted] == [0, 600, 1200, 1800, 2400]
    assert len({item.key for item in wanted}) == 1
    download_files(store, INLINE, PosixFileSystem(), str(tmp_path / "x"), wanted, settings)
    assert read_tree(tmp_path / "x") == FILES
