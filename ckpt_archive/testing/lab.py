"""An archive on a real server, processes to kill, and what must be true when others have gone on in their place."""

import filecmp
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ckpt_archive.archive import Archive
from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.archive_record import create_archive
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.compose import connection_of, system_machine
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.promotion import Every
from ckpt_archive.restore.archived import restore_archived
from ckpt_archive.restore.selection import Selection
from ckpt_archive.settings import Environment
from ckpt_archive.store.protocol import list_all
from ckpt_archive.store.retry import RetryingStore
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection as S3Connection
from ckpt_archive.testing.victims import Ended, Victims
from ckpt_archive.transfer.settings import TransferSettings


@dataclass(frozen=True, slots=True)
class Cost:
    """What a death cost, in bytes.

    Attributes:
        sent_first: Acknowledged before it.
        resumed: Found by the next process and not sent again.
        sent_again: Begun before it, and sent by the next process.
        acknowledged_again: Of that, what had been acknowledged.
        in_flight: On the wire at the moment of death.
    """

    sent_first: int
    resumed: int
    sent_again: int
    acknowledged_again: int
    in_flight: int

    @classmethod
    def of(cls, dead: Ended, next_one: Ended, resumed: int) -> "Cost":
        """Of one process and the one that went on in its place."""
        before = dead.traffic
        again = before.begun.keys() & next_one.traffic.begun.keys()
        return cls(
            before.answered_bytes,
            resumed,
            sum(before.begun[part] for part in again),
            sum(before.begun[part] for part in again & before.answered),
            before.in_flight_bytes,
        )


class Lab:
    """An archive and the processes that work on it.

    Args:
        url: Where it is; created here.
        runner: The script that victims run.
        folder: For everything that is made here.
        environment: Of the victims; names the server and its credentials.
        region: Of the server.
    """

    def __init__(self, url: str, runner: str, folder: str, environment: Mapping[str, str], region: str) -> None:
        self.url = url
        self.folder = Path(folder)
        self.environment = environment
        self.victims = Victims(runner, folder, environment)
        self.machine: Machine = system_machine()
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self.store = S3Store(
            bucket,
            prefix,
            connection=S3Connection(
                environment["AWS_ENDPOINT_URL"],
                environment["AWS_ACCESS_KEY_ID"],
                environment["AWS_SECRET_ACCESS_KEY"],
                region,
            ),
        )
        create_archive(self.store, self.machine.nonce(), self.machine.clock.now())

    def close(self) -> None:
        """Close the connections."""
        self.store.close()

    @cached_property
    def connection(self) -> Connection:
        """To the archive, for looking."""
        settings = TransferSettings(part_size_bytes=5 << 20, parts_in_flight=2)
        return connection_of(RetryingStore(self.store, self.machine.clock), self.machine, settings, None)

    def places(self, run: str) -> list[Place]:
        """Its committed checkpoints."""
        return list(catalog.places(self.connection.store, run))

    def check_committed(self, place: Place, original: Path) -> None:
        """It is the only checkpoint of its run, its restored bytes are those of `original`, and nothing lies around."""
        assert self.places(place.run) == [place]
        self.check_restored(place, original)
        self.check_nothing_orphaned()

    def check_restored(self, place: Place, original: Path) -> None:
        """Its restored bytes are those of `original`."""
        to = self.folder / f"back-{place.step}-{self.machine.nonce()}"
        restored = restore_archived(self.machine, self.connection, place, lambda _: str(to), Selection())
        assert restored.verified
        check_same_tree(to, original)
        shutil.rmtree(to)

    def check_nothing_orphaned(self) -> None:
        """No upload is under way, and every object of data is named by a receipt."""
        assert self.store.list_uploads("") == ()
        named = set()
        for run in catalog.runs(self.connection.store):
            for place in self.places(run):
                manifest = catalog.load_manifest(self.connection.store, place).manifest
                receipts = catalog.load_receipts(self.connection.store, self.machine.executor, manifest)
                named |= {item.key for item in catalog.wanted(receipts) if item.object is not None}
        assert {info.key for info in list_all(self.store, "data/")} == named
        assert list_all(self.store, ".probe/") == ()

    def check_promises(self) -> None:
        """Also while nobody works: every object that a receipt names is there, and every receipt of a manifest."""
        objects = {info.key: info.size_bytes for info in list_all(self.store, "data/")}
        for info in list_all(self.store, "receipts/"):
            receipt = Receipt.decode(self.store.read(info.key, limit_bytes=1 << 20).data, info.key)
            for item in receipt.share.objects:
                key = layout.data_object(receipt.run, receipt.attempt, receipt.step, receipt.rank, item.sha256)
                assert objects.get(key) == item.size_bytes, key
        for run in catalog.runs(self.connection.store):
            for place in self.places(run):
                manifest = catalog.load_manifest(self.connection.store, place).manifest
                catalog.load_receipts(self.connection.store, self.machine.executor, manifest)

    def staging(self, run: str) -> RunStaging:
        """The staging of a run, on this machine."""
        return Staging(self.machine, str(self.folder / "ssd")).run(run)

    def stage(self, run: str, step: int, original: Path) -> str:
        """Save a copy of `original` as a trainer does, promoted; the staging folder."""
        staging = str(self.folder / "ssd")
        archive = Archive(
            self.url,
            self.machine,
            lambda _: self.connection,
            lambda _: None,
            Environment(),
            TransferSettings(),
        )
        training = archive.run(run, staging=staging, promote=Every(1), agent="external", on_error="raise")
        with training.checkpoint(step=step) as checkpoint:
            shutil.copytree(original, checkpoint.path, dirs_exist_ok=True)
        assert checkpoint.staged
        training.finish()
        return staging


def check_same_tree(one: Path, other: Path) -> None:
    """Both hold the same files with the same bytes."""
    names = [_files(folder) for folder in (one, other)]
    assert names[0] == names[1]
    _, differing, unreadable = filecmp.cmpfiles(one, other, names[0], shallow=False)
    assert (differing, unreadable) == ([], [])


def _files(folder: Path) -> list[str]:
    return sorted(os.path.relpath(path, folder) for path in folder.rglob("*") if path.is_file())
