"""What lies beside a sealed share may rot; the archive is told, and believed, what is true."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ckpt_archive.commit import catalog
from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.compose import connection_of
from ckpt_archive.errors import IntegrityError, UnavailableError
from ckpt_archive.local.kept import SealedShare
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.place import Place
from ckpt_archive.ship.sealed import Shipped, forget_other_archive, ship
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, INLINE, NOON, rewritten
from ckpt_archive.testing.hooked import HookedStore, Request
from ckpt_archive.testing.staged import RULE, local_machine, overwrite, prepared_run, save
from ckpt_archive.transfer.settings import TransferSettings

MACHINE = local_machine()
PLACE = Place("run-a", 0, 5)


@pytest.fixture
def run(tmp_path: Path) -> RunStaging:
    return prepared_run(MACHINE, str(tmp_path / "ssd"))


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore("memory://test")
    create_archive(store, ARCHIVE_ID, NOON)
    return store


def connected(store: Store) -> Connection:
    return connection_of(store, MACHINE, TransferSettings(), None)


def promoted(run: RunStaging) -> SealedShare:
    return save(run, 5, promotion=RULE).share


def rot(share: SealedShare, change: Callable[[bytes], bytes]) -> None:
    data = share.receipt_bytes()
    assert data is not None
    overwrite(share.staging, f"{share.folder}/receipt.json", change(data))


def other_digit(data: bytes) -> bytes:
    """Still a receipt, of the same length, that says something else."""
    start = data.index(b'"sha256":"') + len(b'"sha256":"')
    return data[:start] + (b"0" if data[start : start + 1] != b"0" else b"1") + data[start + 1 :]


def die_before_the_manifest(request: Request) -> None:
    if request.verb == "create" and request.key.startswith("manifests/"):
        raise UnavailableError("gone")


def test_a_receipt_rotted_on_this_disk_between_upload_and_commit(run: RunStaging, store: MemoryStore) -> None:
    share = promoted(run)
    with pytest.raises(UnavailableError):
        ship(MACHINE, connected(HookedStore(store, before=die_before_the_manifest)), share, 0)
    rot(share, other_digit)
    connection = connected(store)
    with pytest.raises(IntegrityError, match="not the one that the manifest"):
        ship(MACHINE, connection, share, 0)
    assert not share.is_archived
    # What was committed is what the archive holds, and the next pass finds out.
    assert ship(MACHINE, connection, share, 0).state is Shipped.ARCHIVED
    manifest = catalog.load_manifest(store, PLACE).manifest
    assert catalog.load_receipts(store, INLINE, manifest)[0].share.identity() == share.digests().identity()  # type: ignore[union-attr]


@pytest.mark.parametrize("junk", [b'{"a":1}\n', b'{"format":"ckpt-archive/receipt","version":1}\n'])
def test_a_kept_receipt_that_is_none_is_set_aside_and_found_again(
    run: RunStaging, store: MemoryStore, junk: bytes
) -> None:
    share = promoted(run)
    connection = connected(store)
    assert ship(MACHINE, connection, share, 0).state is Shipped.ARCHIVED
    before = share.receipt_bytes()
    rot(share, lambda _: junk)
    forget_other_archive(connection, share)
    assert not share.has_receipt
    assert ship(MACHINE, connection, share, 0).state is Shipped.ARCHIVED
    assert share.receipt_bytes() == before


def test_a_kept_receipt_of_a_newer_release_is_left_alone(run: RunStaging, store: MemoryStore) -> None:
    share = promoted(run)
    connection = connected(store)
    ship(MACHINE, connection, share, 0)
    rot(share, lambda data: rewritten(data, b'"version":1', b'"version":2'))
    forget_other_archive(connection, share)
    assert share.has_receipt
