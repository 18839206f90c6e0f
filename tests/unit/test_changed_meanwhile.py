"""Files that change while they are being sealed or digested."""

from pathlib import Path

import pytest

from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.local.scanning import scan
from ckpt_archive.ship.sealed import digest_sealed
from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.testing.staged import local_machine, overwrite, prepared_run, save
from ckpt_archive.transfer.settings import TransferSettings


class BusyFolder(PosixFileSystem):
    """Somebody adds a file just when another one is being synced."""

    def sync_file(self, path: str) -> None:
        super().sync_file(path)
        Path(path).with_name("late.bin").write_bytes(b"late")


def test_a_file_that_is_added_while_the_others_are_synced_is_a_failed_save(tmp_path: Path) -> None:
    run = prepared_run(local_machine(BusyFolder()), str(tmp_path))
    with pytest.raises(InvalidInputError, match="added to or removed"):
        save(run, 5)
    assert scan(run) == []


def test_a_file_that_is_changed_while_it_is_digested_gets_no_digests(tmp_path: Path) -> None:
    run = prepared_run(local_machine(), str(tmp_path))
    share = save(run, 5, {"model.bin": bytes(5000)}).share

    def change_it(_: int) -> None:
        overwrite(run, f"{share.files_path}/model.bin", bytes(4999) + b"x")

    with pytest.raises(IntegrityError, match="was changed after it was sealed"):
        digest_sealed(share, TransferSettings(), StoreLimits(), change_it)
    assert share.digests() is None
