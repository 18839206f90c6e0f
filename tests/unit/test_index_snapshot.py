"""The reader of Delta logs: what it makes of logs of every kind, and how few requests that takes."""

import json
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from ckpt_archive.compose import store_at, system_machine
from ckpt_archive.errors import IntegrityError, InvalidInputError, NotFoundError
from ckpt_archive.executor import InlineExecutor
from ckpt_archive.index.query import views
from ckpt_archive.index.query.delta_checkpoint import checkpoint_actions
from ckpt_archive.index.schema import CHECKPOINTS, RUNS
from ckpt_archive.index.snapshot import Field, Snapshot, read_snapshot
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store, list_all
from ckpt_archive.testing.counting import CountingStore
from ckpt_archive.testing.delta import HandWritten, checkpoint_rows, rows_of

FOLDER = "index/checkpoints/"


def snapshot(store: Store, known: Snapshot | None = None, folder: str = FOLDER) -> Snapshot:
    return read_snapshot(store, folder, InlineExecutor(), checkpoint_actions, known=known)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def put(store: Store, name: str, *actions: Any) -> None:
    data = "".join(json.dumps(action) + "\n" for action in actions)
    store.create(f"{FOLDER}_delta_log/{name}", Body.of(data.encode()))


def test_no_table(store: MemoryStore) -> None:
    with pytest.raises(NotFoundError):
        snapshot(store)
    store.create(f"{FOLDER}_delta_log/notes.txt", Body.of(b"x"))
    with pytest.raises(NotFoundError):
        snapshot(store)


def test_what_is_live(store: MemoryStore) -> None:
    table = HandWritten(store, CHECKPOINTS)
    first = table.append(checkpoint_rows(10), 1)
    second = table.append(checkpoint_rows(10, first=20_000), 2)
    table.remove(*first)
    found = snapshot(store)
    assert found.version == 3
    assert list(found.files) == second
    (file,) = found.files.values()
    assert file.size_bytes == store.head(file.key).size_bytes
    assert file.partition == {"month": "2026-03"}
    assert (file.least("log_seq"), file.greatest("log_seq"), file.least("nothing")) == (21, 21, None)
    assert found.transactions == {"ckpt-archive": 2}
    assert found.configuration == {"ckpt-archive.schema": "1"}
    assert [field.name for field in found.fields] == [column.name for column in CHECKPOINTS.columns]
    assert found.partition_by == ("month",)


def test_a_file_that_comes_back_is_live(store: MemoryStore) -> None:
    table = HandWritten(store, RUNS)
    (key,) = table.append(rows_of(RUNS, {"run": ["a"], "log_seq": [1]}, 1), 1)
    add = {"add": {"path": key.removeprefix(table.folder), "size": 5, "partitionValues": {}, "dataChange": False}}
    table.remove(key)
    assert not snapshot(store, folder=table.folder).files
    table.commit(add)
    assert snapshot(store, folder=table.folder).files[key].size_bytes == 5


def test_requests(store: MemoryStore) -> None:
    table = HandWritten(store, CHECKPOINTS)
    for number in range(1, 5):
        table.append(checkpoint_rows(1, first=number), number)
    counting = CountingStore(store)
    first = snapshot(counting)
    assert counting.requests == {"read": 6, "list": 1}  # the hint that is not there, and five commits
    counting.reset()
    assert snapshot(counting, first) is first
    assert counting.requests == {"list": 1}
    table.append(checkpoint_rows(1, first=9), 9)
    counting.reset()
    second = snapshot(counting, first)
    assert counting.requests == {"list": 1, "read": 1}
    assert len(second.files) == len(first.files) + 1 == 5
    assert second.transactions["ckpt-archive"] == 9
    assert first.transactions["ckpt-archive"] == 4


def delta_table(folder: Path) -> DeltaTable:
    rows = pa.table({"run": ["a", "b"], "n": [1, 2], "month": ["2026-01", "2026-02"]})
    path = str(folder / "index/checkpoints")
    DeltaTable.create(
        path,
        deltalake.Schema.from_arrow(rows.schema),
        partition_by=["month"],
        configuration={"ckpt-archive.schema": "7", "delta.checkpointInterval": "100000"},
        raise_if_key_not_exists=False,
    )
    for number in range(12):
        write_deltalake(
            path,
            rows,
            mode="append",
            commit_properties=CommitProperties(app_transactions=[Transaction("ckpt-archive", number + 1)]),
        )
    return DeltaTable(path)


def local(folder: Path) -> CountingStore:
    (folder / ".tmp").mkdir(exist_ok=True)
    return CountingStore(store_at(f"file://{folder}", system_machine()))


def same(found: Snapshot, table: DeltaTable) -> bool:
    live = {FOLDER + row["path"]: row["size_bytes"] for row in pa.table(table.get_add_actions()).to_pylist()}
    return {key: file.size_bytes for key, file in found.files.items()} == live and found.version == table.version()


def test_tables_of_the_library_with_and_without_a_checkpoint(tmp_path: Path) -> None:
    table = delta_table(tmp_path)
    store = local(tmp_path)
    before = snapshot(store)
    assert same(before, table)
    assert len(before.files) == 24
    table.create_checkpoint()
    store.reset()
    at_checkpoint = snapshot(store)
    assert store.requests == {"read": 2, "list": 1}  # hint and checkpoint
    assert at_checkpoint == before
    table.optimize.compact()
    store.reset()
    after = snapshot(store)
    assert store.requests == {"read": 3, "list": 1}
    assert same(after, table)
    assert len(after.files) == 2
    assert after == snapshot(store, before)
    assert after.transactions == {"ckpt-archive": 12}
    assert after.configuration["ckpt-archive.schema"] == "7"
    assert {file.partition["month"] for file in after.files.values()} == {"2026-01", "2026-02"}


def test_a_log_whose_beginning_was_cleaned_away(tmp_path: Path) -> None:
    table = delta_table(tmp_path)
    store = local(tmp_path)
    known = read_snapshot(store, FOLDER, InlineExecutor(), checkpoint_actions)
    old = Snapshot(FOLDER, 3, known.fields, known.partition_by, dict(list(known.files.items())[:4]))
    table.create_checkpoint()
    log = tmp_path / FOLDER / "_delta_log"
    for version in range(12):
        (log / f"{version:020d}.json").unlink()
    assert same(snapshot(store), table)
    # Whoever knew an old version begins again at the checkpoint.
    assert same(snapshot(store, old), table)
    # And whoever has lost the hint finds it in the listing.
    (log / "_last_checkpoint").unlink()
    assert same(snapshot(store), table)
    # A hint that lags behind.
    (log / "_last_checkpoint").write_text('{"version":2,"size":1}')
    assert same(snapshot(store), table)


def test_another_table_in_the_same_place(store: MemoryStore) -> None:
    """The index was thrown away and made anew, up to the same version and further, while a process remembers the old one."""
    for more in (0, 1):
        old = HandWritten(store, CHECKPOINTS)
        old.append(checkpoint_rows(5), 1)
        known = snapshot(store)
        for info in list_all(store, "index/"):
            store.delete(info.key)
        with pytest.raises(NotFoundError):
            snapshot(store, known)
        new = HandWritten(store, CHECKPOINTS)
        assert snapshot(store, known).files == {}
        for number in range(1 + more):
            new.append(checkpoint_rows(7), number + 1)
        found = snapshot(store, known)
        assert found == snapshot(store)
        assert len(found.files) == 1 + more
        for info in list_all(store, "index/"):
            store.delete(info.key)


def test_a_log_that_is_tidied_up_while_it_is_read(tmp_path: Path) -> None:
    table = delta_table(tmp_path)
    log = tmp_path / FOLDER / "_delta_log"

    class Tidied(CountingStore):
        def list(self, *args: Any, **kwargs: Any) -> Any:
            page = super().list(*args, **kwargs)
            if not (log / "_last_checkpoint").exists():
                table.create_checkpoint()
                for version in range(12):
                    (log / f"{version:020d}.json").unlink()
            return page

    assert same(snapshot(Tidied(local(tmp_path))), table)


def test_a_checkpoint_in_parts(tmp_path: Path) -> None:
    table = delta_table(tmp_path)
    table.create_checkpoint()
    log = tmp_path / FOLDER / "_delta_log"
    whole = pa.parquet.read_table(log / f"{12:020d}.checkpoint.parquet")
    (log / f"{12:020d}.checkpoint.parquet").unlink()
    middle = whole.num_rows // 2
    pa.parquet.write_table(whole.slice(0, middle), log / f"{12:020d}.checkpoint.{1:010d}.{2:010d}.parquet")
    store = local(tmp_path)
    (log / "_last_checkpoint").unlink()
    assert same(snapshot(store), table)  # half of it is as good as none
    pa.parquet.write_table(whole.slice(middle), log / f"{12:020d}.checkpoint.{2:010d}.{2:010d}.parquet")
    assert same(snapshot(store), table)
    (log / "_last_checkpoint").write_text('{"version":12,"size":1,"parts":2}')
    store.reset()
    assert same(snapshot(store), table)
    assert store.requests == {"read": 3, "list": 1}


@pytest.mark.parametrize(
    ("protocol", "word"),
    [
        ({"minReaderVersion": 2, "minWriterVersion": 5}, "reader version 2"),
        (
            {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"], "writerFeatures": []},
            "deletionVectors",
        ),
    ],
)
def test_what_only_a_newer_reader_understands(store: MemoryStore, protocol: dict[str, Any], word: str) -> None:
    HandWritten(store, CHECKPOINTS, protocol=protocol)
    with pytest.raises(InvalidInputError, match=word):
        snapshot(store)


METADATA = {
    "metaData": {
        "schemaString": '{"type":"struct","fields":[{"name":"a","type":"long","nullable":true,"metadata":{}}]}',
        "partitionColumns": [],
        "configuration": {},
    }
}


def added(path: str, **more: Any) -> dict[str, Any]:
    return {"add": {"path": path, "size": 1, "partitionValues": {}, "dataChange": True, **more}}


@pytest.mark.parametrize(
    "path",
    [
        "../../data/x",
        "/etc/passwd",
        "s3://other/x.parquet",
        "a/../../x",
        "%2e%2e/x",
        "_delta_log/0.json",
        "",
        "file:/x",
    ],
)
def test_a_file_outside_of_the_table_is_refused(store: MemoryStore, path: str) -> None:
    put(store, f"{0:020d}.json", METADATA, added(path))
    with pytest.raises(IntegrityError, match="it names the file"):
        snapshot(store)


def test_names_are_url_encoded(store: MemoryStore) -> None:
    put(store, f"{0:020d}.json", METADATA, added("month=2026%2D01/a%20b.parquet"))
    assert list(snapshot(store).files) == [f"{FOLDER}month=2026-01/a b.parquet"]


@pytest.mark.parametrize(
    "actions",
    [
        [],
        ["text"],
        [{"metaData": {"schemaString": "{"}}],
        [{"metaData": {"schemaString": "[]"}}],
        [METADATA, {"add": {"size": 1}}],
        [METADATA, {"add": {"path": 7, "size": 1}}],
        [METADATA, added("a", stats="{")],
        [METADATA, {"txn": {"appId": "a"}}],
        [METADATA, {"protocol": {"minWriterVersion": 2}}],
        [METADATA, added("a", size=float("inf"))],
        [METADATA, added("a", size=-1)],
        [METADATA, added("a", stats="[" * 100_000)],
        [METADATA, added("a", stats='{"minValues":[1]}')],
        [METADATA, added("a", partitionValues={"month": 7})],
        [METADATA, {"txn": {"appId": "a", "version": float("nan")}}],
        [METADATA, [[[]]], {"add": {"path": "a"}}],
    ],
)
def test_a_damaged_log(store: MemoryStore, actions: list[Any]) -> None:
    put(store, f"{0:020d}.json", *actions)
    with pytest.raises(IntegrityError, match="the Delta log"):
        snapshot(store)


@pytest.mark.parametrize(
    "hint", [{"version": 1e999}, {"version": 0, "parts": 10**12}, {"version": 0, "parts": "x"}, []]
)
def test_a_hint_that_names_nothing_possible(store: MemoryStore, hint: Any) -> None:
    put(store, f"{0:020d}.json", METADATA)
    put(store, "_last_checkpoint", hint)
    with pytest.raises(IntegrityError, match="_last_checkpoint"):
        snapshot(store)


def test_a_line_that_is_nested_without_end(store: MemoryStore) -> None:
    store.create(f"{FOLDER}_delta_log/{0:020d}.json", Body.of(b"[" * 100_000))
    with pytest.raises(IntegrityError, match="it is not JSON"):
        snapshot(store)


@pytest.mark.parametrize(
    "kind", ["decimal(1) AS x; DROP TABLE y; --", "decimal(1, 0)) --", {"type": "map"}, ["long"], None]
)
def test_a_column_type_is_one_of_those_that_there_are(kind: Any) -> None:
    with pytest.raises(IntegrityError, match="unknown column type"):
        views.duckdb_type(Field("a", kind))
    assert views.duckdb_type(Field("a", "decimal(38,2)")) == "DECIMAL(38,2)"


def test_a_commit_that_is_missing(store: MemoryStore) -> None:
    put(store, f"{0:020d}.json", METADATA)
    put(store, f"{2:020d}.json", added("a"))
    with pytest.raises(IntegrityError, match="commit 1 is missing"):
        snapshot(store)
    with pytest.raises(IntegrityError):
        snapshot(store, Snapshot(FOLDER, 0))


def test_not_json(store: MemoryStore) -> None:
    store.create(f"{FOLDER}_delta_log/{0:020d}.json", Body.of(b"\xff\xfe"))
    with pytest.raises(IntegrityError, match="not JSON"):
        snapshot(store)


def test_a_hint_that_is_none(store: MemoryStore) -> None:
    put(store, f"{0:020d}.json", METADATA)
    put(store, "_last_checkpoint", {"size": 1})
    with pytest.raises(IntegrityError, match="no version"):
        snapshot(store)


def test_a_checkpoint_that_is_no_parquet(store: MemoryStore) -> None:
    put(store, "_last_checkpoint", {"version": 3})
    store.create(f"{FOLDER}_delta_log/{3:020d}.checkpoint.parquet", Body.of(b"PAR1 and then nothing"))
    with pytest.raises(IntegrityError):
        snapshot(store)


def test_a_checkpoint_that_is_not_there(store: MemoryStore) -> None:
    put(store, "_last_checkpoint", {"version": 3})
    with pytest.raises(IntegrityError, match="there is no object"):
        snapshot(store)


def test_deletion_vectors_are_refused(store: MemoryStore) -> None:
    put(store, f"{0:020d}.json", METADATA, added("a", deletionVector={"storageType": "u"}))
    with pytest.raises(InvalidInputError, match="deletion vectors"):
        snapshot(store)
