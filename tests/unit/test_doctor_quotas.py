"""Doctor names what is near its quota, with the command that shows who uses it."""

import pytest

from ckpt_archive.audit.doctor import examine
from ckpt_archive.audit.doctor_finding import DoctorFinding
from ckpt_archive.place import Place
from ckpt_archive.retention.policy.file import load
from ckpt_archive.retention.policy.in_force import Applied, put_in_force, store_text
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.archives import connected, memory_store
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, NOON, archive_files
from ckpt_archive.testing.staged import local_machine

FILES = {"model.bin": b"w" * 900}


@pytest.fixture
def store() -> MemoryStore:
    found = memory_store()
    for run in ("llama-a", "llama-b", "other"):
        archive_files(found, Place(run, 0, 1), FILES)
    archive_files(found, Place("llama-b", 0, 2), FILES)
    return found


def quota_findings(store: MemoryStore, quotas: str) -> list[DoctorFinding]:
    policy = load(f'[classes.recent]\nkeep_for = "7d"\n{quotas}', "retention.toml")
    store_text(store, policy)
    put_in_force(store, Applied(ARCHIVE_ID, 1, policy.sha256, "retention.toml", "p" * 16, NOON))
    return [found for found in examine(local_machine(), connected(store)) if found.what == "quota"]


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ("", []),
        ('[quota.runs]\n"llama-*" = "1GB"', []),
        ('[quota.runs]\n"llama-*" = "1KB"', [("warning", "llama-a"), ("error", "llama-b")]),
        ('[quota.runs]\n"llama-b" = "1.5KB"', [("error", "llama-b")]),
        ('[quota.runs]\n"llama-b" = "1GB"\n"llama-*" = "1KB"', [("warning", "llama-a")]),
    ],
)
def test_runs_near_or_above_their_quota_are_named(
    store: MemoryStore, quotas: str, expected: list[tuple[str, str]]
) -> None:
    found = quota_findings(store, quotas)
    assert [item.severity for item in found] == [severity for severity, _ in expected]
    for item, (_, run) in zip(found, expected, strict=True):
        assert run in item.detail
        assert item.command.startswith("ckpt-archive usage --by run")


def test_nothing_is_said_without_a_policy(store: MemoryStore) -> None:
    assert not [found for found in examine(local_machine(), connected(store)) if found.what == "quota"]
