"""Whole archives that somebody wrote who knows the format: what lists, commits, examines, verifies and restores them."""

import functools
import json
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ckpt_archive.audit import listing
from ckpt_archive.audit.doctor import examine
from ckpt_archive.audit.verify import verify
from ckpt_archive.commit import catalog, layout
from ckpt_archive.commit.committing import finish_commits
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.decision import read_decisions
from ckpt_archive.commit.latest import latest
from ckpt_archive.commit.manifest import Manifest
from ckpt_archive.commit.receipt import Receipt
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.machine import Machine
from ckpt_archive.restore.archived import restore_archived, restore_newest_good
from ckpt_archive.restore.selection import Selection
from ckpt_archive.store.body import Body
from ckpt_archive.testing.archives import SMALL
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, INLINE, archive_files
from ckpt_archive.testing.fuzz.hostile import HostileStore, snapshot
from ckpt_archive.testing.fuzz.kinds import Input, Kind, require
from ckpt_archive.testing.fuzz.mutate import NUMBERS, TEXTS, mutated, sealed, text_mutated
from ckpt_archive.testing.fuzz.records import FILES, PLACE, launch, receipts
from ckpt_archive.testing.staged import local_machine

_KEYS = (
    layout.manifest("run-a", 3, 200), layout.manifest("run-a", 0, 0), layout.receipt("run-a", 3, 200, 1),
    layout.attempt_record("run-a", 3),
    layout.attempt_record("run-a", 99_999_999), layout.decision("run-a", 3, 200),
    layout.data_object("run-a", 3, 200, 1, "a" * 64),
    layout.manifest("run-b", 7, 9), layout.receipt("run-b", 7, 9, 0),
)  # fmt: skip
_PREFIXES = (
    "manifests/",
    "receipts/",
    "data/",
    "runs/",
    "runs/run-a/attempts/",
    "runs/run-a/decisions/",
    "manifests/run-a/",
    "data/run-a/",
)


def _put(store: HostileStore, key: str, data: bytes) -> None:
    store.delete(key)
    store.create(key, Body.of(data))


def _ask(answered: list[bool], action: Callable[[], object]) -> None:
    try:
        action()
    except CkptArchiveError as error:
        str(error)
        answered.append(False)
    else:
        answered.append(True)


def _connection(store: HostileStore) -> Connection:
    return Connection(store, ARCHIVE_ID, SMALL, None, lambda: True)


def _make_listing(chance: random.Random) -> dict[str, Any]:
    shown = {}
    for _ in range(chance.choice((1, 1, 2, 4, 30))):
        key = chance.choice(_KEYS) if chance.random() < 0.6 else chance.choice(_PREFIXES) + chance.choice(TEXTS)
        key = text_mutated(chance, key) if chance.random() < 0.6 else key
        shown[key] = chance.choice((0, 5, 10**6, 2**62, 2**63 - 1))
    if chance.random() < 0.005:
        return {"page": 1000, "shown": {layout.manifest("run-a", 3, step): 5 for step in range(3_000)}}
    return {"shown": shown, "page": chance.choice((1, 2, 1000))}


def _take_listing(told: Input, machine: Machine) -> bool:
    store = HostileStore(told["shown"], told["page"])
    connection = _connection(store)
    answered: list[bool] = []
    for ask in (
        lambda: list(catalog.runs(store)),
        lambda: listing.runs(machine, connection),
        lambda: list(catalog.places(store, "run-a")),
        lambda: listing.checkpoints(machine, connection, "run-a", None),
        lambda: latest(store, "run-a"),
        lambda: catalog.find(store, "run-a", 200),
        lambda: read_decisions(store, "run-a", 3),
        lambda: finish_commits(store, INLINE, ARCHIVE_ID, "run-a", 3),
        lambda: examine(machine, connection),
    ):
        _ask(answered, ask)
    return any(answered)


def _base(chance: random.Random) -> dict[str, Any]:
    writers = chance.choice((1, 1, 2))
    return {
        "receipts": [json.loads(receipt.encode()) for receipt in receipts(writers)],
        "launch": json.loads(launch(writers=writers).encode()),
        "objects": {},
    }


def _make_archive(chance: random.Random) -> dict[str, Any]:
    told = _base(chance)
    for number in range(len(told["receipts"])):
        if chance.random() < 0.8:
            told["receipts"][number] = _forged(chance, told["receipts"][number])
    if chance.random() < 0.3:
        told["launch"] = mutated(chance, told["launch"])
    return told


def _forged(chance: random.Random, receipt: dict[str, Any]) -> dict[str, Any]:  # noqa: C901 - one case after the other
    """Hostile, and well-formed for the most part."""
    pick = chance.random()
    if pick < 0.3:
        return dict(mutated(chance, receipt))
    for file in receipt["files"]:
        if chance.random() < 0.5:
            match chance.randrange(5):
                case 0:
                    file["path"] = chance.choice(TEXTS)
                case 1:
                    file["path"] = text_mutated(chance, file["path"])
                case 2:
                    file["size"] = chance.choice(NUMBERS)
                case 3:
                    file["offset"] = chance.choice((0, 1, 2**62, 2**63 - 1))
                case _:
                    file["sha256"] = sha256_hex(b"")
    if pick < 0.6:
        for item in receipt["objects"]:
            # As large as numbers go, and consistent.
            item["size"] = item["part_size"] = chance.choice((2**40, 2**61, 2**62, 2**63 - 1))
            item["crc32c"] = ["00000000"]
        for file in receipt["files"]:
            if "object" in file:
                file["size"], file["offset"], file["crc32c"] = (
                    receipt["objects"][file["object"]]["size"] - 7,
                    7,
                    ["00000000"],
                )
    if pick > 0.8:
        receipt["writers"] = chance.choice((1, 2, 3, 10**6, 10**6 + 1, 2**62))
    receipt["files"].sort(key=lambda file: str(file.get("path")))
    return receipt


def _stored(told: Input) -> HostileStore:
    """The archive: its receipts, objects that are as large as they are said to be, and a manifest that fits."""
    shown: dict[str, int] = {}
    for rank, receipt in enumerate(told["receipts"]):
        items = receipt.get("objects") if isinstance(receipt, dict) else None
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and isinstance(item.get("size"), int):
                shown[layout.share_folder(PLACE.run, PLACE.attempt, PLACE.step, rank) + str(item.get("sha256"))] = item[
                    "size"
                ]
    store = HostileStore(shown)
    for key, data in _objects().items():
        _put(store, key, data)
    _put(store, layout.attempt_record("run-a", 3), sealed(told["launch"]))
    for rank, receipt in enumerate(told["receipts"]):
        _put(store, layout.receipt(*_place(), rank), sealed(receipt))
    return store


@functools.cache
def _objects() -> dict[str, bytes]:
    """The objects of the checkpoint as it was."""
    store = HostileStore({})
    shares = (
        {f"{path}-{rank}": data + b"%d" % rank if data else data for path, data in FILES.items()} for rank in (0, 1)
    )
    archive_files(store, PLACE, *shares, settings=SMALL)
    return {info.key: store.read(info.key, limit_bytes=1 << 20).data for info in store.list("data/").objects}


def _place() -> tuple[str, int, int]:
    return PLACE.run, PLACE.attempt, PLACE.step


def _take_commit(told: Input, machine: Machine) -> bool:
    store = _stored(told)
    connection = _connection(store)
    answered: list[bool] = []
    _ask(answered, lambda: examine(machine, connection))
    _ask(answered, lambda: finish_commits(store, INLINE, ARCHIVE_ID, "run-a", 3))
    committed = list(catalog.places(store, "run-a"))
    for place in committed:
        # What we commit ourselves, we can read.
        manifest = catalog.load_manifest(store, place).manifest
        catalog.load_receipts(store, INLINE, manifest)
        listing.show(machine, connection, place)
    for deep in (False, True):
        _ask(answered, partial(verify, machine, connection, committed, deep=deep))
    return bool(committed)


def _forged_manifest(store: HostileStore, told: Input) -> None:
    """A manifest over these receipts, whatever they say."""
    stored = [
        store.read(layout.receipt(*_place(), rank), limit_bytes=1 << 26).data for rank in range(len(told["receipts"]))
    ]
    try:
        manifest = Manifest.of([(Receipt.decode(data, "it"), data) for data in stored])
        data = manifest.encode()
    except CkptArchiveError:
        members = json.loads(Manifest.of([(receipt, receipt.encode()) for receipt in receipts(len(stored))]).encode())
        for entry, receipt in zip(members["receipts"], stored, strict=True):
            entry["sha256"], entry["size"] = sha256_hex(receipt), len(receipt)
        data = sealed(members)
    _put(store, layout.manifest(*_place()), data)


class Sandbox:
    """A folder to restore into, beside something valuable.

    Args:
        folder: Where all of it lies.
    """

    def __init__(self, folder: Path) -> None:
        self._outer = folder
        self._inner = folder / "a" / "b"
        self._inner.mkdir(parents=True)
        (folder / "canary").write_bytes(b"precious")
        (folder / "a" / "canary").mkdir()
        (folder / "a" / "canary" / "file").write_bytes(b"precious")
        (self._inner / "other").write_bytes(b"precious")
        self._before = snapshot(folder)

    def take(self, told: Input, machine: Machine) -> bool:
        """Restore it; nothing beside the target changes, and the target holds what the receipts say or is not there."""
        store = _stored(told)
        _forged_manifest(store, told)
        target = self._inner / "target"
        answered: list[bool] = []
        for restore in (restore_archived, restore_newest_good):
            _ask(answered, partial(restore, machine, _connection(store), PLACE, lambda _: str(target), Selection()))
        after = {path: found for path, found in snapshot(self._outer).items() if not self._ours(path)}
        require(after == self._before, f"changed outside: {set(after) ^ set(self._before)}")
        if any(answered):
            for path, _ in ((path, found) for path, found in snapshot(target).items()):
                require(not os.path.islink(target / path), "a link was restored")
        for name in os.listdir(self._inner):
            if name != "other":
                shutil.rmtree(self._inner / name)
        return any(answered)

    def _ours(self, path: str) -> bool:
        name = path.removeprefix("a/b/")
        return name != path and (name.split("/")[0] == "target" or name.startswith(".target."))


def archive_kinds(folder: Path) -> list[Kind]:
    """All of them."""
    machine = local_machine()
    sandbox = Sandbox(folder / "sandbox")
    return [
        Kind("listing", _make_listing, lambda told: _take_listing(told, machine), 8),
        Kind("forged commit", _make_archive, lambda told: _take_commit(told, machine), 3),
        Kind("forged restore", _make_archive, lambda told: sandbox.take(told, machine), 4),
    ]
