"""Whatever an earlier download left, and whatever somebody did to it, the next makes exactly the tree or says why not."""

import contextlib
import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.commit import catalog
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import ConflictError
from ckpt_archive.executor import InlineExecutor
from ckpt_archive.place import Place
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.archives import memory_store, read_tree, write_tree
from ckpt_archive.testing.checkpoints import archive_files
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.transfer.download import DownloadReport, download_files
from ckpt_archive.transfer.settings import TransferSettings
from ckpt_archive.transfer.verify import Wanted

FS = PosixFileSystem()
PLACE = Place("run", 0, 1)
PATHS = ["a", "b.bin", "sub/c", "sub/deep/d", "e"]

trees = st.dictionaries(st.sampled_from(PATHS), st.binary(max_size=200), min_size=1)
settings_of = st.builds(
    TransferSettings,
    part_size_bytes=st.integers(1, 80),
    pack_below_bytes=st.integers(0, 60),
    parts_in_flight=st.just(2),
    buffer_size_bytes=st.integers(1, 64),
)


class Died(BaseException):
    """Nobody catches it."""


def archived(files: dict[str, bytes], settings: TransferSettings) -> tuple[MemoryStore, list[Wanted]]:
    store = memory_store()
    archive_files(store, PLACE, files, settings=settings)
    manifest = catalog.load_manifest(store, PLACE).manifest
    return store, catalog.wanted(catalog.load_receipts(store, InlineExecutor(), manifest))


def download(store: Store, root: Path, wanted: list[Wanted], settings: TransferSettings) -> DownloadReport:
    return download_files(store, InlineExecutor(), FS, str(root), wanted, settings)


def dying(store: MemoryStore, at: int) -> HookedStore:
    def die(request: Request) -> None:
        if request.number >= at:
            raise Died

    return HookedStore(store, before=die)


@given(trees, settings_of, st.integers(0, 12), st.data())
def test_a_killed_download_is_gone_on_with_whatever_became_of_it(
    files: dict[str, bytes], settings: TransferSettings, at: int, data: st.DataObject
) -> None:
    store, wanted = archived(files, settings)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "partial"
        with contextlib.suppress(Died):
            download(dying(store, at), root, wanted, settings)
        if root.is_dir():
            _spoil(root, data)
        report = download(store, root, wanted, settings)
        assert read_tree(root) == files
        assert report.files == len(files)
        assert report.bytes_fetched + report.bytes_kept == sum(map(len, files.values()))
        again = download(store, root, wanted, settings)
        assert (again.bytes_fetched, again.ranges_fetched) == (0, 0)
        assert read_tree(root) == files


def _spoil(root: Path, data: st.DataObject) -> None:
    """What a power loss, a clumsy user or an enemy may do to a folder."""
    outside = root.parent / "outside"
    outside.write_bytes(b"outside")
    for path in PATHS:
        file = root / path
        what = data.draw(
            st.sampled_from(
                ["nothing", "nothing", "zero", "flip", "cut", "grow", "link", "hard link", "folder", "gone"]
            )
        )
        if not file.is_file() or what == "nothing":
            continue
        content = bytearray(file.read_bytes())
        if what == "zero":
            file.write_bytes(bytes(len(content)))
        elif what == "flip" and content:
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1
            file.write_bytes(content)
        elif what == "cut":
            os.truncate(file, len(content) // 2)
        elif what == "grow":
            file.write_bytes(content + b"x")
        elif what == "hard link":
            os.link(file, root.parent / f"hard-{path.replace('/', '-')}")
        elif what in ("link", "folder", "gone"):
            file.unlink()
            if what == "link":
                file.symlink_to(outside)
            elif what == "folder":
                write_tree(file, {"inner/x": b"?"})
    if data.draw(st.booleans()):
        write_tree(root, {"stray/file": b"?"})
        (root / "strange").symlink_to("/")


@given(trees, settings_of, st.integers(0, 20))
def test_a_folder_swapped_for_a_link_meanwhile_leads_nowhere(
    files: dict[str, bytes], settings: TransferSettings, at: int
) -> None:
    files = {"sub/c": b"c" * 100} | files
    store, wanted = archived(files, settings)
    with tempfile.TemporaryDirectory() as folder:
        root, outside = Path(folder) / "partial", Path(folder) / "outside"
        victims = dict.fromkeys(("c", "deep/d"), b"precious")
        write_tree(outside, victims)

        def swap(request: Request) -> None:
            if request.number == at:
                if (root / "sub").is_dir():
                    (root / "sub").rename(Path(folder) / "moved")
                root.mkdir(exist_ok=True)
                (root / "sub").symlink_to(outside)

        try:
            download(HookedStore(store, before=swap), root, wanted, settings)
        except ConflictError:
            download(store, root, wanted, settings)
        assert read_tree(outside) == victims
        if not (root / "sub").is_symlink():
            assert read_tree(root) == files
