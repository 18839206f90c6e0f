"""Bytes that come wrong from the store: one wrong answer costs one more request, and what stays wrong is never taken."""

from dataclasses import replace
from pathlib import Path

import pytest

from ckpt_archive.commit import catalog
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import IntegrityError
from ckpt_archive.place import Place
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Sink, Store
from ckpt_archive.testing.archives import SMALL, memory_store, read_tree
from ckpt_archive.testing.checkpoints import INLINE, archive_files
from ckpt_archive.testing.hooked import HookedStore
from ckpt_archive.transfer.download import DownloadReport, download_files
from ckpt_archive.transfer.verify import Wanted

PLACE = Place("run", 0, 1)
FILES = {"model.bin": b"weights!" * 400, "sub/state.bin": b"s" * 900, "a.json": b"{}", "b.json": b"[1]"}


class FlippingStore(HookedStore):
    """A bit flips in each of the first few bodies."""

    def __init__(self, inner: Store, bodies: int) -> None:
        super().__init__(inner)
        self._left = bodies

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        def flipped(chunk: memoryview) -> None:
            sink(memoryview(bytes([chunk[0] ^ 1]) + bytes(chunk[1:])))

        self._left -= 1
        super().fetch(key, offset=offset, length=length, etag=etag, sink=flipped if self._left >= 0 else sink)


@pytest.fixture
def store() -> MemoryStore:
    store = memory_store()
    archive_files(store, PLACE, FILES, settings=SMALL)
    return store


@pytest.fixture
def wanted(store: MemoryStore) -> list[Wanted]:
    manifest = catalog.load_manifest(store, PLACE).manifest
    return catalog.wanted(catalog.load_receipts(store, INLINE, manifest))


def download(store: Store, root: Path, wanted: list[Wanted]) -> DownloadReport:
    return download_files(store, INLINE, PosixFileSystem(), str(root), wanted, SMALL)


def test_a_bit_that_flips_once_costs_one_more_request(store: MemoryStore, wanted: list[Wanted], tmp_path: Path) -> None:
    usual = download(store, tmp_path / "usual", wanted).ranges_fetched
    assert download(FlippingStore(store, 1), tmp_path / "x", wanted).ranges_fetched == usual + 1
    assert read_tree(tmp_path / "x") == FILES


def test_what_comes_wrong_twice_is_an_error_that_names_the_part(
    store: MemoryStore, wanted: list[Wanted], tmp_path: Path
) -> None:
    with pytest.raises(IntegrityError, match="came wrong twice"):
        download(FlippingStore(store, 100), tmp_path / "x", wanted)


@pytest.mark.parametrize("path", ["model.bin", "a.json"])
def test_bytes_with_the_right_crcs_and_another_sha256_are_refused(
    store: MemoryStore, wanted: list[Wanted], tmp_path: Path, path: str
) -> None:
    other = [
        replace(item, file=replace(item.file, sha256="0" * 64)) if item.file.path == path else item for item in wanted
    ]
    with pytest.raises(IntegrityError, match=f"'{path}'.*has the SHA-256"):
        download(store, tmp_path / "x", other)
