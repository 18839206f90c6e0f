"""What is said about retention, held fast: the golden files are read, and today's code writes the same bytes."""

import importlib.util
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from ckpt_archive import record, strictjson
from ckpt_archive.commit import layout
from ckpt_archive.commit.fate import Fates, Pass, read_fates
from ckpt_archive.commit.fating import Statement, read_statement
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.policy.in_force import Applied, read_in_force, read_policy
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore

FIXTURES = Path(__file__).parents[1] / "fixtures"
GOLDEN = FIXTURES / "retention-1"
RECORDS = sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*.json"))
KINDS: Mapping[str, Callable[[bytes], bytes]] = {
    "retention": lambda data: Statement.decode(data, "it").encode(),
    "applied": lambda data: Applied.decode(data, "it").encode(),
}


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_retention_1", FIXTURES / "make_retention_1.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = generator()


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def kind_of(data: bytes) -> str:
    return str(strictjson.decode(data, "it")["format"]).removeprefix("ckpt-archive/")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for key, data in tree(GOLDEN).items():
        store.create(key, Body.of(data))
    return store


def test_todays_code_writes_the_golden_files(tmp_path: Path) -> None:
    MAKE.make(tmp_path)
    assert tree(tmp_path) == tree(GOLDEN)


def test_there_is_a_golden_record_of_every_kind_and_every_key_is_one_of_ours() -> None:
    assert {kind_of((GOLDEN / path).read_bytes()) for path in RECORDS} == KINDS.keys()
    for key, data in tree(GOLDEN).items():
        if key.startswith(layout.APPLIED):
            assert layout.policy_applied_number(key) == 1
        elif key.startswith(layout.POLICIES):
            assert layout.policy_sha256(key) == sha256_hex(data)
        else:
            assert layout.statement_key(key) is not None


@pytest.mark.parametrize("path", RECORDS)
def test_a_record_is_canonical_encoded_again_and_keeps_what_is_unknown(path: str) -> None:
    data = (GOLDEN / path).read_bytes()
    reencode = KINDS[kind_of(data)]
    assert strictjson.encode(strictjson.decode(data, path)) == data
    assert reencode(data) == data
    newer = record.with_checksum({**strictjson.decode(data, path), "zukunft": ["ü", None, 1e300, -1, True]})
    assert reencode(newer) == newer


@pytest.mark.parametrize("path", RECORDS)
@pytest.mark.parametrize("members", [{"requires": ["frames"]}, {"version": 2}])
def test_what_requires_a_newer_release_is_refused(path: str, members: dict[str, object]) -> None:
    data = (GOLDEN / path).read_bytes()
    with pytest.raises(InvalidInputError, match="needs a newer release"):
        KINDS[kind_of(data)](record.with_checksum({**strictjson.decode(data, path), **members}))


def test_the_fates_are_understood(store: MemoryStore) -> None:
    fates: Fates = read_fates(store, MAKE.RUN)
    assert set(fates.of) == {MAKE.ENDING, MAKE.TAKEN_BACK, MAKE.ENDED, MAKE.KEPT}
    ending = fates.fate(MAKE.ENDING)
    assert (ending.ends_at, ending.tagged, ending.class_name) == (MAKE.END, "daily.365d.GLACIER_IR-30d", "daily")
    again = fates.fate(MAKE.TAKEN_BACK)
    assert (again.generation, again.ends_at, again.announced, again.clearing) == (1, MAKE.END, ("daily.365d",), None)
    assert fates.fate(MAKE.ENDED).is_over(MAKE.BEGINNING)
    kept = fates.fate(MAKE.KEPT)
    assert (kept.ends_at, kept.announced, kept.assigned, kept.assigned_number) == (
        None,
        ("milestone.forever",),
        None,
        2,
    )
    assert (kept.cases, fates.cases(MAKE.KEPT)) == ((), ("4711",))
    assert fates.whole.passes == (Pass(MAKE.BEGINNING, "5f" * 16),)
    assert fates.whole.passes_under_way(MAKE.BEGINNING + timedelta(hours=1)) == fates.whole.passes
    assert fates.strange == ()


def test_a_statement_says_who_and_why(store: MemoryStore) -> None:
    said = read_statement(store, MAKE.ENDING, "0000-ends-20250502-daily.365d.GLACIER_IR-30d").told
    assert (said.actor, said.node, said.policy) == ("anna", "desk-7", MAKE.POLICY_SHA256)
    assert said.reason == "promotion 12, every 12: größer"


def test_the_policy_in_force_is_read(store: MemoryStore) -> None:
    found = read_in_force(store, MAKE.ARCHIVE_ID)
    assert found.applied == MAKE.applied()
    assert found.applied is not None
    policy = read_policy(store, found.applied)
    assert (policy.sha256, policy.default) == (MAKE.POLICY_SHA256, "daily")
