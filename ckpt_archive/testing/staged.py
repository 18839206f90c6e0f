"""Staged checkpoints for tests: on any machine, real or simulated."""

import secrets
from collections.abc import Mapping
from dataclasses import replace

from ckpt_archive.clock import Clock, SystemClock
from ckpt_archive.contribution import Contribution
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.disk.protocol import FileSystem, join, parent
from ckpt_archive.executor import InlineExecutor
from ckpt_archive.local.kept import SealedShare
from ckpt_archive.local.seal import Draft, SealOutcome, open_draft
from ckpt_archive.local.staging import RunStaging, Staging
from ckpt_archive.machine import Machine
from ckpt_archive.strictjson import Json

RULE: Mapping[str, Json] = {"rule": "every", "count": 1, "ordinal": 1}


def local_machine(fs: FileSystem | None = None, clock: Clock | None = None) -> Machine:
    """This machine, one call after the other."""
    return Machine(
        fs=fs or PosixFileSystem(),
        clock=clock or SystemClock(),
        executor=InlineExecutor(),
        nonce=lambda: secrets.token_hex(16),
        node="test-node",
    )


def prepared_run(machine: Machine, root: str, name: str = "run-a") -> RunStaging:
    """A run whose folders are there."""
    run = Staging(machine, root).run(name)
    run.prepare()
    return run


def contribution(run: RunStaging, *, writers: int = 1, promotion: Mapping[str, Json] | None = None) -> Contribution:
    """What is said about a share."""
    return Contribution("key-1", writers, run.machine.clock.now(), promotion=promotion or {}, metrics={"loss": 1.5})


def fill(draft: Draft, fs: FileSystem, files: Mapping[str, bytes]) -> None:
    """Write files into a draft, as a trainer would: nothing is synced."""
    for path, data in files.items():
        with fs.create_beneath(draft.files_path, path) as file:
            file.write_at(data, 0)


def save(
    run: RunStaging,
    step: int,
    files: Mapping[str, bytes] | None = None,
    *,
    launch: int = 0,
    rank: int = 0,
    writers: int = 1,
    saves: int | None = None,
    promotion: Mapping[str, Json] | None = None,
) -> SealOutcome:
    """Write and seal one share; by default save number `step` of one small file."""
    draft = open_draft(run)
    fill(draft, run.machine.fs, {"model.bin": b"%d" % step} if files is None else files)
    said = replace(contribution(run, writers=writers), promotion=promotion or {})
    return draft.seal(launch, step, rank, said, saves or max(1, step))


def content(share: SealedShare) -> dict[str, bytes]:
    """The bytes of every sealed file, read without any check."""
    fs = share.staging.machine.fs
    found = {}
    for known in share.seal.files:
        with fs.open(join(share.files_path, known.path)) as file:
            buffer = bytearray(file.stat().size_bytes)
            file.read_into(memoryview(buffer), 0)
            found[known.path] = bytes(buffer)
    return found


def overwrite(run: RunStaging, path: str, data: bytes) -> None:
    """Put a file there that nobody of ours wrote, whatever stood there."""
    fs = run.machine.fs
    temporary = join(parent(path), f"foreign-{secrets.token_hex(4)}")
    with fs.create(temporary) as file:
        file.write_at(data, 0)
    fs.replace(temporary, path)
